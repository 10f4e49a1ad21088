import Compute
import OpenCLRuntime

/// Launches of a few small products each, on CPU devices: there a launch costs as much as a small
/// product. GPUs, and products too large to gain, take the launches one by one.
extension OpenCLBackend {
  /// How many layers a launch takes (`Kernels/dense_cpu.cl`).
  private static var slots: Int { 4 }
  /// Rows of a block of `denseGroup`.
  private static var groupRows: Int { 144 }
  /// Weights up to this count stay in a core's cache while all rows of a block pass.
  private static var largestWeight: Int { 1 << 17 }

  private func denseKernel(_ name: String) throws -> Kernel {
    try library.kernel(
      name, from: .denseCPU, form: 0, ["MB": Self.groupRows, "MR": registerRows])
  }

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
        input, part.map { ChainLayer($0.weight, $0.bias, $0.output, $0.activation) },
        isBackward: false)
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
        input, part.map { ChainLayer($0.weight, $0.below, $0.gradient, $0.activation) },
        isBackward: true)
      input = part[part.endIndex - 1].gradient
    }
  }

  /// A layer's second operand, its bias or the outputs to take the derivative at, and its result.
  private struct ChainLayer {
    let b, extra, y: Floats
    let activation: Activation

    init(_ b: Floats, _ extra: Floats, _ y: Floats, _ activation: Activation) {
      (self.b, self.extra, self.y, self.activation) = (b, extra, y, activation)
    }
  }

  private func launchChain(
    _ x: Floats, _ layers: [ChainLayer], isBackward: Bool
  ) throws {
    let rows = x.shape[0]
    checkChain(layers, isBackward: isBackward, rows: rows, depth: x.shape[1])
    let kernel = try denseKernel(isBackward ? "denseBackward" : "denseForward")
    let blockRows = blockRows(rows)
    var arguments = Arguments(kernel)
    try arguments.add(x)
    try addChain(layers, to: &arguments)
    try arguments.add(rows)
    try arguments.add(x.shape[1])
    try arguments.add(blockRows)
    try launchByTicket(
      kernel, &arguments, as: kernel.name, blocks: (rows + blockRows - 1) / blockRows)
  }

  private func checkChain(
    _ layers: [ChainLayer], isBackward: Bool, rows: Int, depth: Int
  ) {
    var depth = depth
    for layer in layers {
      let operand = MatrixOperand(layer.b, transposed: isBackward)
      precondition(operand.rows == depth, "a layer of \(layer.b.shape) after \(depth) values")
      precondition(layer.y.shape == [rows, operand.columns], "\(layer.y.shape) for \(rows) rows")
      precondition(
        isBackward ? layer.extra.shape == layer.y.shape : layer.extra.count == operand.columns,
        "\(layer.extra.shape) for a result of \(layer.y.shape)")
      depth = operand.columns
    }
  }

  /// Two blocks for each compute unit, and a rest that eight does not divide: with fewer, the others
  /// wait for a core that is late; more of them pack the weights more often.
  private func blockRows(_ rows: Int) -> Int {
    max(8, rows / (2 * device.computeUnits) / 8 * 8)
  }

  /// The slots of a chain and how many are used; with none, `filler` stands in.
  private func addChain(
    _ layers: [ChainLayer], to arguments: inout Arguments, filler: ChainLayer? = nil
  ) throws {
    for slot in 0..<Self.slots {
      guard let layer = layers.isEmpty ? filler : layers[min(slot, layers.count - 1)] else {
        preconditionFailure("a chain has layers")
      }
      try arguments.add(layer.b)
      try arguments.add(layer.extra)
      try arguments.add(layer.y)
      try arguments.add(layer.y.shape[1])
      try arguments.add(layer.activation.code)
    }
    try arguments.add(layers.count)
  }

  package func densePass(
    _ x: Floats, forward: [DenseLayer<Storage>], loss: ReconstructionLoss<Storage>,
    backward: [DenseBackwardLayer<Storage>]
  ) throws {
    guard fuses(forward.map(\.weight) + backward.map(\.weight)), x.count > 0, !forward.isEmpty,
      max(forward.count, backward.count) <= Self.slots
    else {
      return try densePassByParts(x, forward: forward, loss: loss, backward: backward)
    }
    let there = forward.map { ChainLayer($0.weight, $0.bias, $0.output, $0.activation) }
    let back = backward.map { ChainLayer($0.weight, $0.below, $0.gradient, $0.activation) }
    let shape = LossShape(
      reconstruction: forward[forward.count - 1].output, target: loss.target, code: loss.code,
      gradient: loss.gradient, rowError: loss.rowError, rowL0: loss.rowL0)
    checkChain(there, isBackward: false, rows: shape.batch, depth: x.shape[1])
    checkChain(back, isBackward: true, rows: shape.batch, depth: shape.width)

    let kernel = try denseKernel("densePass")
    let blockRows = blockRows(shape.batch)
    var arguments = Arguments(kernel)
    try arguments.add(x)
    try addChain(there, to: &arguments)
    try arguments.add(loss.target)
    try arguments.add(loss.activation.code)
    try arguments.add(loss.code)
    try arguments.add(shape.latents)
    try arguments.add(loss.scale)
    try arguments.add(loss.gradient)
    try arguments.add(loss.rowError)
    try arguments.add(loss.rowL0)
    try addChain(back, to: &arguments, filler: there[0])
    try arguments.add(shape.batch)
    try arguments.add(x.shape[1])
    try arguments.add(blockRows)
    try launchByTicket(
      kernel, &arguments, as: "densePass",
      blocks: (shape.batch + blockRows - 1) / blockRows)
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
    let blockRows = Self.groupRows
    let kernel = try denseKernel("denseGroup")
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
    try launchByTicket(kernel, &arguments, as: "denseGradients", blocks: blocks)
  }
}
