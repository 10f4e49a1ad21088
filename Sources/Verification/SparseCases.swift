import Compute

extension OperationCases {
  static func sparse(_ extent: Extent) -> [any OperationCase] {
    // Rows of the batch, latents, how many are kept, and the width of the rows of weights.
    var shapes: [(Int, Int, Int, Int)] = [
      (1, 1, 1, 1), (2, 7, 1, 3), (3, 7, 7, 5), (5, 16, 4, 8), (7, 33, 9, 17),
    ]
    if extent == .full {
      shapes += [
        (17, 31, 8, 31), (13, 65, 16, 64), (31, 127, 7, 65), (9, 300, 33, 129), (40, 20, 5, 785),
        (6, 10, 3, 4099), (64, 1024, 32, 784), (256, 8, 4, 100), (32, 5000, 8, 40),
      ]
    }
    return shapes.flatMap { batch, latents, kept, width -> [any OperationCase] in
      let size = SparseSize(batch: batch, latents: latents, kept: kept, width: width)
      return SparseTopKCase.Inputs.allCases.map { SparseTopKCase(size: size, inputs: $0) }
        + [SparseScatterCase(size: size), SparseGroupCase(size: size)]
        + [Tier.exact, .bound].flatMap { tier -> [any OperationCase] in
          [
            SparseDecodeCase(size: size, tier: tier), SparsePassCase(size: size, tier: tier),
            SparseGradientsCase(size: size, tier: tier),
          ]
        }
        + [true, false].map { SparseUpdateCase(size: size, unitNorm: $0) }
    }
  }
}

struct SparseSize: Sendable, CustomStringConvertible {
  let batch, latents, kept, width: Int

  var description: String { "\(batch) rows, \(kept) of \(latents) latents, width \(width)" }

  var code: Shape { [batch, kept] }
  var rows: Shape { [batch, width] }
  var weights: Shape { [latents, width] }
}

extension Inputs {
  /// A sparse code in which some latents are kept by no row and some kept values are zero.
  mutating func sparseCode(_ size: SparseSize, _ tier: Tier) -> (indices: [UInt32], values: [Float])
  {
    let all = (0..<size.latents).map(UInt32.init)
    let some = all.filter { $0 % 3 != 1 }
    let candidates = some.count >= size.kept ? some : all
    var indices: [UInt32] = []
    for _ in 0..<size.batch {
      var left = candidates
      let chosen = (0..<size.kept).map { _ in
        left.remove(at: Int(order(1, below: left.count)[0]))
      }
      indices += chosen.sorted()
    }
    let values =
      tier == .exact
      ? integers(indices.count, limit: 1).map { $0 + 1 }
      : reals(indices.count).map { max($0 + 0.75, 0) }
    return (indices, values)
  }

  mutating func sparseBatch(_ size: SparseSize, _ tier: Tier) -> HostSparseBatch {
    let (indices, values) = sparseCode(size, tier)
    let (offsets, sorted) = Oracle.sparseGroup(indices, values, latents: size.latents)
    let slopes = self.values(values.count, tier)
    // What lies behind the last offset is anything.
    let rest = [UInt32](repeating: .max, count: values.count - sorted.count)
    return HostSparseBatch(
      offsets: offsets, entries: sorted + rest, values: values,
      codeGradient: zip(slopes, values).map { $1 > 0 ? $0 : 0 },
      input: self.values(size.rows.count, tier), gradient: self.values(size.rows.count, tier),
      kept: size.kept, width: size.width)
  }
}

extension TestBench {
  /// The batch's tensors, none of which an operation may change.
  func input(_ host: HostSparseBatch, _ size: SparseSize) throws -> SparseBatch<B.Storage> {
    SparseBatch(
      offsets: try input(host.offsets, [size.latents + 1], name: "offsets"),
      entries: try input(host.entries, [host.entries.count], name: "entries"),
      values: try input(host.values, size.code, name: "values"),
      codeGradient: try input(host.codeGradient, size.code, name: "codeGradient"),
      input: try input(host.input, size.rows, name: "x"),
      gradient: try input(host.gradient, size.rows, name: "gradient"))
  }

  func updated(
    _ host: AdamTriple<[Float]>, _ shape: Shape, name: String
  ) throws -> AdamParameter<B.Storage> {
    AdamParameter(
      value: try updated(host.value, shape, name: name),
      firstMoment: try updated(host.first, shape, name: "\(name)'s first moment"),
      secondMoment: try updated(host.second, shape, name: "\(name)'s second moment"))
  }

  func expect(
    _ name: String, _ parameter: AdamParameter<B.Storage>, _ wanted: AdamTriple<Expectation>
  ) throws {
    try expect(name, parameter.value, wanted.value)
    try expect("\(name)'s first moment", parameter.firstMoment, wanted.first)
    try expect("\(name)'s second moment", parameter.secondMoment, wanted.second)
  }
}

struct SparseTopKCase: OperationCase {
  enum Inputs: String, Sendable, CaseIterable {
    case random
    /// Few different values, so that the lowest index decides.
    case equals
    case negative
    /// Infinities, zeros of both signs and NaN among others.
    case special
  }

  let size: SparseSize
  let inputs: Inputs

  var operation: String { "sparseTopK" }
  var label: String { "\(size.batch)x\(size.latents), k = \(size.kept), \(inputs.rawValue)" }
  let tier = Tier.exact

  func run<B: Backend>(on bench: TestBench<B>) throws {
    var generator = Verification.Inputs("top k \(label)")
    let count = size.batch * size.latents
    let values: [Float] =
      switch inputs {
      case .random: generator.reals(count)
      case .equals: generator.integers(count, limit: 2)
      case .negative: generator.reals(count).map { -abs($0) - 0x1p-20 }
      case .special:
        generator.order(count, below: 8).map {
          [.nan, .infinity, -.infinity, 0, -0.0, 1, -1, .nan][Int($0)]
        }
      }
    let a = try bench.input(values, [size.batch, size.latents], name: "a", comparing: false)
    let none = [UInt32](repeating: .max, count: size.code.count)
    let indices = try bench.updated(none, size.code, name: "indices")
    let kept = try bench.output(size.code, name: "values")
    try bench.backend.sparseTopK(a, indices: indices, values: kept)
    let expected = Oracle.sparseTopK(values, batch: size.batch, kept: size.kept)
    try bench.expect("indices", indices, expected.indices)
    try bench.expect("values", kept, expected.values)
  }
}

struct SparseScatterCase: OperationCase {
  let size: SparseSize

  var operation: String { "sparseScatter" }
  var label: String { "\(size)" }
  let tier = Tier.exact

  func run<B: Backend>(on bench: TestBench<B>) throws {
    var inputs = Inputs("scatter \(label)")
    let (indices, values) = inputs.sparseCode(size, .bound)
    let z = try bench.output([size.batch, size.latents], name: "z")
    try bench.backend.sparseScatter(
      indices: bench.input(indices, size.code, name: "indices"),
      values: bench.input(values, size.code, name: "values"), into: z)
    try bench.expect(
      "z", z, Oracle.sparseScatter(indices, values, batch: size.batch, latents: size.latents))
  }
}

struct SparseDecodeCase: OperationCase {
  let size: SparseSize
  let tier: Tier

  var operation: String { "sparseDecode" }
  var label: String { "\(size)" }

  func run<B: Backend>(on bench: TestBench<B>) throws {
    var inputs = Inputs("decode \(label) \(tier)")
    let (indices, values) = inputs.sparseCode(size, tier)
    let weight = inputs.values(size.weights.count, tier)
    let bias = inputs.values(size.width, tier)
    let y = try bench.output(size.rows, name: "y")
    try bench.backend.sparseDecode(
      indices: bench.input(indices, size.code, name: "indices"),
      values: bench.input(values, size.code, name: "values"),
      weight: bench.input(weight, size.weights, name: "w"),
      bias: bench.input(bias, [size.width], name: "bias"), into: y)
    let expected = Oracle.sparseDecode(
      indices, values, weight: weight, bias: bias, batch: size.batch)
    try bench.expect("y", y, tier == .exact ? expected.exact() : expected)
  }
}

struct SparsePassCase: OperationCase {
  let size: SparseSize
  let tier: Tier

  var operation: String { "sparsePass" }
  var label: String { "\(size)" }

  func run<B: Backend>(on bench: TestBench<B>) throws {
    var inputs = Inputs("sparse pass \(label) \(tier)")
    let (indices, values) = inputs.sparseCode(size, tier)
    // Small, so that the exact tier's sums of squares stay below 2^24.
    let weight = inputs.small(size.weights.count, tier)
    let (bias, x) = (inputs.small(size.width, tier), inputs.small(size.rows.count, tier))
    let scale: Float = tier == .exact ? 0.25 : 2 / Float(size.rows.count)
    let gradient = try bench.output(size.rows, name: "gradient")
    let codeGradient = try bench.output(size.code, name: "codeGradient")
    let rowError = try bench.output([size.batch], name: "rowError")
    let rowL0 = try bench.output([size.batch], name: "rowL0")
    try bench.backend.sparsePass(
      indices: bench.input(indices, size.code, name: "indices"),
      values: bench.input(values, size.code, name: "values"),
      weight: bench.input(weight, size.weights, name: "w"),
      bias: bench.input(bias, [size.width], name: "bias"),
      target: bench.input(x, size.rows, name: "x"), scale: scale, gradient: gradient,
      codeGradient: codeGradient, rowError: rowError, rowL0: rowL0)
    let expected = Oracle.sparsePass(
      indices, values, weight: weight, bias: bias, target: x, scale: scale, batch: size.batch)
    for (name, tensor, wanted) in [
      ("gradient", gradient, expected[0]), ("codeGradient", codeGradient, expected[1]),
      ("rowError", rowError, expected[2]), ("rowL0", rowL0, expected[3]),
    ] {
      try bench.expect(name, tensor, tier == .exact ? wanted.exact() : wanted)
    }
  }
}

struct SparseGroupCase: OperationCase {
  let size: SparseSize

  var operation: String { "sparseGroup" }
  var label: String { "\(size)" }
  let tier = Tier.exact

  func run<B: Backend>(on bench: TestBench<B>) throws {
    var inputs = Inputs("group \(label)")
    let (indices, values) = inputs.sparseCode(size, .bound)
    let before = inputs.order(size.latents, below: 1000)
    let none = [UInt32](repeating: .max, count: indices.count)
    let offsets = try bench.updated(
      [UInt32](repeating: .max, count: size.latents + 1), [size.latents + 1], name: "offsets")
    let entries = try bench.updated(none, [indices.count], name: "entries")
    let firings = try bench.updated(before, [size.latents], name: "firings")
    try bench.backend.sparseGroup(
      indices: bench.input(indices, size.code, name: "indices"),
      values: bench.input(values, size.code, name: "values"), offsets: offsets, entries: entries,
      accumulatingFirings: firings)
    let expected = Oracle.sparseGroup(indices, values, latents: size.latents)
    let ends = expected.offsets.map(Double.init)
    try bench.expect("offsets", offsets, Expectation(exactly: ends))
    try bench.expect(
      "entries", entries.view(at: 0, shape: [expected.entries.count]),
      Expectation(exactly: expected.entries.map(Double.init)))
    try bench.expect(
      "firings", firings,
      Expectation(exactly: before.indices.map { Double(before[$0]) + ends[$0 + 1] - ends[$0] }))
  }
}

struct SparseGradientsCase: OperationCase {
  let size: SparseSize
  let tier: Tier

  var operation: String { "sparseGradients" }
  var label: String { "\(size)" }

  func run<B: Backend>(on bench: TestBench<B>) throws {
    var inputs = Inputs("sparse gradients \(label) \(tier)")
    let host = inputs.sparseBatch(size, tier)
    let before = (
      decoder: inputs.reals(size.weights.count), encoder: inputs.reals(size.weights.count),
      bias: inputs.reals(size.latents)
    )
    let dD = try bench.updated(before.decoder, size.weights, name: "dD")
    let dE = try bench.updated(before.encoder, size.weights, name: "dE")
    let db = try bench.updated(before.bias, [size.latents], name: "db")
    try bench.backend.sparseGradients(
      bench.input(host, size), decoder: dD, encoder: dE, bias: db)
    let expected = Oracle.sparseGradients(host, before: before)
    for (name, tensor, wanted) in [
      ("dD", dD, expected[0]), ("dE", dE, expected[1]), ("db", db, expected[2]),
    ] {
      try bench.expect(name, tensor, tier == .exact ? wanted.exact() : wanted)
    }
  }
}

struct SparseUpdateCase: OperationCase {
  let size: SparseSize
  let unitNorm: Bool

  var operation: String { "sparseUpdate" }
  var label: String { "\(size)\(unitNorm ? ", unit norm" : "")" }
  let tier = Tier.bound

  func run<B: Backend>(on bench: TestBench<B>) throws {
    var inputs = Inputs("sparse update \(label)")
    let host = inputs.sparseBatch(size, .bound)
    func triple(_ count: Int, scale: Float) -> AdamTriple<[Float]> {
      AdamTriple(
        value: inputs.reals(count).map { $0 * scale }, first: inputs.reals(count),
        second: inputs.fractions(count).map { $0 * 0.01 })
    }
    // Rows of about unit norm.
    let decoder = triple(size.weights.count, scale: (3 / Float(size.width)).squareRoot())
    let encoder = triple(size.weights.count, scale: 1)
    let bias = triple(size.latents, scale: 1)
    let state = SparseAdam(
      decoder: try bench.updated(decoder, size.weights, name: "D"),
      encoder: try bench.updated(encoder, size.weights, name: "E"),
      bias: try bench.updated(bias, [size.latents], name: "b"),
      step: AdamStep(step: 3, learningRate: 1e-2),
      encoderStep: AdamStep(step: 3, learningRate: 2e-3), unitNorm: unitNorm)
    try bench.backend.sparseUpdate(bench.input(host, size), state)
    let expected = Oracle.sparseUpdate(
      host, decoder: decoder, encoder: encoder, bias: bias, step: state.step,
      encoderStep: state.encoderStep, unitNorm: unitNorm)
    try bench.expect("D", state.decoder, expected.decoder)
    try bench.expect("E", state.encoder, expected.encoder)
    try bench.expect("b", state.bias, expected.bias)
  }
}
