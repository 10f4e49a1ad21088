import Compute
import Foundation

/// Every operation in double precision, from the single-precision inputs, with its error bound.
///
/// Third to the reference and the devices, so that neither of them judges itself.
package enum Oracle {
  /// The smallest absolute error that a bound allows, since subnormal results may be flushed to 0.
  static let tiny = 0x1p-125

  static func value(_ activation: Activation, _ x: Double) -> Double {
    switch activation {
    case .identity: x
    case .relu: x < 0 ? 0 : x
    case .sigmoid: 1 / (1 + exp(-x))
    case .tanh: tanh(x)
    }
  }

  static func derivative(_ activation: Activation, at y: Double) -> Double {
    switch activation {
    case .identity: 1
    case .relu: y > 0 ? 1 : 0
    case .sigmoid: y * (1 - y)
    case .tanh: 1 - y * y
    }
  }

  /// The epilogue of a product, over host values.
  package enum Epilogue: Sendable {
    case none
    case bias([Float], Activation)
    case derivative(of: Activation, at: [Float])
    case columnSums
  }

  /// The product and, after `.columnSums`, the sums.
  package static func matmul(
    _ shape: MatmulShape, _ a: [Float], _ b: [Float], epilogue: Epilogue
  ) -> [Expectation] {
    let (m, n, k) = (shape.m, shape.n, shape.k)
    var product = [Double](repeating: 0, count: m * n)
    var magnitude = [Double](repeating: 0, count: m * n)
    var columns = (
      sum: [Double](repeating: 0, count: n), magnitude: [Double](repeating: 0, count: n)
    )
    for depth in 0..<k {
      let right = (0..<n).map { Double(b[shape.transposeB ? $0 * k + depth : depth * n + $0]) }
      for j in 0..<n {
        columns.sum[j] += right[j]
        columns.magnitude[j] += abs(right[j])
      }
      for i in 0..<m {
        let left = Double(a[shape.transposeA ? depth * m + i : i * k + depth])
        for j in 0..<n {
          let term = left * right[j]
          product[i * n + j] += term
          magnitude[i * n + j] += abs(term)
        }
      }
    }

    let relative = summationBound(k)
    var result = Expectation(values: product, bounds: magnitude.map { $0 * relative + tiny })
    switch epilogue {
    case .none: break
    case .bias(let bias, let activation):
      for i in 0..<m * n {
        let shift = Double(bias[i % n])
        let value = value(activation, product[i] + shift)
        result.values[i] = value
        result.bounds[i] =
          activation.lipschitzConstant * relative * (magnitude[i] + abs(shift))
          + (activation == .sigmoid || activation == .tanh ? 6 * unitRoundoff * abs(value) : 0)
          + tiny
      }
    case .derivative(let activation, let y):
      for i in 0..<m * n {
        let slope = derivative(activation, at: Double(y[i]))
        let smooth = activation == .sigmoid || activation == .tanh
        result.values[i] = product[i] * slope
        result.bounds[i] =
          magnitude[i] * relative * abs(slope)
          + (smooth ? 3 * unitRoundoff * abs(product[i]) : 0) + tiny
      }
    case .columnSums:
      let sums = Expectation(
        values: columns.sum, bounds: columns.magnitude.map { $0 * relative + tiny })
      return [result, sums]
    }
    return [result]
  }

  package static func columnSums(_ x: [Float], rows: Int, width: Int) -> Expectation {
    var sums = [Double](repeating: 0, count: width)
    var magnitudes = sums
    for i in 0..<rows {
      for j in 0..<width {
        sums[j] += Double(x[i * width + j])
        magnitudes[j] += abs(Double(x[i * width + j]))
      }
    }
    return Expectation(
      values: sums, bounds: magnitudes.map { $0 * summationBound(rows) + tiny })
  }

  /// The gradient, the error of each row and its L0.
  package static func reconstructionLoss(
    y: [Float], x: [Float], activation: Activation, z: [Float], scale: Float, batch: Int
  ) -> [Expectation] {
    let (width, latents) = (y.count / max(batch, 1), z.count / max(batch, 1))
    var gradient = Expectation(exactly: [])
    var errors = Expectation(exactly: [])
    var counts: [Double] = []
    for i in 0..<batch {
      var sum = 0.0
      for j in i * width..<(i + 1) * width {
        let (value, difference) = (Double(y[j]), Double(y[j]) - Double(x[j]))
        sum += difference * difference
        let slope = Double(scale) * difference * derivative(activation, at: value)
        gradient.values.append(slope)
        gradient.bounds.append(
          6 * unitRoundoff * abs(slope) + 3 * unitRoundoff * abs(Double(scale) * difference) + tiny)
      }
      errors.values.append(sum)
      errors.bounds.append((summationBound(width) + 3 * unitRoundoff) * sum + tiny)
      counts.append(Double(z[i * latents..<(i + 1) * latents].count { $0 != 0 }))
    }
    return [
      gradient, errors,
      Expectation(values: counts, bounds: counts.map { countBound(Int($0)) }),
    ]
  }

  /// The parameters and both moments after a step.
  package static func adam(
    p: [Float], g: [Float], m: [Float], v: [Float], step: AdamStep
  ) -> [Expectation] {
    var results = [Expectation](repeating: Expectation(exactly: []), count: 3)
    let (beta1, beta2) = (Double(step.beta1), Double(step.beta2))
    let (rest1, rest2) = (Double(1 - step.beta1), Double(1 - step.beta2))
    for i in p.indices {
      let slope = Double(g[i])
      let (kept, added) = (beta1 * Double(m[i]), rest1 * slope)
      let mean = kept + added
      let meanBound = 3 * unitRoundoff * (abs(kept) + abs(added)) + tiny
      let square = beta2 * Double(v[i]) + rest2 * slope * slope
      let denominator = square.squareRoot() * Double(step.secondMomentScale) + Double(step.epsilon)
      let change = Double(step.stepSize) * mean / denominator
      // OpenCL allows 3 ulp for a square root and 2.5 ulp for a division.
      let changeBound =
        abs(change) * 16 * unitRoundoff + Double(step.stepSize) * meanBound / denominator
      let value = Double(p[i]) - change
      for (index, (wanted, bound)) in [
        (value, changeBound + 2 * unitRoundoff * abs(value) + tiny), (mean, meanBound),
        (square, 6 * unitRoundoff * square + tiny),
      ].enumerated() {
        results[index].values.append(wanted)
        results[index].bounds.append(bound)
      }
    }
    return results
  }

  package static func gather(
    _ pixels: [UInt8], width: Int, rows: some Sequence<UInt32>, scale: Float, shift: Float,
    mean: [Float]?
  ) -> Expectation {
    var result = Expectation(exactly: [])
    for row in rows {
      for j in 0..<width {
        let product = Double(scale) * Double(pixels[Int(row) * width + j])
        let centre = mean.map { Double($0[j]) } ?? 0
        result.values.append(product + Double(shift) - centre)
        result.bounds.append(
          3 * unitRoundoff * (abs(product) + abs(Double(shift)) + abs(centre)))
      }
    }
    return result
  }

  package static func countNonzero(_ z: [Float], counts: [UInt32]) -> Expectation {
    var totals = counts.map(Double.init)
    for (i, value) in z.enumerated() where value != 0 { totals[i % counts.count] += 1 }
    return Expectation(exactly: totals)
  }
}
