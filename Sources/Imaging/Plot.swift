/// A diagram of two axes: series as lines and markers, bars, a legend, drawn on white.
///
///     var plot = Plot("MNIST", x: PlotAxis("L0"), y: PlotAxis("FVU", scale: .logarithmic))
///     plot.add("topk", x: [4, 8, 16], y: [0.3, 0.2, 0.1])
///     try ImageFile.writePNG(plot.image(), to: "fvu.png")
package struct Plot: Sendable {
  package enum Marker: Sendable {
    case none, disc, square, diamond
  }

  /// Points in the order in which a line joins them.
  struct Series: Sendable {
    let name: String?
    let x, y: [Double]
    let marker: Marker
    let hasLine: Bool
    let colour: Colour
  }

  /// A bar from zero (on a logarithmic axis, from its lower end) to `height`.
  package struct Bar: Sendable {
    package let lower, upper, height: Double
    package let colour: Colour

    package init(_ lower: Double, _ upper: Double, height: Double, colour: Colour? = nil) {
      self.lower = lower
      self.upper = upper
      self.height = height
      self.colour = colour ?? Colour.series[0]
    }
  }

  package var title: String
  /// A line below the title, smaller.
  package var subtitle: String
  package var x: PlotAxis
  package var y: PlotAxis
  private(set) var series: [Series] = []
  private(set) var bars: [Bar] = []

  package init(_ title: String, subtitle: String = "", x: PlotAxis, y: PlotAxis) {
    self.title = title
    self.subtitle = subtitle
    self.x = x
    self.y = y
  }

  /// Adds the points (x_i, y_i).
  ///
  /// - Parameters:
  ///   - name: for the legend; nil keeps the series out of it.
  ///   - colour: nil takes the next of `Colour.series`.
  package mutating func add(
    _ name: String? = nil, x: [Double], y: [Double], marker: Marker = .disc, hasLine: Bool = true,
    colour: Colour? = nil
  ) {
    precondition(x.count == y.count, "a point has two coordinates")
    let next = Colour.series[series.count % Colour.series.count]
    series.append(
      Series(
        name: name, x: x, y: y, marker: marker, hasLine: hasLine, colour: colour ?? next))
  }

  package mutating func add(_ bars: [Bar]) { self.bars += bars }

  /// Draws it.
  ///
  /// - Throws: `PlotError` where there is nothing to draw or a value has no place on its axis, such
  ///   as a NaN, or 0 on a logarithmic axis: what is not in the picture would go unnoticed.
  package func image(width: Int = 960, height: Int = 600) throws -> Image {
    precondition(width >= 240 && height >= 180, "no room for a plot")
    try check()
    return PlotDrawing(self, width: width, height: height).image
  }

  private func check() throws {
    guard series.contains(where: { !$0.x.isEmpty }) || !bars.isEmpty else {
      throw PlotError("plot \"\(title)\": nothing to draw")
    }
    for (name, axis) in [("x", x), ("y", y)] {
      guard let range = axis.range else { continue }
      guard range.lowerBound.isFinite, range.upperBound.isFinite,
        range.lowerBound < range.upperBound,
        axis.scale == .linear || range.lowerBound > 0
      else {
        throw PlotError("plot \"\(title)\": the \(name) axis cannot span \(range)")
      }
    }
    for (index, series) in series.enumerated() {
      let what = series.name.map { "\"\($0)\"" } ?? "\(index + 1)"
      for (x, y) in zip(series.x, series.y) {
        try check(x, on: self.x, "series \(what): x")
        try check(y, on: self.y, "series \(what): y")
      }
    }
    for bar in bars {
      try check(bar.lower, on: x, "bar: x")
      try check(bar.upper, on: x, "bar: x")
      // An empty bar has no height on any scale.
      if bar.height != 0 { try check(bar.height, on: y, "bar: y") }
      guard bar.lower < bar.upper else {
        throw PlotError("plot \"\(title)\", bar: from \(bar.lower) to \(bar.upper) is no width")
      }
    }
    if y.scale == .logarithmic, series.isEmpty, bars.allSatisfy({ $0.height == 0 }) {
      throw PlotError("plot \"\(title)\": nothing to draw")
    }
  }

  private func check(_ value: Double, on axis: PlotAxis, _ what: String) throws {
    guard value.isFinite, abs(value) <= 1e300 else {
      throw PlotError("plot \"\(title)\", \(what) is \(value)")
    }
    if axis.scale == .logarithmic, value < .leastNormalMagnitude {
      throw PlotError(
        "plot \"\(title)\", \(what) is \(value), which has no place on a logarithmic axis")
    }
  }
}

/// Why a plot cannot be drawn, in one line.
package struct PlotError: Error, Equatable, Sendable, CustomStringConvertible {
  package let description: String

  init(_ description: String) { self.description = description }
}
