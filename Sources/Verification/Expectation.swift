/// What an operation's output must be: values worked out in double precision and, for each, how
/// far a single-precision implementation may be from it.
package struct Expectation: Sendable {
  package var values: [Double]
  package var bounds: [Double]

  package init(values: [Double], bounds: [Double]) {
    precondition(values.count == bounds.count)
    self.values = values
    self.bounds = bounds
  }

  /// Bit equality: for integer-valued inputs, where no rounding happens at all.
  package init(exactly values: [Double]) {
    self.init(values: values, bounds: [Double](repeating: 0, count: values.count))
  }

  package func exact() -> Expectation { Expectation(exactly: values) }
}

/// The rounding unit of single precision.
package let unitRoundoff = 0x1p-24

/// gamma_n = n u / (1 - n u): the bound of n accumulated roundings (Higham 2002, lemma 3.1).
package func gamma(_ n: Int) -> Double {
  let product = Double(n) * unitRoundoff
  return product / (1 - product)
}

/// The bound of a sum of `terms` products with random signs: the worst case for short sums, and
/// 8 sqrt(n) u for long ones, where the worst case would be loose enough to hide a wrong kernel.
package func summationBound(_ terms: Int) -> Double {
  min(gamma(terms + 2), 8 * Double(terms + 2).squareRoot() * unitRoundoff)
}

/// The bound of a count that is kept as a float: none as far as one holds it.
package func countBound(_ count: Int) -> Double {
  count <= 1 << 24 ? 0 : summationBound(count) * Double(count)
}

/// How an output compares with its expectation.
package struct Comparison: Sendable {
  /// The error at the element that used the largest share of its bound.
  package var error = 0.0
  /// The bound at that element.
  package var bound = 0.0
  /// The largest error as a share of its bound; infinite where a bound of 0 is missed.
  package var worstRatio = 0.0
  /// What the first element outside its bound is, if there is one.
  package var failure: String?

  package var passes: Bool { failure == nil }

  package init() {}

  package init(_ name: String, got: some Collection<Double>, expectation: Expectation) {
    precondition(got.count == expectation.values.count, "\(name): counts differ")
    for (index, value) in got.enumerated() {
      let wanted = expectation.values[index]
      let bound = expectation.bounds[index]
      // NaN and infinity are right only where they are wanted.
      let same = value == wanted || (value.isNaN && wanted.isNaN)
      let error = same ? 0 : abs(value - wanted)
      let ratio = same ? 0 : bound > 0 && error.isFinite ? error / bound : .infinity
      if ratio > worstRatio || index == 0 {
        (worstRatio, self.error, self.bound) = (ratio, error, bound)
      }
      if !(ratio <= 1), failure == nil {
        failure = "\(name)[\(index)] is \(value), wanted \(wanted) within \(bound)"
      }
    }
  }

  package mutating func merge(_ other: Comparison) {
    if other.worstRatio >= worstRatio {
      (worstRatio, error, bound) = (other.worstRatio, other.error, other.bound)
    }
    failure = failure ?? other.failure
  }
}
