/// A character or symbol as pen strokes in a box of 100x100, y downwards.
struct GlyphShape: Sendable {
  struct Point: Equatable, Sendable {
    var x: Float
    var y: Float
  }

  struct Stroke: Sendable {
    /// Indices into `vertices`.
    let path: [Int]
    /// A curve through the vertices, or straight lines between them.
    let isSmooth: Bool
  }

  let name: String
  /// Each place once, so that strokes that meet still do after the vertices were jittered.
  let vertices: [Point]
  let strokes: [Stroke]

  /// Strokes separated by `|`; `~` starts a curve, `-` straight lines; then `x,y` pairs. A stroke
  /// that ends where it started is closed.
  init(_ name: String, _ description: String) {
    var vertices: [Point] = []
    self.name = name
    strokes = description.split(separator: "|").map { text in
      let path = text.dropFirst().split(separator: " ").map { pair in
        let numbers = pair.split(separator: ",").compactMap { Float($0) }
        precondition(numbers.count == 2, "glyph \(name): '\(pair)' is not x,y")
        let point = Point(x: numbers[0], y: numbers[1])
        if let known = vertices.firstIndex(of: point) { return known }
        vertices.append(point)
        return vertices.count - 1
      }
      precondition(path.count >= 2, "glyph \(name): a stroke has at least two points")
      return Stroke(path: path, isSmooth: text.hasPrefix("~"))
    }
    self.vertices = vertices
  }

  /// The classes of the built-in data set; a label is an index into this.
  static let all: [GlyphShape] = [
    .init("0", "~50,5 78,25 80,50 78,75 50,95 22,75 20,50 22,25 50,5"),
    .init("1", "-30,25 52,5 52,95"),
    .init("2", "~22,28 32,10 52,5 74,14 76,34 62,56 40,76 20,95|-20,95 80,95"),
    .init("3", "~22,16 45,5 72,12 74,32 48,47|~48,47 76,58 78,80 50,95 20,84"),
    .init("4", "-62,95 62,5 18,68 84,68"),
    .init("5", "-74,5 30,5 25,45|~25,45 52,38 78,52 78,78 52,95 20,86"),
    .init("6", "~70,8 42,22 24,52 24,78 48,95 74,84 76,62 52,48 26,64"),
    .init("7", "-20,5 80,5 42,95"),
    .init(
      "8",
      "~50,5 73,18 70,37 50,48 27,62 24,82 50,95 76,82 73,62 50,48 30,37 27,18 50,5"),
    .init("9", "~74,38 50,52 26,40 26,16 50,5 74,16 75,40 70,70 52,95"),
    .init("A", "-18,95 50,5 82,95|-31,62 69,62"),
    .init("B", "-25,5 25,95|~25,5 62,8 70,26 60,44 25,48|~25,48 68,54 78,72 66,92 25,95"),
    .init("C", "~78,22 52,5 26,20 18,50 26,80 52,95 78,78"),
    .init("D", "-24,5 24,95|~24,5 62,12 80,50 62,88 24,95"),
    .init("E", "-76,5 25,5 25,95 76,95|-25,50 66,50"),
    .init("F", "-76,5 26,5 26,95|-26,48 66,48"),
    .init("G", "~76,20 50,5 24,22 18,52 28,82 54,95 78,78|-78,78 78,54 54,54"),
    .init("H", "-22,5 22,95|-78,5 78,95|-22,50 78,50"),
    .init("J", "~68,5 68,40 66,78 46,95 24,84 20,68"),
    .init("K", "-25,5 25,95|-76,5 25,56|-42,46 78,95"),
    .init("L", "-28,5 28,95 78,95"),
    .init("M", "-15,95 20,5 50,60 80,5 85,95"),
    .init("N", "-22,95 22,5 78,95 78,5"),
    .init("P", "-26,5 26,95|~26,5 66,10 76,28 64,48 26,54"),
    .init("R", "-26,5 26,95|~26,5 66,10 76,28 64,46 26,52|-46,52 78,95"),
    .init("T", "-15,5 85,5|-50,5 50,95"),
    .init("U", "~20,5 20,40 24,80 50,95 76,80 80,40 80,5"),
    .init("W", "-12,5 30,95 50,35 70,95 88,5"),
    .init("X", "-20,5 80,95|-80,5 20,95"),
    .init("Y", "-18,5 50,50 82,5|-50,50 50,95"),
    .init("triangle", "-50,10 88,88 12,88 50,10"),
    .init("square", "-18,18 82,18 82,82 18,82 18,18"),
    .init("plus", "-50,12 50,88|-12,50 88,50"),
    .init("arrow", "-10,50 90,50|-62,22 90,50 62,78"),
    .init("star", "-50,5 78,92 8,38 92,38 22,92 50,5"),
    .init("heart", "~50,32 34,10 12,26 20,58 50,90|~50,32 66,10 88,26 80,58 50,90"),
  ]
}
