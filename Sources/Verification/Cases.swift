import Compute
import RandomNumbers

/// The case list.
///
/// To add an operation: specify it in `Backend`, write it in the reference and for the device, give
/// the oracle its expectation and add its cases here; the tests and `sparrow check` then walk them.
package enum OperationCases {
  package enum Extent: Sendable {
    /// Small shapes only, for slow simulators.
    case quick
    /// All awkward shapes and those of training.
    case full
  }

  package static func all(_ extent: Extent) -> [any OperationCase] {
    matmul(extent) + dense(extent) + columnSums(extent) + loss(extent) + adam(extent)
      + gather(extent)
      + counting(extent) + fill(extent) + optimizer(extent) + balance(extent) + sparse(extent)
      + codes(extent) + convolution(extent) + features(extent) + segmentation(extent)
  }

  // MARK: Families

  private static func matmul(_ extent: Extent) -> [any OperationCase] {
    let transpositions = [(false, false), (false, true), (true, false), (true, true)]
    var sizes: [(Int, Int, Int)] = [
      (1, 1, 1), (1, 7, 3), (7, 1, 5), (2, 3, 1), (7, 7, 7), (5, 17, 33), (16, 16, 16), (31, 8, 9),
      // Rows of A, of B, and of both of whole fours.
      (20, 13, 12), (13, 20, 11), (36, 20, 44),
    ]
    if extent == .full {
      sizes += [
        (15, 31, 17), (17, 33, 15), (47, 53, 59), (64, 64, 64), (63, 65, 127), (65, 127, 64),
        (97, 16, 101), (128, 129, 257), (1, 784, 64), (100, 10, 300), (13, 1031, 7), (6, 24, 1025),
        (130, 24, 260),
      ]
    }
    var cases: [any OperationCase] = []
    for (m, n, k) in sizes {
      for (ta, tb) in transpositions {
        let shape = MatmulShape(m: m, n: n, k: k, transposeA: ta, transposeB: tb)
        cases.append(MatmulCase(shape: shape, epilogue: .columnSums, tier: .exact))
        cases.append(MatmulCase(shape: shape, epilogue: .none, tier: .bound))
      }
    }
    // Every epilogue with every activation, at a shape with tails in all directions.
    for (m, n, k) in extent == .full ? [(37, 29, 41), (8, 16, 64)] : [(9, 11, 13)] {
      let shape = MatmulShape(m: m, n: n, k: k)
      let back = MatmulShape(m: m, n: n, k: k, transposeB: true)
      for activation in Activation.allCases {
        for tier in activation == .relu || activation == .identity
          ? [Tier.exact, .bound] : [.bound]
        {
          cases.append(MatmulCase(shape: shape, epilogue: .bias(activation), tier: tier))
          cases.append(MatmulCase(shape: back, epilogue: .derivative(activation), tier: tier))
        }
      }
      // A dictionary's encoder.
      cases += [Tier.exact, .bound].map {
        MatmulCase(shape: back, epilogue: .bias(.relu), tier: $0)
      }
      let weights = MatmulShape(m: m, n: n, k: k, transposeA: true)
      cases.append(MatmulCase(shape: weights, epilogue: .columnSums, tier: .bound))
    }
    cases.append(SaturationCase())
    if extent == .full {
      for (m, n, k, ta, tb, epilogue) in [
        (256, 64, 784, false, false, MatmulCase.Epilogue.bias(.relu)),
        (256, 784, 64, false, false, .bias(.sigmoid)),
        (256, 64, 784, false, true, .derivative(.relu)),
        (784, 64, 256, true, false, .columnSums), (64, 784, 256, true, false, .columnSums),
        (256, 256, 512, false, false, .none), (300, 520, 600, true, true, .none),
      ] {
        let shape = MatmulShape(m: m, n: n, k: k, transposeA: ta, transposeB: tb)
        cases.append(MatmulCase(shape: shape, epilogue: epilogue, tier: .bound))
      }
    }
    return cases
      + cases.filter { ($0 as? MatmulCase)?.shape.hasWholeFours ?? false }.map(\.aligned)
  }

  private static func dense(_ extent: Extent) -> [any OperationCase] {
    var shapes: [(batch: Int, widths: [Int])] = [
      (1, [1, 1]), (7, [5, 3, 9]), (5, [17, 16, 15, 33, 2, 7]),
    ]
    if extent == .full {
      shapes += [
        (13, [40, 300, 20]), (256, [784, 64, 64, 64, 784]), (96, [784, 64, 64, 64, 784]),
        (67, [30, 31, 32, 33, 34, 35, 36]),
        // Too large to be worth one launch.
        (20, [700, 400, 300]),
      ]
    }
    return shapes.flatMap { batch, widths -> [any OperationCase] in
      let count = widths.count - 1
      let mixed = (0..<count).map { Activation.allCases[($0 + batch) % 4] }
      let relu = [Activation](repeating: .relu, count: count)
      let identity = [Activation](repeating: .identity, count: count)
      let pairs = Array(zip(widths, widths.dropFirst()))
      // Beyond a few wide layers whole numbers leave the range in which they are exact.
      let exact = widths.reduce(1.0) { $0 * Double($1) } / Double(widths[count]) < 0x1p24
      return [
        DenseForwardCase(batch: batch, widths: widths, activations: mixed, tier: .bound),
        DenseBackwardCase(batch: batch, widths: widths, activations: mixed, tier: .bound),
        DensePassCase(batch: batch, widths: widths, activations: mixed),
        DenseGradientsCase(batch: batch, layers: pairs, tier: .bound),
        DenseGradientsCase(batch: batch, layers: pairs, tier: .exact),
      ]
        + (exact
          ? [
            DenseForwardCase(batch: batch, widths: widths, activations: relu, tier: .exact),
            DenseBackwardCase(batch: batch, widths: widths, activations: identity, tier: .exact),
          ] : [])
    }
  }

  private static func columnSums(_ extent: Extent) -> [any OperationCase] {
    let sizes =
      [(1, 1), (3, 7), (16, 16), (17, 33)] + (extent == .full ? [(256, 784), (1000, 5)] : [])
    return sizes.flatMap { rows, width in
      [Tier.exact, .bound].map { ColumnSumsCase(rows: rows, width: width, tier: $0) }
    }
  }

  private static func loss(_ extent: Extent) -> [any OperationCase] {
    var sizes = [(1, 1, 1), (3, 7, 5), (8, 16, 8), (5, 33, 17)]
    if extent == .full { sizes += [(256, 784, 64), (7, 785, 63), (96, 784, 1024), (2, 5000, 3)] }
    return sizes.flatMap { batch, width, latents -> [any OperationCase] in
      [LossCase(batch: batch, width: width, latents: latents, activation: .identity, tier: .exact)]
        + Activation.allCases.map {
          LossCase(batch: batch, width: width, latents: latents, activation: $0, tier: .bound)
        }
    }
  }

  private static func adam(_ extent: Extent) -> [any OperationCase] {
    ([1, 7, 16, 33, 100] + (extent == .full ? [1023, 4096, 117_648] : [])).flatMap { count in
      [1, 1000].map { AdamCase(count: count, step: $0) }
    }
  }

  private static func gather(_ extent: Extent) -> [any OperationCase] {
    let sizes =
      [(1, 1, 1), (5, 3, 7), (20, 9, 16), (10, 10, 33)]
      + (extent == .full ? [(300, 256, 784), (50, 3, 785), (9, 40, 3072)] : [])
    return sizes.flatMap { count, batch, width in
      [(Tier.exact, false), (.bound, false), (.exact, true), (.bound, true)].map {
        GatherCase(images: count, batch: batch, width: width, centred: $0.1, tier: $0.0)
      }
    }
  }

  private static func balance(_ extent: Extent) -> [any OperationCase] {
    ([1, 7, 65] + (extent == .full ? [64, 1024, 16411] : [])).map { BalanceCase(latents: $0) }
  }

  private static func counting(_ extent: Extent) -> [any OperationCase] {
    ([(1, 1), (7, 5), (33, 17)] + (extent == .full ? [(256, 64), (96, 1024)] : [])).map {
      CountCase(batch: $0, latents: $1)
    }
  }

  private static func fill(_ extent: Extent) -> [any OperationCase] {
    [1, 15, 16, 17, 1000].map { FillCase(count: $0) }
  }
}

extension MatmulShape {
  /// Whether a row as stored, of A or B, is a multiple of four elements.
  fileprivate var hasWholeFours: Bool {
    (transposeA ? m : k) % 4 == 0 || (transposeB ? k : n) % 4 == 0
  }
}

/// Reproducible inputs of a case.
struct Inputs {
  private var generator: SplitMix64

  init(_ label: String) {
    // FNV-1a over the label: every case has inputs of its own, the same on every run.
    generator = SplitMix64(
      seed: label.utf8.reduce(0xcbf2_9ce4_8422_2325) { ($0 ^ UInt64($1)) &* 0x100_0000_01b3 })
  }

  /// Whole numbers in -limit...limit.
  mutating func integers(_ count: Int, limit: Int = 8) -> [Float] {
    (0..<count).map { _ in Float(Int(generator.nextIndex(below: UInt64(2 * limit + 1))) - limit) }
  }

  /// Uniform on [-1, 1).
  mutating func reals(_ count: Int) -> [Float] {
    (0..<count).map { _ in 2 * generator.nextUniform() - 1 }
  }

  /// Uniform on [0, 1).
  mutating func fractions(_ count: Int) -> [Float] {
    (0..<count).map { _ in generator.nextUniform() }
  }

  mutating func values(_ count: Int, _ tier: Tier) -> [Float] {
    tier == .exact ? integers(count) : reals(count)
  }

  /// A code: about a third of the entries not zero, some of them negative zero or subnormal.
  mutating func code(_ count: Int) -> [Float] {
    (0..<count).map { _ in
      switch generator.nextIndex(below: 12) {
      case 0..<4: generator.nextUniform() + 0x1p-20
      case 4: -0.0
      case 5: -1
      default: 0
      }
    }
  }

  mutating func bytes(_ count: Int) -> [UInt8] {
    (0..<count).map { _ in UInt8(truncatingIfNeeded: generator.next()) }
  }

  mutating func order(_ count: Int, below bound: Int) -> [UInt32] {
    (0..<count).map { _ in UInt32(generator.nextIndex(below: UInt64(bound))) }
  }
}
