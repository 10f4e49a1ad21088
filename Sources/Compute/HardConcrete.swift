import RandomNumbers

/// The constants of hard concrete gates, as Louizos et al. (2017) chose them; `Kernels/gates.cl`
/// has them too.
package enum HardConcrete {
  /// Where the sigmoid's range (0, 1) is stretched to before it is clipped to [0, 1].
  package static let gamma: Float = -0.1
  package static let zeta: Float = 1.1
  /// The temperature.
  package static let tau: Float = 2 / 3
  /// ln(-gamma / zeta): a gate in test is above 0 where lnAlpha is above this.
  package static let closedLogAlpha: Float = -2.3978952727983707
}

/// Where the uniform numbers of a step's gates come from: a function of (key, row, column) alone,
/// so that forward and backward see the same numbers and nothing is stored.
///
/// u = (h >> 9 + 1/2) 2^-23 clipped to [2^-20, 1 - 2^-20], h the first word of Philox2x32-10 with
/// the counter (row, column) and the key `key`. u and 1 - u are exact in single precision.
package struct GateNoise: Hashable, Sendable {
  package let key: UInt32

  package init(key: UInt32) { self.key = key }

  package func uniform(row: Int, column: Int) -> Float {
    let word = Philox2x32.block(
      (UInt32(truncatingIfNeeded: row), UInt32(truncatingIfNeeded: column)), key: key
    ).0
    return min(1 - 0x1p-20, max(0x1p-20, (Float(word >> 9) + 0.5) * 0x1p-23))
  }
}
