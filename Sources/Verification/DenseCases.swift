import Compute

/// Consecutive dense layers, forward: each output is judged from the one before it.
struct DenseForwardCase: OperationCase {
  let batch: Int
  let widths: [Int]
  let activations: [Activation]
  let tier: Tier

  var operation: String { "denseForward" }
  var label: String {
    "\(batch) rows, \(widths.map(String.init).joined(separator: "-")), "
      + activations.map(\.rawValue).joined(separator: " ")
  }

  func run<B: Backend>(on bench: TestBench<B>) throws {
    var inputs = Inputs("forward \(label) \(tier)")
    let x = inputs.small(batch * widths[0], tier)
    var layers: [DenseLayer<B.Storage>] = []
    var host: [(weight: [Float], bias: [Float])] = []
    for (index, activation) in activations.enumerated() {
      let (m, n) = (widths[index], widths[index + 1])
      let (weight, bias) = (inputs.small(m * n, tier), inputs.small(n, tier))
      host.append((weight, bias))
      layers.append(
        DenseLayer(
          weight: try bench.input(weight, [m, n], name: "W\(index)"),
          bias: try bench.input(bias, [n], name: "b\(index)"), activation: activation,
          output: try bench.output([batch, n], name: "y\(index)")))
    }
    try bench.backend.denseForward(bench.input(x, [batch, widths[0]], name: "x"), through: layers)
    var input = x
    for (index, layer) in layers.enumerated() {
      let shape = MatmulShape(m: batch, n: widths[index + 1], k: widths[index])
      let expected = Oracle.matmul(
        shape, input, host[index].weight, epilogue: .bias(host[index].bias, layer.activation))[0]
      try bench.expect("y\(index)", layer.output, tier == .exact ? expected.exact() : expected)
      input = try bench.backend.download(layer.output)
    }
  }
}

struct DenseBackwardCase: OperationCase {
  let batch: Int
  /// From the last layer to the first.
  let widths: [Int]
  let activations: [Activation]
  let tier: Tier

  var operation: String { "denseBackward" }
  var label: String {
    "\(batch) rows, \(widths.map(String.init).joined(separator: "-")), "
      + activations.map(\.rawValue).joined(separator: " ")
  }

  func run<B: Backend>(on bench: TestBench<B>) throws {
    var inputs = Inputs("backward \(label) \(tier)")
    let delta = inputs.small(batch * widths[0], tier)
    var layers: [DenseBackwardLayer<B.Storage>] = []
    var host: [(weight: [Float], below: [Float])] = []
    for (index, activation) in activations.enumerated() {
      let (m, n) = (widths[index], widths[index + 1])
      let weight = inputs.small(m * n, tier)
      let below =
        activation == .relu || activation == .identity
        ? inputs.integers(batch * n, limit: 2) : inputs.fractions(batch * n)
      host.append((weight, below))
      layers.append(
        DenseBackwardLayer(
          weight: try bench.input(weight, [n, m], name: "W\(index)"), activation: activation,
          below: try bench.input(below, [batch, n], name: "y\(index)"),
          gradient: try bench.output([batch, n], name: "d\(index)")))
    }
    try bench.backend.denseBackward(
      bench.input(delta, [batch, widths[0]], name: "delta"), through: layers)
    var input = delta
    for (index, layer) in layers.enumerated() {
      let shape = MatmulShape(
        m: batch, n: widths[index + 1], k: widths[index], transposeB: true)
      let expected = Oracle.matmul(
        shape, input, host[index].weight,
        epilogue: .derivative(of: layer.activation, at: host[index].below))[0]
      try bench.expect("d\(index)", layer.gradient, tier == .exact ? expected.exact() : expected)
      input = try bench.backend.download(layer.gradient)
    }
  }
}

struct DenseGradientsCase: OperationCase {
  let batch: Int
  /// Inputs and outputs of each layer.
  let layers: [(Int, Int)]
  let tier: Tier

  var operation: String { "denseGradients" }
  var label: String {
    "\(batch) rows, " + layers.map { "\($0.0)x\($0.1)" }.joined(separator: " ")
  }

  func run<B: Backend>(on bench: TestBench<B>) throws {
    var inputs = Inputs("gradients \(label) \(tier)")
    var gradients: [DenseGradient<B.Storage>] = []
    var expected: [[Expectation]] = []
    for (index, (m, n)) in layers.enumerated() {
      let (x, delta) = (inputs.values(batch * m, tier), inputs.values(batch * n, tier))
      expected.append(
        Oracle.matmul(
          MatmulShape(m: m, n: n, k: batch, transposeA: true), x, delta, epilogue: .columnSums))
      gradients.append(
        DenseGradient(
          input: try bench.input(x, [batch, m], name: "x\(index)"),
          delta: try bench.input(delta, [batch, n], name: "d\(index)"),
          weightGradient: try bench.output([m, n], name: "dW\(index)"),
          biasGradient: try bench.output([n], name: "db\(index)")))
    }
    try bench.backend.denseGradients(gradients)
    for (index, gradient) in gradients.enumerated() {
      for (name, tensor, wanted) in [
        ("dW\(index)", gradient.weightGradient, expected[index][0]),
        ("db\(index)", gradient.biasGradient, expected[index][1]),
      ] {
        try bench.expect(name, tensor, tier == .exact ? wanted.exact() : wanted)
      }
    }
  }
}

extension Inputs {
  /// Values whose products through several layers stay below 2^24 in the exact tier: -1, 0 or 1.
  mutating func small(_ count: Int, _ tier: Tier) -> [Float] {
    tier == .exact ? integers(count, limit: 1) : reals(count)
  }
}
