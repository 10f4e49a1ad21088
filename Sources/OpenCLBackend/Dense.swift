import Compute
import OpenCLRuntime

/// Launches of a few small products each, on CPU devices: there a launch costs as much as a small
/// product. GPUs, and products too large to gain, take the launches one by one.
extension OpenCLBackend {
  /// How many layers a launch takes (`Kernels/dense_cpu.cl`).
  private static var slots: Int { 4 }
  /// Weights up to this count stay in a core's cache while all rows of a block pass.
  private static var largestWeight: Int { 1 << 17 }

  private func fuses(_ weights: some Sequence<Floats>) -> Bool {
    family == .cpu && weights.allSatisfy { $0.count <= Self.largestWeight && $0.count > 0 }
  }

  package func denseForward(_ x: Floats, through layers: [DenseLayer<Storage>]) throws {
    guard fuses(layers.map(\.weight)), x.count > 0 else {
      return try denseForwardByProducts(x, through: layers)
    }
    var input = x
    for start in stride(from: 0, to: layers.count, by: Self.slots) {
      let part = layers[start..<min(start + Self.slots, layers.count)]
      try launchChain(
        input, part.map { ($0.weight, $0.bias, $0.output, $0.activation) }, isBackward: false)
      input = part[part.endIndex - 1].output
    }
  }

  package func denseBackward(
    _ delta: Floats, through layers: [DenseBackwardLayer<Storage>]
  ) throws {
    guard fuses(layers.map(\.weight)), delta.count > 0 else {
      return try denseBackwardByProducts(delta, through: layers)
    }
    var input = delta
    for start in stride(from: 0, to: layers.count, by: Self.slots) {
      let part = layers[start..<min(start + Self.slots, layers.count)]
      try launchChain(
        input, part.map { ($0.weight, $0.below, $0.gradient, $0.activation) }, isBackward: true)
      input = part[part.endIndex - 1].gradient
    }
  }

  /// Up to four layers, each with its second operand, bias or derivative, result and activation.
  private func launchChain(
    _ x: Floats, _ layers: [(b: Floats, extra: Floats, y: Floats, activation: Activation)],
    isBackward: Bool
  ) throws {
    let rows = x.shape[0]
    var depth = x.shape[1]
    for layer in layers {
      let epilogue: MatmulEpilogue<Storage> =
        isBackward
        ? .derivative(of: layer.activation, at: layer.extra)
        : .bias(layer.extra, layer.activation)
      let operand = MatrixOperand(layer.b, transposed: isBackward)
      precondition(operand.rows == depth, "a layer of \(layer.b.shape) after \(depth) values")
      precondition(layer.y.shape == [rows, operand.columns], "\(layer.y.shape) for \(rows) rows")
      if case .bias(let bias, _) = epilogue { precondition(bias.count == operand.columns) }
      if case .derivative(_, let y) = epilogue { precondition(y.shape == layer.y.shape) }
      depth = operand.columns
    }

    let kernel = try library.kernel(
      "denseChain", from: .denseCPU,
      ["CHAIN_EPILOGUE": isBackward ? 2 : 1, "TRANSPOSE_B": isBackward ? 1 : 0])
    // Two blocks for each compute unit, of whole register tiles of six rows.
    let blocks = 2 * device.computeUnits
    let blockRows = max(6, ((rows + blocks - 1) / blocks + 5) / 6 * 6)
    var arguments = Arguments(kernel)
    try arguments.add(x)
    for slot in 0..<Self.slots {
      let layer = layers[min(slot, layers.count - 1)]
      try arguments.add(layer.b)
      try arguments.add(layer.extra)
      try arguments.add(layer.y)
      try arguments.add(layer.y.shape[1])
      try arguments.add(layer.activation.code)
    }
    try arguments.add(layers.count)
    try arguments.add(rows)
    try arguments.add(x.shape[1])
    try arguments.add(blockRows)
    try launch(
      kernel, as: isBackward ? "denseBackward" : "denseForward",
      global: ((rows + blockRows - 1) / blockRows, 1), local: (1, 1))
  }

  package func denseGradients(_ layers: [DenseGradient<Storage>]) throws {
    guard fuses(layers.map(\.weightGradient)), layers.allSatisfy({ $0.delta.shape[0] > 0 }) else {
      return try denseGradientsByProducts(layers)
    }
    // The largest products first, so that the last blocks are short ones.
    let sorted = layers.enumerated().sorted {
      ($1.element.weightGradient.count, $0.offset) < ($0.element.weightGradient.count, $1.offset)
    }.map(\.element)
    for start in stride(from: 0, to: sorted.count, by: Self.slots) {
      try launchGroup(Array(sorted[start..<min(start + Self.slots, sorted.count)]))
    }
  }

  private func launchGroup(_ layers: [DenseGradient<Storage>]) throws {
    // Blocks of about the same work in all products: PoCL hands the first thread half of all
    // work-groups at once.
    let blockRows = 66
    let kernel = try library.kernel(
      "denseGroup", from: .denseCPU, ["GROUP_PRODUCTS": 1, "TRANSPOSE_A": 1, "MB": blockRows])
    var arguments = Arguments(kernel)
    var blocks = 0
    for slot in 0..<Self.slots {
      let layer = layers[min(slot, layers.count - 1)]
      let shape = MatmulShape(
        MatrixOperand(layer.input, transposed: true), MatrixOperand(layer.delta),
        into: layer.weightGradient, epilogue: .columnSums(into: layer.biasGradient))
      try arguments.add(layer.input)
      try arguments.add(layer.delta)
      try arguments.add(layer.weightGradient)
      try arguments.add(layer.biasGradient)
      try arguments.add(shape.m)
      try arguments.add(shape.n)
      try arguments.add(shape.k)
      if slot < layers.count {
        blocks += (shape.m + blockRows - 1) / blockRows * ((shape.n + 15) / 16)
      }
    }
    try arguments.add(layers.count)
    try launch(kernel, as: "denseGradients", global: (blocks, 1), local: (1, 1))
  }
}
