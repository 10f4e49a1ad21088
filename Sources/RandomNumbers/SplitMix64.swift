/// The SplitMix64 generator (Steele, Lea & Flood 2014, "Fast Splittable Pseudorandom Number
/// Generators"): `state += gamma`, then a mixing function of the state.
///
/// Every number drawn here is specified by this file, down to the bit and on every platform:
/// nothing depends on the standard library's choices or on the system's `log` and `cos`. The state
/// is one integer, so that a checkpoint can hold it.
package struct SplitMix64: RandomNumberGenerator, Sendable, Codable, Equatable {
  package var state: UInt64

  private static let gamma: UInt64 = 0x9E37_79B9_7F4A_7C15

  package init(seed: UInt64) {
    state = seed
  }

  /// An independent stream for each `index`: for the samples of a data set, the epochs of a
  /// training, or different uses of one seed. Streams start at scattered places of the one cycle
  /// of 2^64 states.
  package init(seed: UInt64, stream index: UInt64) {
    let mixedSeed = Self.mix(seed &+ Self.gamma)
    state = Self.mix(mixedSeed ^ Self.mix(index &* 0xD134_2543_DE82_EF95 &+ 1))
  }

  private static func mix(_ value: UInt64) -> UInt64 {
    var z = value
    z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
    return z ^ (z >> 31)
  }

  package mutating func next() -> UInt64 {
    state &+= Self.gamma
    return Self.mix(state)
  }

  /// Goes where `count` calls of `next()` would, at once.
  package mutating func skip(_ count: UInt64) {
    state &+= Self.gamma &* count
  }

  /// A multiple of 2^-24 in [0, 1), from the upper 24 bits of one draw.
  package mutating func nextUniform() -> Float {
    Float(next() >> 40) * 0x1p-24
  }

  /// Uniform in [`low`, `high`], as `low + (high - low) * nextUniform()`.
  package mutating func nextUniform(_ low: Float, _ high: Float) -> Float {
    low + (high - low) * nextUniform()
  }

  /// Uniform in 0 ..< `bound`, without bias (Lemire 2019, arXiv 1805.10941): the upper half of a
  /// 128-bit product, redrawn in the rare case that would favour some values.
  package mutating func nextIndex(below bound: UInt64) -> UInt64 {
    precondition(bound > 0, "no index is below 0")
    var product = next().multipliedFullWidth(by: bound)
    if product.low < bound {
      let threshold = (0 &- bound) % bound
      while product.low < threshold {
        product = next().multipliedFullWidth(by: bound)
      }
    }
    return product.high
  }

  /// A standard normal number, by Marsaglia's polar method in Double: for (u, v) uniform in the
  /// unit disc with s = u^2 + v^2 it is u * sqrt(-2 ln(s) / s). The second number that the method
  /// offers is not kept, so that the state stays one integer.
  package mutating func nextNormal() -> Double {
    while true {
      let u = Double(next() >> 11) * 0x1p-52 - 1
      let v = Double(next() >> 11) * 0x1p-52 - 1
      let s = u * u + v * v
      if s > 0 && s < 1 {
        return u * (-2 * portableLogarithm(s) / s).squareRoot()
      }
    }
  }

  /// 0 ..< `count` in random order: Fisher and Yates' shuffle from the last place to the second,
  /// each exchanged with `nextIndex(below: place + 1)`.
  package mutating func shuffledIndices(count: Int) -> [UInt32] {
    precondition(count >= 0 && count <= Int(UInt32.max), "indices are 32-bit")
    var indices = [UInt32](0..<UInt32(count))
    indices.withUnsafeMutableBufferPointer { buffer in
      for place in stride(from: count - 1, to: 0, by: -1) {
        buffer.swapAt(place, Int(nextIndex(below: UInt64(place) + 1)))
      }
    }
    return indices
  }
}

/// The natural logarithm of a positive, normal number, by +, -, *, / alone, to about 1e-15
/// relative: the system's `log` may differ in the last bit from one platform to the next.
///
/// x = m * 2^e with m in [sqrt(1/2), sqrt(2)); ln m = 2 (t + t^3/3 + t^5/5 + ...), t = (m-1)/(m+1).
package func portableLogarithm(_ x: Double) -> Double {
  precondition(x.isNormal && x > 0, "the logarithm of a positive number")
  var mantissa = x.significand
  var exponent = Double(x.exponent)
  if mantissa >= 1.4142135623730951 {
    mantissa /= 2
    exponent += 1
  }
  let t = (mantissa - 1) / (mantissa + 1)
  let square = t * t
  var sum = 0.0
  for k in stride(from: 21, through: 1, by: -2) {
    sum = sum * square + 1 / Double(k)
  }
  return exponent * 0.6931471805599453 + 2 * t * sum
}
