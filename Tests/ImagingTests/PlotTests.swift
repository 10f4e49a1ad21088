import Imaging
import Testing

/// Every case draws a small plot and looks at its pixels.
struct PlotTests {
  private static let blue = Colour.series[0]
  private static let grid = Colour(grey: 232)
  private static let ink = Colour(grey: 40)

  /// An image that can be asked for pixels.
  private struct Pixels {
    let image: Image

    func colour(_ x: Int, _ y: Int) -> Colour {
      let i = (y * image.width + x) * 3
      return Colour(image.samples[i], image.samples[i + 1], image.samples[i + 2])
    }

    /// The rows of column x that have this colour.
    func rows(_ x: Int, _ colour: Colour) -> [Int] {
      (0..<image.height).filter { self.colour(x, $0) == colour }
    }

    func columns(_ y: Int, _ colour: Colour) -> [Int] {
      (0..<image.width).filter { self.colour($0, y) == colour }
    }

    /// The column and the row that hold the most of the axes' ink.
    var axes: (column: Int, row: Int) {
      let inColumns = (0..<image.width).map { rows($0, ink).count }
      let inRows = (0..<image.height).map { columns($0, ink).count }
      return (
        inColumns.firstIndex(of: inColumns.max() ?? 0) ?? 0,
        inRows.firstIndex(of: inRows.max() ?? 0) ?? 0
      )
    }
  }

  private static func draw(
    _ plot: Plot, width: Int = 480, height: Int = 320
  ) throws -> Pixels {
    Pixels(image: try plot.image(width: width, height: height))
  }

  private static func line(
    x: PlotAxis = PlotAxis(""), y: PlotAxis = PlotAxis(""), _ xs: [Double], _ ys: [Double]
  ) -> Plot {
    var plot = Plot("", x: x, y: y)
    plot.add(x: xs, y: ys, marker: .none)
    return plot
  }

  @Test func axesLieLeftAndBelowTheData() throws {
    let pixels = try Self.draw(Self.line([0, 1], [0, 1]))
    let (column, row) = pixels.axes
    #expect(column > 20 && column < 100)
    #expect(row > 240 && row < 300)
    // From the corner to the top and to the right, unbroken.
    #expect((20..<row).allSatisfy { pixels.colour(column, $0) == Self.ink })
    #expect((column..<460).allSatisfy { pixels.colour($0, row) == Self.ink })
    #expect(pixels.colour(0, 0) == .white)
    #expect(pixels.colour(479, 0) == .white)
  }

  @Test func aRisingLineRises() throws {
    let pixels = try Self.draw(Self.line([0, 1, 2, 3], [0, 1, 2, 3]))
    let (column, _) = pixels.axes
    let heights = stride(from: column + 20, to: 440, by: 20).map { x in
      pixels.rows(x, Self.blue).first ?? -1
    }
    #expect(heights.allSatisfy { $0 >= 0 })
    #expect(zip(heights, heights.dropFirst()).allSatisfy { $0 > $1 })
    // Straight: equal steps.
    let steps = zip(heights, heights.dropFirst()).map { $0 - $1 }
    #expect((steps.max() ?? 0) - (steps.min() ?? 0) <= 2)
  }

  /// On two logarithmic axes y = x^2 is as straight as y = x on two linear ones, and a constant
  /// factor is a constant distance.
  @Test func logarithmicAxes() throws {
    let xs = [1.0, 10, 100, 1000]
    let pixels = try Self.draw(
      Self.line(
        x: PlotAxis("", scale: .logarithmic, range: 1...1000),
        y: PlotAxis("", scale: .logarithmic, range: 1...1e6), xs, xs.map { $0 * $0 }))
    let (column, row) = pixels.axes
    for share in [0.25, 0.5, 0.75] {
      let x = column + 2 + Int(share * Double(479 - 20 - column))
      let rows = pixels.rows(x, Self.blue)
      let middle = Double((rows.first ?? 0) + (rows.last ?? 0)) / 2
      #expect(abs(middle - (Double(row) - share * Double(row - 20))) < 6, "at \(share)")
    }
  }

  @Test func gridLinesMarkRoundNumbers() throws {
    // 0, 0.2, ..., 1 or the like: at least 3 lines at equal distances.
    let pixels = try Self.draw(Self.line([0, 1], [0, 1]))
    let (column, row) = pixels.axes
    let lines = pixels.rows(column + 3, Self.grid).filter { $0 < row }
    #expect(lines.count >= 3)
    let steps = zip(lines, lines.dropFirst()).map { $1 - $0 }
    #expect((steps.max() ?? 0) - (steps.min() ?? 0) <= 1)
  }

  @Test func barsStandOnTheAxis() throws {
    var plot = Plot("", x: PlotAxis(""), y: PlotAxis("", range: 0...4))
    plot.add([Plot.Bar(0, 1, height: 1), Plot.Bar(1, 2, height: 3), Plot.Bar(2, 3, height: 0)])
    let pixels = try Self.draw(plot)
    let (column, row) = pixels.axes
    let width = 460 - column
    let heights = [0.25, 0.5, 0.75].map { share in
      pixels.rows(column + Int(share * Double(width)), Self.blue)
    }
    #expect(heights[0].last == row - 1 && heights[1].last == row - 1)
    #expect(abs(heights[1].count - 3 * heights[0].count) <= 3)
    #expect(heights[2].isEmpty)
  }

  // MARK: Text

  @Test func aLetterIsDrawnDotByDot() {
    var canvas = Canvas(width: 20, height: 20)
    canvas.text("L", x: 2, y: 3)
    let dots = (0..<20).flatMap { y in
      (0..<20).filter { canvas.colour(x: $0, y: y) == .black }.map { [$0, y] }
    }
    #expect(dots == (0..<6).map { [2, 3 + $0] } + (0..<5).map { [2 + $0, 9] })

    // Twice as large, and upwards: rotated against the clock.
    var large = Canvas(width: 20, height: 20)
    large.text("L", x: 0, y: 0, scale: 2)
    #expect(large.colour(x: 1, y: 13) == .black && large.colour(x: 9, y: 12) == .black)
    #expect(large.colour(x: 9, y: 11) == .white && large.colour(x: 2, y: 0) == .white)
    var upwards = Canvas(width: 20, height: 20)
    upwards.text("L", x: 0, y: 20, upwards: true)
    #expect((0..<7).allSatisfy { upwards.colour(x: $0, y: 19) == .black })
    #expect((15..<20).allSatisfy { upwards.colour(x: 6, y: $0) == .black })
    #expect(upwards.colour(x: 0, y: 18) == .white)
  }

  @Test func everyPrintableCharacterHasALetterOfItsOwn() {
    let letters = (32..<127).map { BitmapFont.letter(Character(UnicodeScalar($0))) }
    #expect(Set(letters.map(\.rows)).count == 95)
    #expect(letters.allSatisfy { $0.rows.count == BitmapFont.height && (1...5).contains($0.width) })
    // A stranger gets the box, not silence and not a crash.
    #expect(BitmapFont.letter("\u{3BC}").rows == BitmapFont.letter("\u{1F426}").rows)
    #expect(BitmapFont.letter("\u{3BC}").rows.contains { $0 != 0 })
    #expect(BitmapFont.width(of: "") == 0)
    #expect(BitmapFont.width(of: "LL") == 11)
  }

  @Test func titleLabelsAndNumbersAreWritten() throws {
    func inkCount(_ plot: Plot) throws -> Int {
      let pixels = try Self.draw(plot)
      return (0..<480).reduce(0) { $0 + pixels.rows($1, Self.ink).count }
    }
    var plot = Self.line([0, 1], [0, 1])
    let bare = try inkCount(plot)
    plot.title = "Title"
    let titled = try inkCount(plot)
    // The axis is shorter below a title; the letters outweigh that.
    #expect(titled > bare + 100)
    plot.x.label = "horizontal"
    let labelled = try inkCount(plot)
    #expect(labelled > titled + 200)
    plot.y.label = "vertical"
    #expect(try inkCount(plot) > labelled + 50)
  }

  @Test func theLegendKeepsClearOfTheLine() throws {
    // The line ends at the upper right, so the legend moves to the upper left.
    var plot = Plot("", x: PlotAxis(""), y: PlotAxis(""))
    plot.add("rising", x: [0, 1], y: [0, 1], marker: .none)
    let frame = Colour(grey: 205)
    let pixels = try Self.draw(plot)
    let columns = (0..<480).filter { pixels.rows($0, frame).count > 10 }
    #expect(columns.count == 2)
    #expect((columns.last ?? 480) < 300)
    #expect(pixels.rows(columns.first ?? 0, frame).allSatisfy { $0 < 160 })
  }

  // MARK: Lines

  /// A horizontal line 3 pixels wide covers 1 + 2 halves more where it lies between pixels.
  @Test func linesAreSmoothed() {
    var canvas = Canvas(width: 30, height: 9)
    canvas.stroke([.init(5, 4.5), .init(25, 4.5)], width: 3, .black)
    #expect(
      (0..<9).map { canvas.colour(x: 15, y: $0).red } == [255, 255, 255, 0, 0, 0, 255, 255, 255])
    var between = Canvas(width: 30, height: 9)
    between.stroke([.init(5, 4), .init(25, 4)], width: 3, .black)
    #expect(
      (0..<9).map { between.colour(x: 15, y: $0).red }
        == [255, 255, 128, 0, 0, 128, 255, 255, 255])
  }

  @Test func drawingOutsideIsClipped() {
    var canvas = Canvas(width: 8, height: 8)
    canvas.stroke([.init(-1e9, 4.5), .init(1e9, 4.5)], width: 1, .black)
    #expect((0..<8).allSatisfy { canvas.colour(x: $0, y: 4) == .black })
    canvas.fill(.init(x: -5, y: -5, width: 100, height: 6), .white)
    canvas.text("Hello", x: -9, y: 5, scale: 3)
    canvas.place(canvas.image, x: 5, y: -3)
    canvas.stroke(
      [.init(.nan, 0), .init(3, 3)], width: 1, .black,
      within: .init(x: 9, y: 9, width: 4, height: 4))
    #expect(canvas.image.samples.count == 8 * 8 * 3)
  }

  // MARK: Wrong inputs

  @Test(
    arguments: [
      ([1, 2], [1, .nan], "series \"s\": y is nan"),
      ([1, .infinity], [1, 2], "series \"s\": x is inf"),
      ([0, 1], [1, 2], "series \"s\": x is 0.0, which has no place on a logarithmic axis"),
      ([-1, 1], [1, 2], "series \"s\": x is -1.0, which has no place on a logarithmic axis"),
      ([], [], "nothing to draw"),
    ] as [([Double], [Double], String)])
  func whatHasNoPlaceIsAnError(x: [Double], y: [Double], words: String) {
    var plot = Plot("p", x: PlotAxis("", scale: .logarithmic), y: PlotAxis(""))
    plot.add("s", x: x, y: y)
    let error = #expect(throws: PlotError.self) { try plot.image() }
    #expect(error?.description.contains(words) == true, "\(error?.description ?? "")")
    #expect(error?.description.hasPrefix("plot \"p\"") == true)
  }

  @Test func wrongRangesAndBarsAreErrors() {
    var plot = Self.line([1, 2], [1, 2])
    plot.x.range = 3...3
    #expect(throws: PlotError.self) { try plot.image() }
    plot.x.range = 0...3
    #expect(throws: Never.self) { try plot.image() }
    plot.x.scale = .logarithmic
    #expect(throws: PlotError.self) { try plot.image() }
    var bars = Plot("", x: PlotAxis(""), y: PlotAxis(""))
    #expect(throws: PlotError.self) { try bars.image() }
    bars.add([Plot.Bar(1, 1, height: 2)])
    #expect(throws: PlotError.self) { try bars.image() }
  }

  @Test func extremeValuesAreDrawn() throws {
    for values in [
      [0.0], [5], [-3, -3], [1e-300, 1e300], [-1e300, 1e300], [1e-12, 2e-12], [1e15, 1e15 + 2],
      [.leastNormalMagnitude, 1],
    ] {
      let xs = values.indices.map(Double.init)
      _ = try Self.draw(Self.line(xs, values))
      if values.allSatisfy({ $0 > 0 }) {
        _ = try Self.draw(Self.line(y: PlotAxis("", scale: .logarithmic), xs, values))
      }
    }
  }

  // MARK: Colours

  @Test func theDivergingMapIsWhiteInTheMiddle() {
    #expect(Colour.diverging(0) == .white)
    #expect(Colour.diverging(.nan) == .white)
    let (red, blue) = (Colour.diverging(0.7), Colour.diverging(-0.7))
    #expect(red.red > red.blue && blue.blue > blue.red)
    #expect(Colour.diverging(7) == Colour.diverging(1))
  }

  @Test func reducedImagesAreMeans() {
    let image = Image(
      width: 5, height: 2, channels: 1, samples: [0, 2, 10, 10, 40, 4, 6, 10, 10, 50])
    #expect(
      image.reduced(by: 2) == Image(width: 2, height: 1, channels: 1, samples: [3, 22]))
    #expect(image.reduced(by: 1) == image)
    #expect(image.reduced(by: 9).samples.count == 1)
  }
}
