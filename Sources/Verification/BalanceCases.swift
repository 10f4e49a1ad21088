import Compute

struct BalanceCase: OperationCase {
  let latents: Int
  let operation = "balanceLatents"
  var label: String { "\(latents) latents" }
  let tier = Tier.bound

  func run<B: Backend>(on bench: TestBench<B>) throws {
    var inputs = Inputs("balance \(label)")
    let counts = inputs.order(latents, below: 5)
    let totals = inputs.order(latents, below: 1000)
    let bias = inputs.reals(latents)
    let settings = LatentBalanceStep(batch: 32, decay: 0.75, threshold: 0.05, increment: 0.25)
    // Quarters of 1/32, so that no share comes near the threshold.
    let frequency = inputs.order(latents, below: 8).map { Float($0) / 128 }
    let count = try bench.updated(counts, [latents], name: "counts")
    let total = try bench.updated(totals, [latents], name: "totals")
    let share = try bench.updated(frequency, [latents], name: "frequency")
    let offset = try bench.updated(bias, [latents], name: "bias")
    try bench.backend.balanceLatents(
      counts: count, totals: total, frequency: share, bias: offset, settings: settings)
    let expected = Oracle.balance(
      counts: counts, totals: totals, frequency: frequency, bias: bias, settings)
    try bench.expect("counts", count, Expectation(exactly: counts.map { _ in 0 }))
    try bench.expect("totals", total, expected.totals)
    try bench.expect("frequency", share, expected.frequency)
    try bench.expect("bias", offset, expected.bias)
  }
}

extension Oracle {
  /// Whether a bias is raised is taken from the share in double precision: inputs whose share lies
  /// within rounding of the threshold have no bound.
  static func balance(
    counts: [UInt32], totals: [UInt32], frequency: [Float], bias: [Float], _ s: LatentBalanceStep
  ) -> (totals: Expectation, frequency: Expectation, bias: Expectation) {
    let shares = zip(counts, frequency).map {
      Double(s.decay) * Double($1) + Double(s.gain) * Double($0)
    }
    let biases = zip(bias, shares).map {
      Double($0) + ($1 < Double(s.threshold) ? Double(s.increment) : 0)
    }
    return (
      Expectation(exactly: zip(totals, counts).map { Double($0 &+ $1) }),
      Expectation(values: shares, bounds: shares.map { abs($0) * 3 * unitRoundoff + 0x1p-125 }),
      Expectation(values: biases, bounds: biases.map { (abs($0) + 1) * unitRoundoff })
    )
  }
}
