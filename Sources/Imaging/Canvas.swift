/// An RGB image to draw on. Coordinates are in pixels from the upper left corner: pixel (x, y)
/// covers [x, x + 1) by [y, y + 1). What lies outside is clipped.
package struct Canvas {
  /// A place between pixels.
  package struct Point: Equatable, Sendable {
    package var x, y: Double

    package init(_ x: Double, _ y: Double) {
      self.x = x
      self.y = y
    }
  }

  /// A rectangle of whole pixels.
  package struct Area: Equatable, Sendable {
    package var x, y, width, height: Int

    package init(x: Int, y: Int, width: Int, height: Int) {
      self.x = x
      self.y = y
      self.width = width
      self.height = height
    }

    package var right: Int { x + width }
    package var bottom: Int { y + height }

    package func intersection(_ other: Area) -> Area {
      let (left, top) = (max(x, other.x), max(y, other.y))
      return Area(
        x: left, y: top, width: max(0, min(right, other.right) - left),
        height: max(0, min(bottom, other.bottom) - top))
    }
  }

  package private(set) var image: Image

  package init(width: Int, height: Int, background: Colour = .white) {
    let pixel = [background.red, background.green, background.blue]
    var samples = [UInt8](repeating: background.red, count: width * height * 3)
    if Set(pixel).count > 1 {
      for i in samples.indices { samples[i] = pixel[i % 3] }
    }
    image = Image(width: width, height: height, channels: 3, samples: samples)
  }

  package var area: Area { Area(x: 0, y: 0, width: image.width, height: image.height) }

  package func colour(x: Int, y: Int) -> Colour {
    let i = (y * image.width + x) * 3
    return Colour(image.samples[i], image.samples[i + 1], image.samples[i + 2])
  }

  /// Mixes `colour` into a pixel; `coverage` is the share of the pixel that it covers.
  private mutating func blend(_ colour: Colour, x: Int, y: Int, coverage: Double) {
    let i = (y * image.width + x) * 3
    let mixed = self.colour(x: x, y: y).mixed(with: colour, share: coverage)
    image.samples[i] = mixed.red
    image.samples[i + 1] = mixed.green
    image.samples[i + 2] = mixed.blue
  }

  package mutating func fill(_ area: Area, _ colour: Colour, opacity: Double = 1) {
    let area = area.intersection(self.area)
    for y in area.y..<area.bottom {
      for x in area.x..<area.right { blend(colour, x: x, y: y, coverage: opacity) }
    }
  }

  /// The edge of `area`, one pixel wide, inside it.
  package mutating func frame(_ area: Area, _ colour: Colour) {
    fill(Area(x: area.x, y: area.y, width: area.width, height: 1), colour)
    fill(Area(x: area.x, y: area.bottom - 1, width: area.width, height: 1), colour)
    fill(Area(x: area.x, y: area.y, width: 1, height: area.height), colour)
    fill(Area(x: area.right - 1, y: area.y, width: 1, height: area.height), colour)
  }

  /// A line through `points` with round joints and ends, smoothed at its edges. Each pixel is
  /// blended once, however often the line passes.
  package mutating func stroke(
    _ points: [Point], width: Double, _ colour: Colour, within clip: Area? = nil
  ) {
    let area = (clip ?? self.area).intersection(self.area)
    guard area.width > 0, area.height > 0, let first = points.first else { return }
    var coverage = [Float](repeating: 0, count: area.width * area.height)
    let reach = width / 2 + 0.5
    var (top, bottom) = (area.bottom, area.y)
    let ends = points.count == 1 ? [first] : Array(points.dropFirst())
    for (a, b) in zip(points, ends) {
      let left = clamped(min(a.x, b.x) - reach, area.x, area.right)
      let right = clamped(max(a.x, b.x) + reach + 1, area.x, area.right)
      let upper = clamped(min(a.y, b.y) - reach, area.y, area.bottom)
      let lower = clamped(max(a.y, b.y) + reach + 1, area.y, area.bottom)
      guard left < right, upper < lower else { continue }
      (top, bottom) = (min(top, upper), max(bottom, lower))
      let (dx, dy) = (b.x - a.x, b.y - a.y)
      let squaredLength = dx * dx + dy * dy
      for y in upper..<lower {
        for x in left..<right {
          let (px, py) = (Double(x) + 0.5 - a.x, Double(y) + 0.5 - a.y)
          let along =
            squaredLength > 0 ? min(1, max(0, (px * dx + py * dy) / squaredLength)) : 0
          let (ex, ey) = (px - along * dx, py - along * dy)
          let covered = Float(min(1, max(0, reach - (ex * ex + ey * ey).squareRoot())))
          let index = (y - area.y) * area.width + x - area.x
          if covered > coverage[index] { coverage[index] = covered }
        }
      }
    }
    guard top < bottom else { return }
    for y in top..<bottom {
      for x in area.x..<area.right {
        let covered = coverage[(y - area.y) * area.width + x - area.x]
        if covered > 0 { blend(colour, x: x, y: y, coverage: Double(covered)) }
      }
    }
  }

  /// A full circle.
  package mutating func disc(_ centre: Point, radius: Double, _ colour: Colour) {
    stroke([centre], width: 2 * radius, colour)
  }

  /// One line of text whose capitals' upper left corner is (x, y), each dot a square of `scale`
  /// pixels. Upwards, (x, y) is the lower left corner as one looks at the canvas.
  ///
  /// From scale 2 on, the inner corners of diagonal strokes are shaded: stairs look like lines.
  package mutating func text(
    _ text: String, x: Int, y: Int, scale: Int = 1, _ colour: Colour = .black, bold: Bool = false,
    upwards: Bool = false
  ) {
    precondition(scale >= 1, "a dot has at least one pixel")
    /// Fills a rectangle of the upright text's.
    func ink(_ u: Int, _ v: Int, _ width: Int, _ height: Int, opacity: Double = 1) {
      fill(
        upwards
          ? Area(x: x + v, y: y - u - width, width: height, height: width)
          : Area(x: x + u, y: y + v, width: width, height: height), colour, opacity: opacity)
    }
    var pen = 0
    let corner = scale / 2
    for character in text {
      let letter = BitmapFont.letter(character)
      for row in 0..<BitmapFont.height {
        for column in 0..<letter.width {
          let (u, v) = ((pen + column) * scale, row * scale)
          if letter.hasInk(column, row) {
            ink(u, v, scale + (bold ? 1 : 0), scale)
            continue
          }
          guard corner > 0, !bold else { continue }
          for (dx, dy) in [(-1, -1), (1, -1), (-1, 1), (1, 1)]
          where letter.hasInk(column + dx, row) && letter.hasInk(column, row + dy)
            && !letter.hasInk(column + dx, row + dy)
          {
            ink(
              dx < 0 ? u : u + scale - corner, dy < 0 ? v : v + scale - corner, corner, corner,
              opacity: 0.4)
          }
        }
      }
      pen += letter.width + BitmapFont.spacing
    }
  }

  /// Copies an image whose upper left corner comes to (x, y).
  package mutating func place(_ picture: Image, x: Int, y: Int) {
    let source = picture.expandedToRGB()
    let visible = Area(x: x, y: y, width: source.width, height: source.height)
      .intersection(area)
    for row in visible.y..<visible.bottom {
      let from = ((row - y) * source.width + visible.x - x) * 3
      let to = (row * image.width + visible.x) * 3
      image.samples.replaceSubrange(
        to..<to + visible.width * 3, with: source.samples[from..<from + visible.width * 3])
    }
  }
}

/// `value` rounded down, within lower...upper; NaN becomes `lower`.
private func clamped(_ value: Double, _ lower: Int, _ upper: Int) -> Int {
  value >= Double(upper) ? upper : value > Double(lower) ? Int(value.rounded(.down)) : lower
}
