/// SplitMix64 (Steele, Lea & Flood 2014): the source of every random number in Sparrow.
///
/// The algorithms drawn from it are specified here rather than taken from the standard library, so
/// that a seed means the same numbers on every platform and with every compiler.
package struct SplitMix64: RandomNumberGenerator, Codable, Hashable, Sendable {
  package var state: UInt64

  package init(seed: UInt64) { state = seed }

  /// An independent stream of the same seed: `stream` is mixed in, so that neighbouring numbers
  /// give unrelated sequences.
  package init(seed: UInt64, stream: UInt64) {
    var mixer = SplitMix64(seed: stream)
    state = seed ^ mixer.next()
  }

  package mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var z = state
    z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
    return z ^ (z >> 31)
  }

  /// Uniform on [0, 1), a multiple of 2^-24.
  package mutating func nextUniform() -> Float { Float(next() >> 40) * 0x1p-24 }

  /// Uniform on 0..<bound, without bias (Lemire 2019, by rejection).
  package mutating func nextIndex(below bound: Int) -> Int {
    precondition(bound > 0, "no index below \(bound)")
    let range = UInt64(bound)
    var product = next().multipliedFullWidth(by: range)
    if product.low < range {
      let threshold = (0 &- range) % range
      while product.low < threshold { product = next().multipliedFullWidth(by: range) }
    }
    return Int(product.high)
  }

  /// The numbers 0..<count in random order (Fisher & Yates).
  package mutating func shuffledIndices(count: Int) -> [UInt32] {
    var order = (0..<UInt32(count)).map { $0 }
    for i in stride(from: count - 1, to: 0, by: -1) {
      order.swapAt(i, nextIndex(below: i + 1))
    }
    return order
  }
}
