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

/// Forward, loss and backward at once: each output is judged from the ones before it.
struct DensePassCase: OperationCase {
  let batch: Int
  let widths: [Int]
  let activations: [Activation]
  let tier = Tier.bound

  var operation: String { "densePass" }
  var label: String {
    "\(batch) rows, \(widths.map(String.init).joined(separator: "-")), "
      + activations.map(\.rawValue).joined(separator: " ")
  }

  func run<B: Backend>(on bench: TestBench<B>) throws {
    var inputs = Inputs("pass \(label)")
    let count = activations.count
    let (x, target) = (inputs.fractions(batch * widths[0]), inputs.fractions(batch * widths[count]))
    let weights = (0..<count).map { inputs.reals(widths[$0] * widths[$0 + 1]) }
    let biases = (0..<count).map { inputs.reals(widths[$0 + 1]) }
    let w = try (0..<count).map {
      try bench.input(weights[$0], [widths[$0], widths[$0 + 1]], name: "W\($0)")
    }
    let y = try (0..<count).map { try bench.output([batch, widths[$0 + 1]], name: "y\($0)") }
    let d = try (0..<count).map { try bench.output([batch, widths[$0 + 1]], name: "d\($0)") }
    let codeLayer = (count - 1) / 2
    let scale: Float = 0.125
    let rowError = try bench.output([batch], name: "rowError")
    let rowL0 = try bench.output([batch], name: "rowL0")
    try bench.backend.densePass(
      bench.input(x, [batch, widths[0]], name: "x"),
      forward: (0..<count).map {
        DenseLayer(
          weight: w[$0], bias: try bench.input(biases[$0], [widths[$0 + 1]], name: "b\($0)"),
          activation: activations[$0], output: y[$0])
      },
      loss: ReconstructionLoss(
        target: bench.input(target, [batch, widths[count]], name: "target"),
        activation: activations[count - 1], code: y[codeLayer], scale: scale,
        gradient: d[count - 1], rowError: rowError, rowL0: rowL0),
      backward: (1..<count).reversed().map {
        DenseBackwardLayer(
          weight: w[$0], activation: activations[$0 - 1], below: y[$0 - 1], gradient: d[$0 - 1])
      })

    let outputs = try y.map { try bench.backend.download($0) }
    for index in 0..<count {
      let shape = MatmulShape(m: batch, n: widths[index + 1], k: widths[index])
      let expected = Oracle.matmul(
        shape, index == 0 ? x : outputs[index - 1], weights[index],
        epilogue: .bias(biases[index], activations[index]))
      try bench.expect("y\(index)", y[index], expected[0])
    }
    let loss = Oracle.reconstructionLoss(
      y: outputs[count - 1], x: target, activation: activations[count - 1],
      z: outputs[codeLayer], scale: scale, batch: batch)
    try bench.expect("gradient", d[count - 1], loss[0])
    try bench.expect("rowError", rowError, loss[1])
    try bench.expect("rowL0", rowL0, loss[2])
    for index in (1..<count).reversed() {
      let shape = MatmulShape(
        m: batch, n: widths[index], k: widths[index + 1], transposeB: true)
      let expected = Oracle.matmul(
        shape, try bench.backend.download(d[index]), weights[index],
        epilogue: .derivative(of: activations[index - 1], at: outputs[index - 1]))
      try bench.expect("d\(index - 1)", d[index - 1], expected[0])
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
