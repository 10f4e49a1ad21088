import Compute

extension OperationCases {
  static func codes(_ extent: Extent) -> [any OperationCase] {
    var selections = [(1, 1, 1), (3, 7, 3), (2, 9, 9), (5, 33, 1), (4, 65, 17)]
    var sizes = [(1, 1), (3, 7), (9, 16), (7, 33)]
    if extent == .full {
      selections += [
        (1, 1023, 100), (9, 64, 63), (256, 64, 8), (13, 1024, 32), (2, 16384, 32), (67, 31, 30),
      ]
      sizes += [(8, 8), (17, 65), (256, 64), (31, 1021), (2, 16385), (1000, 5)]
    }
    let kept = selections.flatMap { batch, latents, k in
      TopKCase.Inputs.allCases.flatMap { inputs -> [any OperationCase] in
        [false, true].map {
          TopKCase(batch: batch, latents: latents, k: k, wholeBatch: $0, inputs: inputs)
        }
      }
    }
    let others = sizes.flatMap { batch, latents in
      [Tier.exact, .bound].flatMap { tier -> [any OperationCase] in
        [
          JumpReLUCase(batch: batch, latents: latents, tier: tier),
          JumpReLUBackwardCase(batch: batch, latents: latents, inPlace: false, tier: tier),
          JumpReLUBackwardCase(batch: batch, latents: latents, inPlace: true, tier: tier),
          HardConcreteCase(batch: batch, latents: latents, noise: nil, tier: tier),
          HardConcreteCase(
            batch: batch, latents: latents, noise: GateNoise(key: 0xDECA_FBAD), tier: tier),
          HardConcreteBackwardCase(batch: batch, latents: latents, inPlace: false, tier: tier),
          HardConcreteBackwardCase(batch: batch, latents: latents, inPlace: true, tier: tier),
          L1GradientCase(batch: batch, latents: latents, tier: tier),
        ]
      }
    }
    let controls = ([1, 7, 65] + (extent == .full ? [256, 1001] : [])).flatMap { batch in
      ControlCase.Course.allCases.map { ControlCase(batch: batch, course: $0) }
    }
    return kept + others + controls
  }
}

struct TopKCase: OperationCase {
  enum Inputs: String, CaseIterable, Sendable {
    case reals
    /// Small whole numbers: many equals, some of them -0.
    case equals
    /// NaN, infinities, zeros of both signs.
    case special
    /// Fewer than k above 0, or none.
    case negative
  }

  let batch: Int
  let latents: Int
  let k: Int
  let wholeBatch: Bool
  let inputs: Inputs

  var operation: String { wholeBatch ? "batchTopK" : "topK" }
  var label: String { "\(k) of \(batch)x\(latents), \(inputs)" }
  var tier: Tier { inputs == .reals ? .bound : .exact }

  private var values: [Float] {
    var source = Verification.Inputs("code \(label)")
    let count = batch * latents
    switch inputs {
    case .reals: return source.reals(count)
    case .equals: return source.integers(count, limit: 2).map { $0 == 0 ? -$0 : $0 }
    case .special:
      let choices: [Float] = [.nan, -.nan, .infinity, -.infinity, 0, -0.0, 1, 1e-30, -3, 1e30]
      return source.order(count, below: choices.count).map { choices[Int($0)] }
    case .negative:
      return source.reals(count).enumerated().map { $0 % 5 == 3 ? $1 : -abs($1) - 0.1 }
    }
  }

  func run<B: Backend>(on bench: TestBench<B>) throws {
    let values = values
    let a = try bench.input(values, [batch, latents], name: "a", comparing: inputs != .special)
    let z = try bench.output([batch, latents], name: "z")
    if wholeBatch {
      let threshold = try bench.output([1], name: "threshold")
      try bench.backend.batchTopK(a, k: k, into: z, threshold: threshold)
      let expected = Oracle.batchTopK(values, k: k, batch: batch)
      try bench.expect("z", z, expected[0])
      try bench.expect("threshold", threshold, expected[1])
    } else {
      try bench.backend.topK(a, k: k, into: z)
      try bench.expect("z", z, Oracle.topK(values, k: k, batch: batch))
    }
  }
}

struct JumpReLUCase: OperationCase {
  let batch: Int
  let latents: Int
  let tier: Tier

  var operation: String { "jumpReLU" }
  var label: String { "\(batch)x\(latents)" }

  func run<B: Backend>(on bench: TestBench<B>) throws {
    var inputs = Inputs("jump \(label) \(tier)")
    let a = inputs.values(batch * latents, tier)
    let theta = tier == .exact ? inputs.integers(latents).map(abs) : inputs.fractions(latents)
    let z = try bench.output([batch, latents], name: "z")
    try bench.backend.jumpReLU(
      bench.input(a, [batch, latents], name: "a"),
      threshold: bench.input(theta, [latents], name: "theta"), into: z)
    try bench.expect("z", z, Oracle.jumpReLU(a, threshold: theta))
  }
}

struct JumpReLUBackwardCase: OperationCase {
  let batch: Int
  let latents: Int
  let inPlace: Bool
  let tier: Tier

  var operation: String { "jumpReLUBackward" }
  var label: String { "\(batch)x\(latents)\(inPlace ? ", in place" : "")" }

  func run<B: Backend>(on bench: TestBench<B>) throws {
    var inputs = Inputs("jump back \(label) \(tier)")
    let (g, a) = (inputs.values(batch * latents, tier), inputs.values(batch * latents, tier))
    let exact = tier == .exact
    let theta = exact ? inputs.integers(latents).map(abs) : inputs.fractions(latents)
    let (penalty, scale, bandwidth): (Float, Float, Float) =
      exact ? (4, 0.5, 4) : (0.3, 1 / Float(batch), 0.37)
    let slope =
      try inPlace
      ? bench.updated(g, [batch, latents], name: "g") : bench.input(g, [batch, latents], name: "g")
    let da = try inPlace ? slope : bench.output([batch, latents], name: "da")
    let dtheta = try bench.output([latents], name: "dtheta")
    try bench.backend.jumpReLUBackward(
      slope, preactivations: bench.input(a, [batch, latents], name: "a"),
      threshold: bench.input(theta, [latents], name: "theta"), bandwidth: bandwidth,
      penalty: bench.input([penalty], [1], name: "penalty"), scale: scale, into: da,
      thresholdGradient: dtheta)
    let expected = Oracle.jumpReLUBackward(
      g, a: a, threshold: theta, bandwidth: bandwidth, penalty: penalty, scale: scale)
    try bench.expect("da", da, expected[0])
    try bench.expect("dtheta", dtheta, exact ? expected[1].exact() : expected[1])
  }
}

struct HardConcreteCase: OperationCase {
  let batch: Int
  let latents: Int
  let noise: GateNoise?
  let tier: Tier

  var operation: String { "hardConcrete" }
  var label: String { "\(batch)x\(latents)\(noise == nil ? ", in test" : "")" }

  func run<B: Backend>(on bench: TestBench<B>) throws {
    let gates = GateInputs(label, batch: batch, latents: latents, tier: tier)
    let z = try bench.output([batch, latents], name: "z")
    let rowL0 = try bench.output([batch], name: "rowL0")
    try bench.backend.hardConcrete(
      bench.input(gates.a, [batch, latents], name: "a"),
      slope: bench.input(gates.slope, [latents], name: "slope"),
      offset: bench.input(gates.offset, [latents], name: "offset"), noise: noise, into: z,
      rowL0: rowL0)
    let expected = Oracle.hardConcrete(
      gates.a, slope: gates.slope, offset: gates.offset, noise: noise)
    try bench.expect("z", z, tier == .exact ? expected[0].exact() : expected[0])
    try bench.expect("rowL0", rowL0, tier == .exact ? expected[1].exact() : expected[1])
  }
}

/// The exact tier has gates that are wide open or shut, whatever the noise.
private struct GateInputs {
  let a, slope, offset: [Float]

  init(_ label: String, batch: Int, latents: Int, tier: Tier) {
    var inputs = Inputs("gates \(label) \(tier)")
    a = inputs.values(batch * latents, tier)
    slope =
      tier == .exact ? inputs.integers(latents, limit: 2) : inputs.reals(latents).map { $0 * 4 }
    offset =
      tier == .exact
      ? inputs.integers(latents).map { $0 > 0 ? 64 : -64 } : inputs.reals(latents).map { $0 * 4 }
  }
}

struct HardConcreteBackwardCase: OperationCase {
  let batch: Int
  let latents: Int
  let inPlace: Bool
  let tier: Tier

  var operation: String { "hardConcreteBackward" }
  var label: String { "\(batch)x\(latents)\(inPlace ? ", in place" : "")" }

  func run<B: Backend>(on bench: TestBench<B>) throws {
    let gates = GateInputs(label, batch: batch, latents: latents, tier: tier)
    var inputs = Inputs("gates back \(label) \(tier)")
    let g = inputs.values(batch * latents, tier)
    let (penalty, scale): (Float, Float) = tier == .exact ? (0, 1) : (0.3, 0.7)
    let noise = GateNoise(key: 12345)
    let slope =
      try inPlace
      ? bench.updated(g, [batch, latents], name: "g") : bench.input(g, [batch, latents], name: "g")
    let da = try inPlace ? slope : bench.output([batch, latents], name: "da")
    let slopeGradient = try bench.output([latents], name: "dslope")
    let offsetGradient = try bench.output([latents], name: "doffset")
    try bench.backend.hardConcreteBackward(
      slope, preactivations: bench.input(gates.a, [batch, latents], name: "a"),
      slope: bench.input(gates.slope, [latents], name: "slope"),
      offset: bench.input(gates.offset, [latents], name: "offset"), noise: noise,
      penalty: bench.input([penalty], [1], name: "penalty"), scale: scale, into: da,
      slopeGradient: slopeGradient, offsetGradient: offsetGradient)
    let expected = Oracle.hardConcreteBackward(
      g, a: gates.a, slope: gates.slope, offset: gates.offset, noise: noise, penalty: penalty,
      scale: scale)
    for (name, tensor, wanted) in [
      ("da", da, expected[0]), ("dslope", slopeGradient, expected[1]),
      ("doffset", offsetGradient, expected[2]),
    ] {
      // The sums of the exact tier are the 0 of shut gates, within a sigmoid's least number.
      try bench.expect(name, tensor, tier == .exact && name == "da" ? wanted.exact() : wanted)
    }
  }
}

struct L1GradientCase: OperationCase {
  let batch: Int
  let latents: Int
  let tier: Tier

  var operation: String { "addL1Gradient" }
  var label: String { "\(batch)x\(latents)" }

  func run<B: Backend>(on bench: TestBench<B>) throws {
    var inputs = Inputs("l1 \(label) \(tier)")
    let z = inputs.code(batch * latents)
    let g = inputs.values(batch * latents, tier)
    let (penalty, scale): (Float, Float) = tier == .exact ? (6, 0.5) : (0.3, 0.7)
    let slope = try bench.updated(g, [batch, latents], name: "g")
    try bench.backend.addL1Gradient(
      of: bench.input(z, [batch, latents], name: "z"),
      penalty: bench.input([penalty], [1], name: "penalty"), scale: scale,
      accumulatingInto: slope)
    let expected = Oracle.addL1Gradient(z: z, penalty: penalty, scale: scale, g: g)
    try bench.expect("g", slope, tier == .exact ? expected.exact() : expected)
  }
}

struct ControlCase: OperationCase {
  /// Where the loop stands.
  enum Course: String, CaseIterable, Sendable {
    case near, farAbove, none, atUpper, atLower
  }

  let batch: Int
  let course: Course

  var operation: String { "controlPenalty" }
  var label: String { "\(batch) rows, \(course)" }
  let tier = Tier.bound

  func run<B: Backend>(on bench: TestBench<B>) throws {
    var inputs = Inputs("control \(label)")
    let counts: [Float] =
      switch course {
      case .near: inputs.order(batch, below: 17).map(Float.init)
      case .farAbove, .atUpper: inputs.order(batch, below: 60).map { Float($0) + 20 }
      case .none, .atLower: [Float](repeating: 0, count: batch)
      }
    let settings = PenaltyControl(
      target: 8, proportionalGain: 0.3, integralGain: 0.05, lower: -12, upper: 3)
    let control: [Float] = [7, course == .atUpper ? 2.98 : course == .atLower ? -11.99 : -2]
    let tensor = try bench.updated(control, [2], name: "control")
    try bench.backend.controlPenalty(
      rowL0: bench.input(counts, [batch], name: "rowL0"), control: tensor, settings: settings)
    try bench.expect(
      "control", tensor,
      Oracle.controlPenalty(rowL0: counts, control: control, settings: settings))
  }
}
