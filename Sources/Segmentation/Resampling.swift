/// A row of samples at another resolution, by the triangle filter: linear interpolation where there
/// are more samples than before; where there are fewer, the filter is as much wider, so that nothing
/// finer than the new grid is folded into it. Both rows cover the same length; beyond their ends lies
/// nothing, and weights are made to add up to 1.
package struct Resampling {
  private let from, to: Int
  /// Of each new sample the first old one that it depends on, and the weights from there on.
  private let first: [Int]
  private let weights: [[Float]]

  package init(from: Int, to: Int) {
    precondition(from > 0 && to > 0, "\(from) samples to \(to)")
    (self.from, self.to) = (from, to)
    let ratio = Double(from) / Double(to)
    let reach = max(1, ratio)
    let taps = (0..<to).map { i -> (first: Int, weights: [Float]) in
      let centre = (Double(i) + 0.5) * ratio - 0.5
      // The ends of the filter, where its weight is 0, are left out.
      let low = max(0, Int((centre - reach).rounded(.down)) + 1)
      let high = min(from - 1, Int((centre + reach).rounded(.up)) - 1)
      let raw = (low...high).map { 1 - abs(Double($0) - centre) / reach }
      let sum = raw.reduce(0, +)
      return (low, raw.map { Float($0 / sum) })
    }
    first = taps.map(\.first)
    weights = taps.map(\.weights)
  }

  /// - Parameter values: `[outer, from, inner]`
  /// - Returns: `[outer, to, inner]`
  package func apply(_ values: [Float], outer: Int, inner: Int) -> [Float] {
    precondition(values.count == outer * from * inner, "\(values.count) values of another shape")
    var result = [Float](repeating: 0, count: outer * to * inner)
    values.withUnsafeBufferPointer { values in
      result.withUnsafeMutableBufferPointer { result in
        for row in 0..<outer {
          for i in 0..<to {
            let target = (row * to + i) * inner
            for (tap, weight) in weights[i].enumerated() {
              let source = (row * from + first[i] + tap) * inner
              for c in 0..<inner { result[target + c] += weight * values[source + c] }
            }
          }
        }
      }
    }
    return result
  }

  /// An image, `[height, width, channels]`, at another resolution.
  package static func resize(
    _ values: [Float], height: Int, width: Int, channels: Int, toHeight: Int, toWidth: Int
  ) -> [Float] {
    let narrow = Resampling(from: width, to: toWidth).apply(values, outer: height, inner: channels)
    return Resampling(from: height, to: toHeight).apply(
      narrow, outer: 1, inner: toWidth * channels)
  }
}
