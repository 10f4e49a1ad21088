import Compute
import Foundation

extension Oracle {
  /// `topK` by sorting; with a batch of 1 what `batchTopK` keeps.
  package static func topK(_ a: [Float], k: Int, batch: Int) -> Expectation {
    let width = a.count / max(batch, 1)
    var code = [Double](repeating: 0, count: a.count)
    for start in stride(from: 0, to: a.count, by: max(width, 1)) {
      let order = (start..<start + width).sorted { left, right in
        let (x, y) = (a[left], a[right])
        if x.isNaN || y.isNaN { return x.isNaN == y.isNaN ? left < right : y.isNaN }
        return x == y ? left < right : x > y
      }
      for j in order.prefix(k) where a[j] > 0 { code[j] = Double(a[j]) }
    }
    return Expectation(exactly: code)
  }

  /// The code and its threshold.
  package static func batchTopK(_ a: [Float], k: Int, batch: Int) -> [Expectation] {
    let code = topK(a, k: batch * k, batch: 1)
    return [code, Expectation(exactly: [code.values.filter { $0 > 0 }.min() ?? 0])]
  }

  package static func jumpReLU(_ a: [Float], threshold theta: [Float]) -> Expectation {
    Expectation(
      exactly: a.enumerated().map { $1 > theta[$0 % theta.count] ? Double($1) : 0 })
  }

  /// da and dtheta.
  package static func jumpReLUBackward(
    _ g: [Float], a: [Float], threshold theta: [Float], bandwidth: Float, penalty: Float,
    scale: Float
  ) -> [Expectation] {
    let width = theta.count
    let weight = Double(penalty) * Double(scale)
    var da: [Double] = []
    var sums = ColumnBounds(width)
    for (i, slope) in g.enumerated() {
      let (value, threshold) = (Double(a[i]), Double(theta[i % width]))
      da.append(value > threshold ? Double(slope) : 0)
      let product = threshold * Double(slope)
      let distance = abs(value - threshold) - Double(bandwidth) / 2
      let error = 3 * unitRoundoff * (abs(product) + abs(weight))
      // On the rim of the kernel's support the rounding of a - theta decides.
      let isOnRim = abs(distance) <= 2 * unitRoundoff * (abs(value) + abs(threshold))
      sums.add(
        distance < 0 ? product + weight : 0, to: i % width,
        error: isOnRim ? error + abs(product + weight) : distance < 0 ? error : 0)
    }
    var gradient = sums.expectation(terms: g.count / max(width, 1))
    for j in 0..<width {
      gradient.values[j] /= -Double(bandwidth)
      gradient.bounds[j] /= Double(bandwidth)
      gradient.bounds[j] += 3 * unitRoundoff * abs(gradient.values[j])
    }
    return [Expectation(exactly: da), gradient]
  }

  /// One gate with all that its gradient is made of, each with its bound.
  private struct Gate {
    let logAlpha, logAlphaBound: Double
    var sigmoid, sigmoidBound: Double
    var stretched, stretchedBound: Double
    var clipped: Double { min(1, max(0, stretched)) }
    static let low = -0.1
    static let stretch = 1.2
    static let temperature = 2.0 / 3
    static let closed = log(0.1 / 1.1)

    init(a: Float, slope: Float, offset: Float, uniform u: Float?) {
      let product = Double(slope) * Double(a)
      logAlpha = product + Double(offset)
      logAlphaBound = 2 * unitRoundoff * (abs(product) + abs(Double(offset)))
      var (argument, bound) = (logAlpha, logAlphaBound)
      if let u {
        // OpenCL allows 2.5 ulp for the division and 3 ulp for the logarithm.
        let logit = log(Double(u)) - log1p(-Double(u))
        argument = (logit + logAlpha) / Self.temperature
        bound =
          (bound + unitRoundoff * (5 + 7 * abs(logit) + abs(logAlpha))) / Self.temperature
          + 3 * unitRoundoff * abs(argument)
      }
      sigmoid = Oracle.value(.sigmoid, argument)
      sigmoidBound = bound / 4 + 6 * unitRoundoff * sigmoid + tiny
      stretched = sigmoid * Self.stretch + Self.low
      stretchedBound = Self.stretch * sigmoidBound + 4 * unitRoundoff
    }
  }

  /// The code and the counts of gates open in test.
  package static func hardConcrete(
    _ a: [Float], slope: [Float], offset: [Float], noise: GateNoise?
  ) -> [Expectation] {
    let width = slope.count
    var code = Expectation(exactly: [])
    var counts = Expectation(exactly: [Double](repeating: 0, count: a.count / max(width, 1)))
    for (place, value) in a.enumerated() {
      let (i, j) = (place / width, place % width)
      let gate = Gate(
        a: value, slope: slope[j], offset: offset[j],
        uniform: noise?.uniform(row: i, column: j))
      let wanted = max(Double(value), 0) * gate.clipped
      code.values.append(wanted)
      code.bounds.append(
        max(Double(value), 0) * gate.stretchedBound + 2 * unitRoundoff * wanted + tiny)
      guard value > 0 else { continue }
      let margin = gate.logAlpha - Gate.closed
      if margin > 0 { counts.values[i] += 1 }
      if abs(margin) <= gate.logAlphaBound + 3 * unitRoundoff { counts.bounds[i] += 1 }
    }
    return [code, counts]
  }

  /// da and the gradients of slope and offset.
  package static func hardConcreteBackward(
    _ g: [Float], a: [Float], slope: [Float], offset: [Float], noise: GateNoise, penalty: Float,
    scale: Float
  ) -> [Expectation] {
    let width = slope.count
    let weight = Double(penalty) * Double(scale)
    var da = Expectation(exactly: [])
    var (slopes, offsets) = (ColumnBounds(width), ColumnBounds(width))
    for (place, upstream) in g.enumerated() {
      let (i, j) = (place / width, place % width)
      let (above, value) = (Double(upstream), Double(a[place]))
      guard value > 0 else {
        da.values.append(0)
        da.bounds.append(0)
        continue
      }
      let gate = Gate(
        a: a[place], slope: slope[j], offset: offset[j],
        uniform: noise.uniform(row: i, column: j))
      let s = gate.sigmoid
      let steepness = Gate.stretch / Gate.temperature
      let fit = above * value * steepness * s * (1 - s)
      let isOpen = gate.stretched > 0 && gate.stretched < 1
      let isAtEnd =
        min(abs(gate.stretched), abs(gate.stretched - 1)) <= gate.stretchedBound
      let fitBound =
        abs(above * value) * steepness * (gate.sigmoidBound + unitRoundoff * s)
        + 6 * unitRoundoff * abs(fit)

      let shift = Gate.temperature * Gate.closed
      let argument = gate.logAlpha - shift
      let p = Oracle.value(.sigmoid, argument)
      let pBound =
        (gate.logAlphaBound + 3 * unitRoundoff * (abs(gate.logAlpha) + abs(shift))) / 4
        + 6 * unitRoundoff * p
      let push = weight * p * (1 - p)
      let pushBound = abs(weight) * (pBound + unitRoundoff * p) + 6 * unitRoundoff * abs(push)

      let change = (isOpen ? fit : 0) + push
      let changeBound =
        (isOpen || isAtEnd ? fitBound : 0) + (isAtEnd ? abs(fit) : 0) + pushBound
        + 2 * unitRoundoff * abs(change) + tiny
      da.values.append(above * gate.clipped + change * Double(slope[j]))
      da.bounds.append(
        abs(above) * gate.stretchedBound + abs(Double(slope[j])) * changeBound
          + 3 * unitRoundoff * (abs(above) * gate.clipped + abs(change * Double(slope[j]))) + tiny)
      slopes.add(change * value, to: j, error: changeBound * value)
      offsets.add(change, to: j, error: changeBound)
    }
    let terms = g.count / max(width, 1)
    return [da, slopes.expectation(terms: terms), offsets.expectation(terms: terms)]
  }

  package static func addL1Gradient(
    z: [Float], penalty: Float, scale: Float, g: [Float]
  ) -> Expectation {
    let weight = Double(penalty) * Double(scale)
    var result = Expectation(exactly: g.map(Double.init))
    for i in g.indices where z[i] > 0 {
      result.values[i] += weight
      result.bounds[i] =
        unitRoundoff * (2 * abs(weight) + abs(result.values[i])) + tiny
    }
    return result
  }

  /// The weight and the integral.
  package static func controlPenalty(
    rowL0: [Float], control: [Float], settings: PenaltyControl
  ) -> Expectation {
    let share =
      rowL0.reduce(0) { $0 + Double($1) } / Double(rowL0.count) / Double(settings.target)
    let e = min(1, max(-1, share - 1))
    let eBound = share * (summationBound(rowL0.count) + 3 * unitRoundoff) + unitRoundoff * abs(e)
    let (proportional, change) = (
      Double(settings.proportionalGain) * e, Double(settings.integralGain) * e
    )
    let before = Double(control[1])
    let integral = min(Double(settings.upper), max(Double(settings.lower), before + change))
    let integralBound =
      abs(Double(settings.integralGain)) * eBound
      + 2 * unitRoundoff * (abs(before) + abs(change))
    let exponentBound =
      integralBound + abs(Double(settings.proportionalGain)) * eBound
      + 2 * unitRoundoff * (abs(integral) + abs(proportional))
    let weight = exp(integral + proportional)
    return Expectation(
      values: [weight, integral],
      bounds: [weight * (2 * exponentBound + 8 * unitRoundoff), integralBound])
  }
}

/// Sums down columns with the errors of their terms.
private struct ColumnBounds {
  private var sums, magnitudes, errors: [Double]

  init(_ width: Int) {
    sums = [Double](repeating: 0, count: width)
    (magnitudes, errors) = (sums, sums)
  }

  mutating func add(_ term: Double, to column: Int, error: Double) {
    sums[column] += term
    magnitudes[column] += abs(term)
    errors[column] += error
  }

  func expectation(terms: Int) -> Expectation {
    Expectation(
      values: sums,
      bounds: sums.indices.map {
        errors[$0] + summationBound(terms) * (magnitudes[$0] + errors[$0]) + 0x1p-125
      })
  }
}
