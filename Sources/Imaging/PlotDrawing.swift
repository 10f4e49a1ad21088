/// The geometry of one plot at one size.
struct PlotDrawing {
  private static let ink = Colour(grey: 40)
  private static let faint = Colour(grey: 110)
  private static let grid = Colour(grey: 232)
  private static let scale = 2
  private static let lineHeight = BitmapFont.height * scale
  private static let gap = 10

  private let plot: Plot
  private let x, y: ResolvedAxis
  /// Where the data is drawn.
  private let area: Canvas.Area
  private var canvas: Canvas

  var image: Image { canvas.image }

  init(_ plot: Plot, width: Int, height: Int) {
    self.plot = plot
    let (scale, gap, lineHeight) = (Self.scale, Self.gap, Self.lineHeight)
    let headLines = (plot.title.isEmpty ? 0 : 1) + (plot.subtitle.isEmpty ? 0 : 1)
    let top = 2 * gap + headLines * (lineHeight + gap / 2)
    let bottom = height - 2 * gap - 2 * lineHeight - gap
    let xs = plot.series.flatMap(\.x) + plot.bars.flatMap { [$0.lower, $0.upper] }
    let heights = plot.bars.map(\.height)
    let ys =
      plot.series.flatMap(\.y)
      + (plot.y.scale == .logarithmic ? heights.filter { $0 > 0 } : heights)
    y = ResolvedAxis(
      plot.y, values: ys, includesZero: !plot.bars.isEmpty, room: max(4, (bottom - top) / 60))
    let widest = y.ticks.map { BitmapFont.width(of: $0.label) * scale }.max() ?? 0
    let left = 2 * gap + (plot.y.label.isEmpty ? 0 : lineHeight) + widest + gap
    x = ResolvedAxis(
      plot.x, values: xs, includesZero: false, room: max(2, (width - left) / 90))
    // The last number may stick out to the right.
    let last = x.ticks.last.map { BitmapFont.width(of: $0.label) * scale / 2 } ?? 0
    area = Canvas.Area(
      x: left, y: top, width: max(1, width - left - max(2 * gap, last + 4)),
      height: max(1, bottom - top))
    canvas = Canvas(width: width, height: height)
    drawGrid()
    drawBars()
    for series in plot.series { draw(series) }
    drawAxes()
    drawHead()
    drawLegend()
  }

  private func place(_ xValue: Double, _ yValue: Double) -> Canvas.Point {
    // Values far outside a given range must not leave the numbers that pixels can have.
    func bounded(_ position: Double) -> Double { min(1e3, max(-1e3, position)) }
    return Canvas.Point(
      Double(area.x) + bounded(x.position(xValue)) * Double(area.width),
      Double(area.bottom) - bounded(y.position(yValue)) * Double(area.height))
  }

  private func column(_ value: Double) -> Int { Int(place(value, y.lower).x.rounded()) }
  private func row(_ value: Double) -> Int { Int(place(x.lower, value).y.rounded()) }

  private mutating func drawGrid() {
    for tick in y.ticks {
      canvas.fill(
        Canvas.Area(x: area.x, y: row(tick.value), width: area.width, height: 1), Self.grid)
    }
    // Vertical lines between bars say nothing.
    guard plot.bars.isEmpty else { return }
    for tick in x.ticks {
      canvas.fill(
        Canvas.Area(x: column(tick.value), y: area.y, width: 1, height: area.height), Self.grid)
    }
  }

  private mutating func drawBars() {
    for bar in plot.bars where bar.height != 0 {
      let (left, right) = (column(bar.lower), column(bar.upper))
      let foot = y.isLogarithmic ? area.bottom : row(0)
      let head = row(bar.height)
      // A pixel stays free between neighbours, and the smallest bar can be seen.
      let width = max(1, right - left - (right - left > 3 ? 1 : 0))
      let (top, bottom) = bar.height > 0 ? (min(head, foot - 1), foot) : (foot, max(head, foot + 1))
      canvas.fill(
        Canvas.Area(x: left, y: top, width: width, height: bottom - top).intersection(area),
        bar.colour)
    }
  }

  private mutating func draw(_ series: Plot.Series) {
    let points = zip(series.x, series.y).map { place($0, $1) }
    if series.hasLine {
      canvas.stroke(points, width: 2.5, series.colour, within: area)
    }
    for (index, point) in points.enumerated() {
      let (x, y) = (series.x[index], series.y[index])
      guard x >= self.x.lower, x <= self.x.upper, y >= self.y.lower, y <= self.y.upper else {
        continue
      }
      draw(series.marker, at: point, series.colour)
    }
  }

  private mutating func draw(_ marker: Plot.Marker, at point: Canvas.Point, _ colour: Colour) {
    switch marker {
    case .none: break
    case .disc:
      canvas.disc(point, radius: 6, .white)
      canvas.disc(point, radius: 4.5, colour)
    case .square:
      let (x, y) = (Int(point.x.rounded()), Int(point.y.rounded()))
      canvas.fill(Canvas.Area(x: x - 5, y: y - 5, width: 11, height: 11), .white)
      canvas.fill(Canvas.Area(x: x - 4, y: y - 4, width: 9, height: 9), colour)
    case .diamond:
      for (size, colour) in [(5.5, Colour.white), (4, colour)] {
        canvas.stroke(
          [
            Canvas.Point(point.x - size, point.y), Canvas.Point(point.x, point.y - size),
            Canvas.Point(point.x + size, point.y), Canvas.Point(point.x, point.y + size),
            Canvas.Point(point.x - size, point.y),
          ], width: 2, colour)
        canvas.disc(point, radius: size * 0.72, colour)
      }
    }
  }

  private mutating func drawAxes() {
    let (scale, gap) = (Self.scale, Self.gap)
    // Two pixels wide, just outside the data.
    canvas.fill(
      Canvas.Area(x: area.x - 2, y: area.bottom, width: area.width + 2, height: 2), Self.ink)
    canvas.fill(Canvas.Area(x: area.x - 2, y: area.y, width: 2, height: area.height + 2), Self.ink)
    for value in x.minorTicks {
      canvas.fill(Canvas.Area(x: column(value), y: area.bottom, width: 1, height: 5), Self.ink)
    }
    for value in y.minorTicks {
      canvas.fill(Canvas.Area(x: area.x - 5, y: row(value), width: 5, height: 1), Self.ink)
    }
    var free = Int.min
    for tick in x.ticks.sorted(by: { $0.value < $1.value }) {
      let centre = column(tick.value)
      canvas.fill(Canvas.Area(x: centre, y: area.bottom, width: 2, height: 8), Self.ink)
      let width = BitmapFont.width(of: tick.label) * scale
      // A number that would run into its neighbour is left out; its tick stays.
      guard centre - width / 2 >= free else { continue }
      canvas.text(
        tick.label, x: centre - width / 2, y: area.bottom + gap + 3, scale: scale, Self.ink)
      free = centre - width / 2 + width + gap
    }
    for tick in y.ticks {
      let middle = row(tick.value)
      canvas.fill(Canvas.Area(x: area.x - 8, y: middle, width: 8, height: 2), Self.ink)
      let width = BitmapFont.width(of: tick.label) * scale
      canvas.text(
        tick.label, x: area.x - gap - 3 - width, y: middle - BitmapFont.ascent * scale / 2 + 1,
        scale: scale, Self.ink)
    }
    let xWidth = BitmapFont.width(of: plot.x.label) * scale
    canvas.text(
      plot.x.label, x: area.x + (area.width - xWidth) / 2,
      y: canvas.area.bottom - gap - Self.lineHeight, scale: scale, Self.ink)
    let yWidth = BitmapFont.width(of: plot.y.label) * scale
    canvas.text(
      plot.y.label, x: gap, y: area.y + (area.height + yWidth) / 2, scale: scale, Self.ink,
      upwards: true)
  }

  private mutating func drawHead() {
    var top = Self.gap + 4
    for (text, colour, bold) in [
      (plot.title, Self.ink, true), (plot.subtitle, Self.faint, false),
    ] where !text.isEmpty {
      canvas.text(text, x: area.x - 2, y: top, scale: Self.scale, colour, bold: bold)
      top += Self.lineHeight + Self.gap / 2
    }
  }

  // MARK: Legend

  private mutating func drawLegend() {
    let named = plot.series.compactMap { series in series.name.map { (series, $0) } }
    guard !named.isEmpty else { return }
    let (scale, gap) = (Self.scale, Self.gap)
    let sample = 34
    let rowHeight = Self.lineHeight + 6
    let widest = named.map { BitmapFont.width(of: $0.1) * scale }.max() ?? 0
    let box = freeCorner(
      width: widest + sample + 3 * gap, height: named.count * rowHeight + gap + 2)
    canvas.fill(box, .white, opacity: 0.85)
    canvas.frame(box, Colour(grey: 205))
    for (index, (series, name)) in named.enumerated() {
      let top = box.y + gap / 2 + 4 + index * rowHeight
      let middle = Double(top) + Double(BitmapFont.ascent * scale) / 2
      let left = Double(box.x + gap)
      if series.hasLine {
        canvas.stroke(
          [Canvas.Point(left + 1, middle), Canvas.Point(left + Double(sample) - 1, middle)],
          width: 2.5, series.colour)
      }
      draw(series.marker, at: Canvas.Point(left + Double(sample) / 2, middle), series.colour)
      canvas.text(name, x: box.x + gap + sample + gap, y: top, scale: scale, Self.ink)
    }
  }

  /// The corner of the data's area where the least is drawn; of equals, the upper right first.
  private func freeCorner(width: Int, height: Int) -> Canvas.Area {
    let inset = 8
    let lefts = [area.right - width - inset, area.x + inset]
    let tops = [area.y + inset, area.bottom - height - inset]
    let corners = tops.flatMap { top in
      lefts.map { Canvas.Area(x: $0, y: top, width: width, height: height) }
    }
    let places = plot.series.flatMap { series -> [Canvas.Point] in
      let points = zip(series.x, series.y).map { place($0, $1) }
      guard series.hasLine else { return points }
      // What lies between two points is drawn as well.
      return points
        + zip(points, points.dropFirst()).flatMap { a, b in
          (1..<16).map { step in
            let share = Double(step) / 16
            return Canvas.Point(a.x + share * (b.x - a.x), a.y + share * (b.y - a.y))
          }
        }
    }
    func crowd(_ box: Canvas.Area) -> Int {
      places.count { point in
        point.x > Double(box.x - inset) && point.x < Double(box.right + inset)
          && point.y > Double(box.y - inset) && point.y < Double(box.bottom + inset)
      }
    }
    var best = corners[0]
    for corner in corners.dropFirst() where crowd(corner) < crowd(best) { best = corner }
    return best
  }
}
