import RandomNumbers

/// A sample of a stream of values in which each has the same chance to be: all of them while they
/// are few, then Vitter's (1985) Algorithm R. The same stream gives the same sample.
struct Reservoir: Sendable {
  private(set) var values: [Float] = []
  private let size: Int
  private var seen: UInt64 = 0
  private var random: SplitMix64

  init(size: Int, stream: Int) {
    self.size = size
    random = SplitMix64(seed: 0x5E5E_7014, stream: UInt64(stream))
  }

  mutating func add(_ value: Float) {
    seen += 1
    if values.count < size {
      values.append(value)
      return
    }
    let place = random.nextIndex(below: seen)
    if place < UInt64(size) { values[Int(place)] = value }
  }
}
