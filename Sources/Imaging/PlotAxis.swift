import Foundation

/// One of a plot's two axes, as the caller describes it.
package struct PlotAxis: Sendable {
  package enum Scale: Sendable {
    case linear
    /// To base 10; every value on it is positive.
    case logarithmic
  }

  package var label: String
  package var scale: Scale
  /// What the axis spans, exactly; nil to fit the data.
  package var range: ClosedRange<Double>?
  /// Where values are marked; nil for round numbers.
  package var ticks: [Double]?
  /// Whether only whole numbers are marked, as for counts.
  package var isWhole: Bool
  /// Below this value nothing is marked but by name.
  package var firstTick: Double?
  /// Places with a name instead of a number, besides the ticks.
  package var marks: [(value: Double, label: String)] = []

  package init(
    _ label: String, scale: Scale = .linear, range: ClosedRange<Double>? = nil,
    ticks: [Double]? = nil, isWhole: Bool = false
  ) {
    self.label = label
    self.scale = scale
    self.range = range
    self.ticks = ticks
    self.isWhole = isWhole
  }
}

/// An axis with its span and its ticks worked out.
struct ResolvedAxis {
  struct Tick: Equatable {
    let value: Double
    let label: String
  }

  let lower, upper: Double
  let isLogarithmic: Bool
  let ticks: [Tick]
  /// Small ticks without a number.
  let minorTicks: [Double]

  /// - Parameters:
  ///   - values: all data on this axis, at least one, all with a place on its scale.
  ///   - includesZero: whether a linear axis starts (or ends) at zero, as under bars.
  ///   - room: about how many numbers fit.
  init(_ axis: PlotAxis, values: [Double], includesZero: Bool, room: Int) {
    isLogarithmic = axis.scale == .logarithmic
    let span = axis.range ?? Self.span(values, isLogarithmic: isLogarithmic, includesZero)
    (lower, upper) = (span.lowerBound, span.upperBound)
    var chosen: [Double]
    var minor: [Double] = []
    if let ticks = axis.ticks {
      chosen = ticks
    } else if isLogarithmic {
      (chosen, minor) = Self.decades(span, room: room)
      if chosen.count < 2 { chosen = Self.roundNumbers(span, room: room, isWhole: axis.isWhole) }
    } else {
      chosen = Self.roundNumbers(span, room: room, isWhole: axis.isWhole)
    }
    if axis.isWhole { chosen.removeAll { $0 != $0.rounded() } }
    let slack = isLogarithmic ? 0 : (span.upperBound - span.lowerBound) * 1e-9
    func isInside(_ value: Double) -> Bool {
      value >= span.lowerBound - slack && value <= span.upperBound + slack
    }
    func isMarked(_ value: Double) -> Bool { isInside(value) && value >= axis.firstTick ?? value }
    let labels = Self.labels(chosen, isLogarithmic: isLogarithmic)
    ticks =
      zip(chosen, labels).filter { isMarked($0.0) }.map { Tick(value: $0.0, label: $0.1) }
      + axis.marks.filter { isInside($0.value) }.map { Tick(value: $0.value, label: $0.label) }
    minorTicks = minor.filter(isMarked)
  }

  /// 0 at the lower end, 1 at the upper.
  func position(_ value: Double) -> Double {
    isLogarithmic
      ? (log(value) - log(lower)) / (log(upper) - log(lower)) : (value - lower) / (upper - lower)
  }

  private static func span(
    _ values: [Double], isLogarithmic: Bool, _ includesZero: Bool
  ) -> ClosedRange<Double> {
    guard var lower = values.min(), var upper = values.max() else {
      preconditionFailure("an axis without data has no span")
    }
    if isLogarithmic {
      let padding = upper > lower ? pow(10, 0.04 * (log10(upper) - log10(lower))) : 2
      return max(
        lower / padding, .leastNormalMagnitude)...min(
          upper * padding, .greatestFiniteMagnitude)
    }
    if includesZero { (lower, upper) = (min(0, lower), max(0, upper)) }
    if lower == upper {
      let margin = lower == 0 ? 1 : abs(lower) * 0.1
      return lower - margin...upper + margin
    }
    let padding = (upper - lower) * 0.04
    // A quantity without negative values has none on its axis, and one that comes near zero shows it.
    let start =
      lower >= 0 && lower <= 0.3 * upper ? 0 : lower == 0 ? 0 : lower - padding
    return start...(upper == 0 ? 0 : upper + padding)
  }

  /// Multiples of 1, 2 or 5 times a power of ten.
  private static func roundNumbers(
    _ span: ClosedRange<Double>, room: Int, isWhole: Bool
  ) -> [Double] {
    let width = span.upperBound - span.lowerBound
    let raw = width / Double(max(1, room))
    let power = pow(10, floor(log10(raw)))
    guard power > 0, power.isFinite else { return [span.lowerBound, span.upperBound] }
    let step = [1, 2, 5].map { $0 * power }.first { $0 >= raw * 0.7 } ?? 10 * power
    let usedStep = isWhole ? max(1, step) : step
    let first = (span.lowerBound / usedStep - 1e-9).rounded(.up)
    let count = Int(min(100, (span.upperBound / usedStep + 1e-9).rounded(.down) - first))
    guard count >= 0 else { return [] }
    return (0...count).map { index in
      let multiple = first + Double(index)
      return usedStep < 1 ? multiple / (1 / usedStep).rounded() : multiple * usedStep
    }
  }

  /// Powers of ten and what lies between them: 1, 2, 5 with numbers where there is room, and the
  /// other multiples as small ticks.
  private static func decades(
    _ span: ClosedRange<Double>, room: Int
  ) -> (ticks: [Double], minor: [Double]) {
    let first = Int(log10(span.lowerBound).rounded(.down))
    let last = Int(log10(span.upperBound).rounded(.up))
    let width = log10(span.upperBound) - log10(span.lowerBound)
    func values(_ multiples: [Double], every stride: Int = 1) -> [Double] {
      var values: [Double] = []
      for exponent in first - 1...last where exponent % stride == 0 {
        // Dividing by a power of ten is exact where multiplying by its inverse is not.
        let power = pow(10, Double(abs(exponent)))
        values += multiples.map { exponent < 0 ? $0 / power : $0 * power }
      }
      return values.filter(span.contains)
    }
    let others = (2...9).map(Double.init)
    if width * 3 <= Double(room) { return (values([1, 2, 5]), values([3, 4, 6, 7, 8, 9])) }
    if width <= Double(room) { return (values([1]), values(others)) }
    let stride = Int((width / Double(room)).rounded(.up))
    return (values([1], every: stride), values([1]))
  }

  /// As few decimals as tell all of them apart and exactly; scientific for the very large or small.
  private static func labels(_ values: [Double], isLogarithmic: Bool) -> [String] {
    if isLogarithmic { return values.map(number) }
    let largest = values.map(abs).max() ?? 0
    guard largest == 0 || (largest >= 1e-4 && largest < 1e7) else {
      return values.map { $0 == 0 ? "0" : String(format: "%g", $0) }
    }
    let decimals = (0...8).first { decimals in
      values.allSatisfy { value in
        let scaled = value * pow(10, Double(decimals))
        return abs(scaled - scaled.rounded()) < 1e-6 * max(1, abs(scaled))
      }
    }
    return values.map { value in
      String(format: "%.\(decimals ?? 8)f", value == 0 ? 0 : value)
    }
  }

  private static func number(_ value: Double) -> String {
    value >= 1e-4 && value < 1e6 ? String(format: "%.10g", value) : String(format: "%g", value)
  }
}
