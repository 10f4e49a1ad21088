/// The counter-based generator Philox2x32-10 (Salmon, Moraes, Dror & Shaw 2011, "Parallel Random
/// Numbers: As Easy as 1, 2, 3"): a function of a counter and a key that keeps no state, so that
/// kernels draw the same numbers in any order, and again when they are needed again.
package enum Philox2x32 {
  /// The two words of `counter` under `key`.
  package static func block(_ counter: (UInt32, UInt32), key: UInt32) -> (UInt32, UInt32) {
    var (left, right) = counter
    var round = key
    for _ in 0..<10 {
      let product = left.multipliedFullWidth(by: 0xD256_D193)
      (left, right) = (product.high ^ round ^ right, product.low)
      round &+= 0x9E37_79B9
    }
    return (left, right)
  }
}
