import Compute

// Normalisation and pooling in double precision, over the entries of whole maps.
extension Oracle {
  package struct Normalised {
    package var y, mean, deviation, runningMean, runningVariance: Expectation
  }

  /// The statistics may be found by any sums about a value of the channel: their bounds grow with
  /// the deviations, never with the mean but for its own rounding.
  package static func batchNormalise(
    _ x: [Float], scale: [Float], shift: [Float], runningMean: [Float],
    runningVariance: [Float], activation: Activation, epsilon: Float, momentum: Float
  ) -> Normalised {
    let channels = scale.count
    let count = x.count / channels
    let (u, n) = (unitRoundoff, Double(count))
    let none = Expectation(exactly: [])
    var result = Normalised(
      y: Expectation(
        exactly: [Double](repeating: 0, count: x.count)), mean: none, deviation: none,
      runningMean: none, runningVariance: none)
    for c in 0..<channels {
      let values = stride(from: c, to: x.count, by: channels).map { Double(x[$0]) }
      let mean = values.reduce(0, +) / n
      let variance = values.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / n
      let spread = values.reduce(0) { $0 + abs($1 - mean) + abs($1 - values[0]) } / n
      let about = variance + (mean - values[0]) * (mean - values[0])
      let sums = summationBound(count)
      let meanBound = 2 * u * abs(mean) + (sums + 4 * u) * spread + tiny
      let varianceBound =
        (sums + 8 * u) * variance + 8 * u * (variance * about).squareRoot() + 16 * u * u * about
        + tiny
      // OpenCL allows 3 ulp for a square root and 2.5 ulp for a division.
      let raised = variance + Double(epsilon)
      let deviation = 1 / raised.squareRoot()
      let deviationBound = deviation * (0.51 * varianceBound / raised + 16 * u)
      result.mean.add(mean, meanBound)
      result.deviation.add(deviation, deviationBound)

      let rate = Double(momentum)
      let meanBefore = Double(runningMean[c])
      result.runningMean.add(
        meanBefore + rate * (mean - meanBefore),
        rate * meanBound + 4 * u * (abs(meanBefore) + rate * (abs(mean) + abs(meanBefore))) + tiny)
      let (varianceBefore, unbias) = (Double(runningVariance[c]), n / max(n - 1, 1))
      result.runningVariance.add(
        varianceBefore + rate * (unbias * variance - varianceBefore),
        rate * unbias * varianceBound
          + 6 * u * (abs(varianceBefore) + rate * (unbias * variance + abs(varianceBefore)))
          + tiny)

      let gain = Double(scale[c]) * deviation
      for (i, value) in values.enumerated() {
        let normal = gain * (value - mean)
        result.y.values[i * channels + c] = self.value(activation, normal + Double(shift[c]))
        result.y.bounds[i * channels + c] =
          abs(gain) * (meanBound + 2 * u * abs(value - mean))
          + abs(Double(scale[c]) * (value - mean)) * deviationBound
          + 4 * u * (abs(normal) + abs(Double(shift[c]))) + tiny
      }
    }
    return result
  }

  package static func batchNormaliseBackward(
    _ g: [Float], y: [Float], x: [Float], scale: [Float], mean: [Float], deviation: [Float],
    activation: Activation
  ) -> (x: Expectation, scale: Expectation, shift: Expectation) {
    let channels = scale.count
    let count = x.count / channels
    let (u, n) = (unitRoundoff, Double(count))
    let sums = summationBound(count)
    var dx = Expectation(exactly: [Double](repeating: 0, count: x.count))
    var (dscale, dshift) = (Expectation(exactly: []), Expectation(exactly: []))
    for c in 0..<channels {
      let terms = stride(from: c, to: x.count, by: channels).map { place in
        (
          h: Double(g[place]) * derivative(activation, at: Double(y[place])),
          normal: (Double(x[place]) - Double(mean[c])) * Double(deviation[c])
        )
      }
      let shift = terms.reduce(0) { $0 + $1.h }
      let product = terms.reduce(0) { $0 + $1.h * $1.normal }
      let shiftBound = sums * terms.reduce(0) { $0 + abs($1.h) } + tiny
      let productBound = (sums + 4 * u) * terms.reduce(0) { $0 + abs($1.h * $1.normal) } + tiny
      dshift.add(shift, shiftBound)
      dscale.add(product, productBound)
      let gain = Double(scale[c]) * Double(deviation[c])
      for (i, term) in terms.enumerated() {
        let slanted = term.normal * product
        dx.values[i * channels + c] = gain * (term.h - (shift + slanted) / n)
        dx.bounds[i * channels + c] =
          abs(gain)
          * (4 * u * abs(term.h)
            + (shiftBound + abs(term.normal) * productBound + 6 * u * abs(shift)
              + 8 * u * abs(slanted)) / n)
          + tiny
      }
    }
    return (dx, dscale, dshift)
  }

  package static func maxPool(_ x: [Float], _ extents: MapExtents, size: Int) -> Expectation {
    var result = Expectation(exactly: [])
    for window in windows(extents, size) {
      for c in 0..<extents.channels {
        let values = window.map { Double(x[$0 * extents.channels + c]) }
        result.add(values.contains { $0.isNaN } ? .nan : values.max() ?? .nan, 0)
      }
    }
    return result
  }

  package static func maxPoolBackward(
    _ g: [Float], y: [Float], x: [Float], _ extents: MapExtents, size: Int,
    accumulatingInto before: [Float]?
  ) -> Expectation {
    let channels = extents.channels
    var result = Expectation(
      exactly: before?.map(Double.init) ?? [Double](repeating: 0, count: x.count))
    for (place, window) in windows(extents, size).enumerated() {
      for c in 0..<channels {
        let largest = y[place * channels + c]
        guard let pixel = window.first(where: { x[$0 * channels + c] == largest }) else { continue }
        result.values[pixel * channels + c] += Double(g[place * channels + c])
        if before != nil {
          result.bounds[pixel * channels + c] =
            unitRoundoff * abs(result.values[pixel * channels + c]) + tiny
        }
      }
    }
    return result
  }

  /// For each output the input's pixels of its window, row by row.
  private static func windows(_ input: MapExtents, _ size: Int) -> [[Int]] {
    var result: [[Int]] = []
    for n in 0..<input.batch {
      for i in stride(from: 0, to: input.height, by: size) {
        for j in stride(from: 0, to: input.width, by: size) {
          result.append(
            (i..<i + size).flatMap { row in
              (j..<j + size).map { (n * input.height + row) * input.width + $0 }
            })
        }
      }
    }
    return result
  }
}

extension Expectation {
  mutating func add(_ value: Double, _ bound: Double) {
    values.append(value)
    bounds.append(bound)
  }
}
