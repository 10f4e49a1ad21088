import RandomNumbers

/// A smooth random function of the plane: a nearly normal value of deviation 1 at every node of a
/// square lattice, Catmull-Rom between them. Nodes are computed from their place, so that any part
/// of the plane can be drawn by itself.
struct LatticeNoise {
  /// Pixels from one node to the next.
  let spacing: Float
  let key: UInt32

  /// The values of `count` pixels of row `y` from column `x` on.
  func row(_ y: Int, from x: Int, into target: UnsafeMutableBufferPointer<Float>) {
    let down = Float(y) / spacing
    let top = Int(down.rounded(.down))
    let vertical = catmullRom(down - Float(top))
    let first = Int((Float(x) / spacing).rounded(.down))
    let last = Int((Float(x + target.count - 1) / spacing).rounded(.down))
    let nodes = last - first + 4
    withUnsafeTemporaryAllocation(of: Float.self, capacity: nodes) { line in
      for i in 0..<nodes {
        var value: Float = 0
        for j in 0..<4 {
          value += vertical[j] * hashedNormal(first - 1 + i, top - 1 + j, key: key)
        }
        line[i] = value
      }
      for i in target.indices {
        let across = Float(x + i) / spacing
        let node = across.rounded(.down)
        let weights = catmullRom(across - node)
        let left = Int(node) - first
        target[i] =
          weights[0] * line[left] + weights[1] * line[left + 1] + weights[2] * line[left + 2]
          + weights[3] * line[left + 3]
      }
    }
  }
}

/// The weights of the nodes at -1, 0, 1 and 2 for the place t in [0, 1): cubics through the values
/// at 0 and 1 with the slopes of their neighbours.
func catmullRom(_ t: Float) -> SIMD4<Float> {
  let (t2, t3) = (t * t, t * t * t)
  return SIMD4(-t + 2 * t2 - t3, 2 - 5 * t2 + 3 * t3, t + 4 * t2 - 3 * t3, t3 - t2) / 2
}

/// Two words for a place of the plane.
func hashed(_ x: Int, _ y: Int, key: UInt32) -> (UInt32, UInt32) {
  Philox2x32.block((UInt32(truncatingIfNeeded: x), UInt32(truncatingIfNeeded: y)), key: key)
}

/// A number in [0, 1) from a word.
func uniform(_ word: UInt32) -> Float { Float(word >> 8) * 0x1p-24 }

/// A number of mean 0 and deviation 1 for a place of the plane: a sum of four uniform ones.
func hashedNormal(_ x: Int, _ y: Int, key: UInt32) -> Float {
  let words = hashed(x, y, key: key)
  let sum =
    Int32(words.0 & 0xFFFF) + Int32(words.0 >> 16) + Int32(words.1 & 0xFFFF)
    + Int32(words.1 >> 16)
  return Float(sum - 131_070) * Float((3.0 / (0x1p32 - 1)).squareRoot())
}
