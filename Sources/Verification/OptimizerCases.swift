import Compute

extension OperationCases {
  static func optimizer(_ extent: Extent) -> [any OperationCase] {
    let counts = [1, 7, 8, 16, 33, 100] + (extent == .full ? [1023, 4096, 4097, 117_648] : [])
    let matrices =
      [(1, 1), (3, 7), (7, 8), (8, 33), (17, 16)]
      + (extent == .full ? [(9, 64), (64, 784), (31, 257), (1024, 63), (5, 5003)] : [])
    let codes =
      [(1, 1, 1), (7, 5, 9), (5, 8, 16), (13, 17, 33), (3, 16, 7)]
      + (extent == .full ? [(256, 64, 784), (67, 131, 40), (256, 1024, 17)] : [])
    var cases: [any OperationCase] = counts.flatMap { count -> [any OperationCase] in
      [
        MomentumCase(count: count, momentum: 0, tier: .exact),
        MomentumCase(count: count, momentum: 0.5, tier: .exact),
        MomentumCase(count: count, momentum: 0.9, tier: .bound),
        AverageCase(count: count, decay: 0, tier: .exact),
        AverageCase(count: count, decay: 0.5, tier: .exact),
        AverageCase(count: count, decay: 0.999, tier: .bound), ClampCase(count: count),
        ClipCase(count: count, share: 0.25, special: nil),
        ClipCase(count: count, share: 1.5, special: nil),
      ]
    }
    cases += [Float.infinity, .nan, 1e30, 0].map { ClipCase(count: 100, share: 0.25, special: $0) }
    if extent == .full { cases.append(ClipCase(count: 1_100_003, share: 0.25, special: nil)) }
    cases += matrices.flatMap { rows, width -> [any OperationCase] in
      [
        NormaliseCase(rows: rows, width: width),
        ProjectCase(rows: rows, width: width, tier: .exact),
        ProjectCase(rows: rows, width: width, tier: .bound),
      ]
    }
    cases += codes.flatMap { batch, latents, width in
      [true, false].flatMap { rows in
        // Whole numbers stay exact while the penalty is below 2^24.
        (64 * batch * latents * width < 1 << 24 ? [Tier.exact, .bound] : [.bound]).map {
          ContractiveCase(
            batch: batch, latents: latents, width: width, unitsAreRows: rows, tier: $0)
        }
      }
    }
    return cases
  }
}

private struct MomentumCase: OperationCase {
  let count: Int
  let momentum: Float
  let tier: Tier

  var operation: String { "momentumStep" }
  var label: String { "\(count) parameters, momentum \(momentum)" }

  func run<B: Backend>(on bench: TestBench<B>) throws {
    var inputs = Inputs("momentum \(label) \(tier)")
    let (p, g) = (inputs.values(count, tier), inputs.values(count, tier))
    let v = inputs.values(count, tier)
    let rate: Float = tier == .exact ? 0.25 : 0.1
    let parameters = try bench.updated(p, [count], name: "p")
    let velocity = try bench.updated(v, [count], name: "v")
    try bench.backend.momentumStep(
      parameters: parameters, gradients: bench.input(g, [count], name: "g"), velocity: velocity,
      rate: rate, momentum: momentum)
    let expected = Oracle.momentumStep(p: p, g: g, v: v, rate: rate, momentum: momentum)
    try bench.expect("p", parameters, tier == .exact ? expected[0].exact() : expected[0])
    try bench.expect("v", velocity, tier == .exact ? expected[1].exact() : expected[1])
  }
}

private struct AverageCase: OperationCase {
  let count: Int
  let decay: Float
  let tier: Tier

  var operation: String { "accumulateAverage" }
  var label: String { "\(count) parameters, decay \(decay)" }

  func run<B: Backend>(on bench: TestBench<B>) throws {
    var inputs = Inputs("average \(label) \(tier)")
    let (p, before) = (inputs.values(count, tier), inputs.values(count, tier))
    let average = try bench.updated(before, [count], name: "average")
    try bench.backend.accumulateAverage(
      of: bench.input(p, [count], name: "p"), decay: decay, into: average)
    let expected = Oracle.accumulateAverage(of: p, decay: decay, average: before)
    try bench.expect("average", average, tier == .exact ? expected.exact() : expected)
  }
}

private struct ClampCase: OperationCase {
  let count: Int

  var operation: String { "clampBelow" }
  var label: String { "\(count)" }
  let tier = Tier.exact

  func run<B: Backend>(on bench: TestBench<B>) throws {
    var inputs = Inputs("clamp \(label)")
    var p = inputs.reals(count)
    // One in the vectors, one in the rest.
    for (place, value) in [(0, Float.nan), (count - 1, -.infinity), (count / 2, .infinity)] {
      p[place] = value
    }
    let parameters = try bench.updated(p, [count], name: "p")
    try bench.backend.clampBelow(parameters, bound: -0.25)
    try bench.expect("p", parameters, Oracle.clampBelow(p, bound: -0.25))
  }
}

private struct ClipCase: OperationCase {
  let count: Int
  /// The limit as a share of the norm, about.
  let share: Double
  /// What all elements are where it is zero, else one of them.
  let special: Float?

  var operation: String { "clipNorm" }
  var label: String { "\(count), limit \(share)" + (special.map { ", with \($0)" } ?? "") }
  let tier = Tier.bound

  func run<B: Backend>(on bench: TestBench<B>) throws {
    var inputs = Inputs("clip \(label)")
    var g = inputs.reals(count)
    let length = g.reduce(0.0) { $0 + Double($1) * Double($1) }.squareRoot()
    if special == 0 { g = [Float](repeating: 0, count: count) }
    if let special { g[count / 3] = special }
    let limit = Float(share * length)
    let gradient = try bench.updated(g, [count], name: "g")
    let norm = try bench.output([1], name: "norm")
    try bench.backend.clipNorm(of: gradient, limit: limit, norm: norm)
    let expected = Oracle.clipNorm(of: g, limit: limit)
    try bench.expect("g", gradient, expected[0])
    try bench.expect("norm", norm, expected[1])
  }
}

private struct NormaliseCase: OperationCase {
  let rows: Int
  let width: Int

  var operation: String { "normaliseRows" }
  var label: String { "\(rows)x\(width)" }
  let tier = Tier.bound

  func run<B: Backend>(on bench: TestBench<B>) throws {
    var inputs = Inputs("normalise \(label)")
    var values = inputs.reals(rows * width)
    // Rows that cannot be normalised, after the first.
    if rows >= 7 {
      for i in width..<2 * width { values[i] = 0 }
      values[2 * width] = .infinity
      values[4 * width - 1] = .nan
      for i in 4 * width..<5 * width { values[i] = 1e25 }
      for i in 5 * width..<6 * width { values[i] = 0 }
      values[5 * width] = 1e-20
    }
    let w = try bench.updated(values, [rows, width], name: "w")
    try bench.backend.normaliseRows(w)
    try bench.expect("w", w, Oracle.normaliseRows(values, width: width))
  }
}

private struct ProjectCase: OperationCase {
  let rows: Int
  let width: Int
  let tier: Tier

  var operation: String { "projectRows" }
  var label: String { "\(rows)x\(width)" }

  func run<B: Backend>(on bench: TestBench<B>) throws {
    var inputs = Inputs("project \(label) \(tier)")
    let (slopes, weights) = (inputs.values(rows * width, tier), inputs.values(rows * width, tier))
    let g = try bench.updated(slopes, [rows, width], name: "g")
    try bench.backend.projectRows(
      g, orthogonalTo: bench.input(weights, [rows, width], name: "w"))
    let expected = Oracle.projectRows(slopes, orthogonalTo: weights, width: width)
    try bench.expect("g", g, tier == .exact ? expected.exact() : expected)
  }
}

private struct ContractiveCase: OperationCase {
  let batch: Int
  let latents: Int
  let width: Int
  let unitsAreRows: Bool
  let tier: Tier

  var operation: String { "addContractiveGradient" }
  var label: String {
    "\(batch) rows, \(latents) units of \(width), "
      + (unitsAreRows ? "a row each" : "a column each")
  }

  func run<B: Backend>(on bench: TestBench<B>) throws {
    var inputs = Inputs("contractive \(label) \(tier)")
    let shape: Shape = unitsAreRows ? [latents, width] : [width, latents]
    let z = inputs.code(batch * latents)
    let (weights, slopes) = (inputs.values(shape.count, tier), inputs.values(shape.count, tier))
    let scale: Float = tier == .exact ? 0.25 : 0.2 / Float(batch)
    let g = try bench.updated(slopes, shape, name: "g")
    let penalty = try bench.output([1], name: "penalty")
    try bench.backend.addContractiveGradient(
      code: bench.input(z, [batch, latents], name: "z"),
      weight: bench.input(weights, shape, name: "w"), unitsAreRows: unitsAreRows, scale: scale,
      accumulatingInto: g, penalty: penalty)
    let expected = Oracle.addContractiveGradient(
      code: z, weight: weights, unitsAreRows: unitsAreRows, scale: scale, gradient: slopes,
      latents: latents)
    try bench.expect("g", g, tier == .exact ? expected[0].exact() : expected[0])
    try bench.expect("penalty", penalty, tier == .exact ? expected[1].exact() : expected[1])
  }
}
