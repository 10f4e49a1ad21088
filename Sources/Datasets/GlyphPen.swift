import RandomNumbers

/// Draws one glyph into a square of 8-bit pixels.
///
/// Only +, -, *, / and square roots of Float, in a fixed order: IEEE 754 leaves them no freedom, so
/// the same numbers give the same bytes on every platform. Sines and cosines do not.
struct GlyphPen {
  private typealias Point = GlyphShape.Point

  private let side: Int
  /// Squared distance of each pixel's centre to the nearest line.
  private var distances: [Float]

  init(side: Int) {
    self.side = side
    distances = [Float](repeating: 0, count: side * side)
  }

  /// Draws `shape` with a random affine map, jitter, thickness, intensity and noise into `pixels`,
  /// which it overwrites.
  mutating func draw(
    _ shape: GlyphShape, random: inout SplitMix64, into pixels: UnsafeMutableBufferPointer<UInt8>
  ) {
    let vertices = place(shape.vertices, random: &random)
    let radius = random.nextUniform(0.6, 1.5)
    let reach = radius + 1
    // Any distance beyond the reach of the pen.
    let far = reach * reach
    for i in distances.indices { distances[i] = far }
    for stroke in shape.strokes { trace(stroke, vertices: vertices, reach: reach) }

    let intensity = random.nextUniform(170, 255)
    // A sum of four uniform 16-bit numbers is nearly normal, with deviation 65536 / sqrt(3).
    let noise = random.nextUniform(0, 5) / 37837
    for i in 0..<side * side {
      let bits = random.next()
      let sum = (bits & 0xFFFF) + (bits >> 16 & 0xFFFF) + (bits >> 32 & 0xFFFF) + (bits >> 48)
      // One pixel's width of soft edge.
      let coverage = min(max(radius + 0.5 - distances[i].squareRoot(), 0), 1)
      let level = intensity * coverage + noise * (Float(sum) - 131_070)
      pixels[i] = UInt8(min(max(level + 0.5, 0), 255))
    }
  }

  /// Jitters the vertices and maps them to pixel coordinates: rotation by up to 17 degrees, shear,
  /// a scale for each axis, translation.
  private func place(_ vertices: [Point], random: inout SplitMix64) -> [Point] {
    // (1 - t^2, 2t) / (1 + t^2) is a point of the unit circle for any t = tan(angle / 2).
    let t = random.nextUniform(-0.15, 0.15)
    let cosine = (1 - t * t) / (1 + t * t)
    let sine = 2 * t / (1 + t * t)
    let shear = random.nextUniform(-0.2, 0.2)
    let size = Float(side) * 0.0070
    let scaleX = size * random.nextUniform(0.75, 1.1)
    let scaleY = size * random.nextUniform(0.85, 1.1)
    let centreX = Float(side) * 0.5 + random.nextUniform(-2, 2)
    let centreY = Float(side) * 0.5 + random.nextUniform(-2, 2)
    return vertices.map { vertex in
      let x = (vertex.x - 50 + random.nextUniform(-4, 4)) * scaleX
      let y = (vertex.y - 50 + random.nextUniform(-4, 4)) * scaleY
      let slanted = x + shear * y
      return Point(
        x: centreX + cosine * slanted - sine * y, y: centreY + sine * slanted + cosine * y)
    }
  }

  private mutating func trace(_ stroke: GlyphShape.Stroke, vertices: [Point], reach: Float) {
    let path = stroke.path
    guard stroke.isSmooth else {
      for (from, to) in zip(path, path.dropFirst()) {
        line(from: vertices[from], to: vertices[to], reach: reach)
      }
      return
    }
    let steps = 5
    let last = path.count - 1
    let isClosed = path[0] == path[last]
    for i in 0..<last {
      // Neighbours beyond the ends: around the corner if closed, else the end itself.
      let before = vertices[path[i > 0 ? i - 1 : (isClosed ? last - 1 : 0)]]
      let after = vertices[path[i + 2 <= last ? i + 2 : (isClosed ? 1 : last)]]
      let (start, end) = (vertices[path[i]], vertices[path[i + 1]])
      var previous = start
      for step in 1...steps {
        let t = Float(step) / Float(steps)
        let next = Point(
          x: catmullRom(before.x, start.x, end.x, after.x, t),
          y: catmullRom(before.y, start.y, end.y, after.y, t))
        line(from: previous, to: next, reach: reach)
        previous = next
      }
    }
  }

  /// The cubic through b (t = 0) and c (t = 1) with slopes (c - a) / 2 and (d - b) / 2.
  private func catmullRom(_ a: Float, _ b: Float, _ c: Float, _ d: Float, _ t: Float) -> Float {
    let linear = c - a
    let square = 2 * a - 5 * b + 4 * c - d
    let cubic = 3 * (b - c) + d - a
    return b + 0.5 * t * (linear + t * (square + t * cubic))
  }

  /// Lowers `distances` to those of the segment, for pixels within `reach` of it.
  private mutating func line(from a: Point, to b: Point, reach: Float) {
    let (dx, dy) = (b.x - a.x, b.y - a.y)
    let lengthSquared = dx * dx + dy * dy
    let inverse = lengthSquared > 0 ? 1 / lengthSquared : 0
    let limit = Float(side - 1)
    // The centre of pixel i lies at i + 0.5.
    let left = Int(min(max(min(a.x, b.x) - reach - 0.5, 0), limit))
    let right = Int(min(max(max(a.x, b.x) + reach, 0), limit))
    let top = Int(min(max(min(a.y, b.y) - reach - 0.5, 0), limit))
    let bottom = Int(min(max(max(a.y, b.y) + reach, 0), limit))
    for row in top...bottom {
      let y = Float(row) + 0.5 - a.y
      for column in left...right {
        let x = Float(column) + 0.5 - a.x
        let along = min(max((x * dx + y * dy) * inverse, 0), 1)
        let (ex, ey) = (x - along * dx, y - along * dy)
        let index = row * side + column
        distances[index] = min(distances[index], ex * ex + ey * ey)
      }
    }
  }
}
