import Compute

/// A backend that runs every operation twice, on a device and on an oracle, and compares.
///
/// Both sides start each operation from the same bits: after a comparison the device's values are
/// copied to the oracle's side. Where an output differs by more than the two implementations'
/// bounds together, `report` is called, which throws by default.
package final class CheckedBackend<Device: Backend, Host: Backend>: Backend {
  package typealias Storage = CheckedStorage<Device.Storage, Host.Storage>

  package let device: Device
  package let oracle: Host
  package var name: String { "\(device.name), checked against \(oracle.name)" }

  /// What each operation's outputs came to, in the order of first use.
  package private(set) var comparisons: [(operation: String, calls: Int, comparison: Comparison)] =
    []
  private let stopsAtMismatch: Bool

  /// - Parameter stopsAtMismatch: whether a difference throws `BackendError.mismatch`; otherwise it
  ///   is only recorded in `comparisons`.
  package init(device: Device, oracle: Host, stopsAtMismatch: Bool = true) {
    self.device = device
    self.oracle = oracle
    self.stopsAtMismatch = stopsAtMismatch
  }

  // MARK: Memory

  package func allocate<Element: Scalar>(
    _ shape: Shape, of type: Element.Type
  ) throws -> Tensor<Storage, Element> {
    let storage = CheckedStorage(
      device: try device.allocate(shape, of: type).storage,
      oracle: try oracle.allocate(shape, of: type).storage)
    let tensor = Tensor<Storage, Element>(storage: storage, shape: shape)
    // An operation on some channels of a map must leave the others as they are, on both sides.
    try upload([Element](repeating: 0, count: shape.count), into: tensor)
    return tensor
  }

  package func upload<Element: Scalar>(
    _ values: [Element], into tensor: Tensor<Storage, Element>
  ) throws {
    try device.upload(values, into: tensor.onDevice())
    try oracle.upload(values, into: tensor.onOracle())
  }

  package func download<Element: Scalar>(_ tensor: Tensor<Storage, Element>) throws -> [Element] {
    try device.download(tensor.onDevice())
  }

  package func beginDownload(_ tensor: Floats) throws -> any PendingDownload {
    try device.beginDownload(tensor.onDevice())
  }

  package func finish() throws {
    try device.finish()
    try oracle.finish()
  }

  package var freeMemory: FreeMemory { device.freeMemory }

  package var executionFailureCount: Int {
    device.executionFailureCount + oracle.executionFailureCount
  }

  /// Compares outputs after both sides ran, then gives the oracle the device's bits.
  func settle(_ operation: String, _ outputs: [(String, Floats, Expectation)]) throws {
    var comparison = Comparison()
    for (name, tensor, expectation) in outputs {
      let got = try device.download(tensor.onDevice())
      let reference = try oracle.download(tensor.onOracle())
      let wanted = Expectation(
        values: reference.map(Double.init), bounds: expectation.bounds.map { 2 * $0 })
      comparison.merge(Comparison(name, got: got.map(Double.init), expectation: wanted))
      try oracle.upload(got, into: tensor.onOracle())
    }
    try record(operation, comparison)
  }

  func record(_ operation: String, _ comparison: Comparison) throws {
    if let index = comparisons.firstIndex(where: { $0.operation == operation }) {
      comparisons[index].calls += 1
      comparisons[index].comparison.merge(comparison)
    } else {
      comparisons.append((operation, 1, comparison))
    }
    if stopsAtMismatch, let failure = comparison.failure {
      throw BackendError.mismatch(operation: operation, detail: failure)
    }
  }

  /// Compares outputs that must have the same bits, then gives the oracle the device's.
  func settle(_ operation: String, exactly outputs: [(String, Indices)]) throws {
    var comparison = Comparison()
    for (name, tensor) in outputs {
      let got = try device.download(tensor.onDevice())
      let wanted = try oracle.download(tensor.onOracle())
      comparison.merge(
        Comparison(
          name, got: got.map(Double.init),
          expectation: Expectation(exactly: wanted.map(Double.init))))
      try oracle.upload(got, into: tensor.onOracle())
    }
    try record(operation, comparison)
  }

  func host<Element: Scalar>(_ tensor: Tensor<Storage, Element>) throws -> [Element] {
    try oracle.download(tensor.onOracle())
  }

  // MARK: Operations

  package func fill(_ y: Floats, with value: Float) throws {
    try device.fill(y.onDevice(), with: value)
    try oracle.fill(y.onOracle(), with: value)
    try settle(
      "fill",
      [("y", y, Expectation(exactly: [Double](repeating: Double(value), count: y.count)))])
  }

  package func matmul(
    _ a: MatrixOperand<Storage>, _ b: MatrixOperand<Storage>, into c: Floats,
    epilogue: MatmulEpilogue<Storage>
  ) throws {
    let shape = MatmulShape(a, b, into: c, epilogue: epilogue)
    let (left, right) = (try host(a.tensor), try host(b.tensor))
    var sums: Floats?
    let wanted: Oracle.Epilogue
    let onDevice: MatmulEpilogue<Device.Storage>
    let onOracle: MatmulEpilogue<Host.Storage>
    switch epilogue {
    case .none:
      (wanted, onDevice, onOracle) = (.none, .none, .none)
    case .bias(let bias, let activation):
      wanted = .bias(try host(bias), activation)
      (onDevice, onOracle) = (
        .bias(bias.onDevice(), activation), .bias(bias.onOracle(), activation)
      )
    case .derivative(let activation, let y):
      wanted = .derivative(of: activation, at: try host(y))
      (onDevice, onOracle) = (
        .derivative(of: activation, at: y.onDevice()), .derivative(of: activation, at: y.onOracle())
      )
    case .columnSums(let tensor):
      sums = tensor
      (wanted, onDevice, onOracle) = (
        .columnSums, .columnSums(into: tensor.onDevice()), .columnSums(into: tensor.onOracle())
      )
    }
    let expected = Oracle.matmul(shape, left, right, epilogue: wanted)
    try device.matmul(a.onDevice(), b.onDevice(), into: c.onDevice(), epilogue: onDevice)
    try oracle.matmul(a.onOracle(), b.onOracle(), into: c.onOracle(), epilogue: onOracle)
    var outputs = [("C", c, expected[0])]
    if let sums { outputs.append(("sums", sums, expected[1])) }
    try settle("matmul", outputs)
  }

  package func denseForward(_ x: Floats, through layers: [DenseLayer<Storage>]) throws {
    try device.denseForward(
      x.onDevice(),
      through: layers.map {
        DenseLayer(
          weight: $0.weight.onDevice(), bias: $0.bias.onDevice(), activation: $0.activation,
          output: $0.output.onDevice())
      })
    try settleForward("denseForward", x, layers)
  }

  /// Layer by layer from the device's own values, so that errors do not add up.
  private func settleForward(
    _ operation: String, _ x: Floats, _ layers: [DenseLayer<Storage>]
  ) throws {
    var input = x
    for layer in layers {
      let shape = MatmulShape(m: x.shape[0], n: layer.weight.shape[1], k: layer.weight.shape[0])
      let expected = Oracle.matmul(
        shape, try host(input), try host(layer.weight),
        epilogue: .bias(try host(layer.bias), layer.activation))
      try oracle.denseForward(
        input.onOracle(),
        through: [
          DenseLayer(
            weight: layer.weight.onOracle(), bias: layer.bias.onOracle(),
            activation: layer.activation, output: layer.output.onOracle())
        ])
      try settle(operation, [("y", layer.output, expected[0])])
      input = layer.output
    }
  }

  package func denseBackward(
    _ delta: Floats, through layers: [DenseBackwardLayer<Storage>]
  ) throws {
    try device.denseBackward(
      delta.onDevice(),
      through: layers.map {
        DenseBackwardLayer(
          weight: $0.weight.onDevice(), activation: $0.activation, below: $0.below.onDevice(),
          gradient: $0.gradient.onDevice())
      })
    try settleBackward("denseBackward", delta, layers)
  }

  private func settleBackward(
    _ operation: String, _ delta: Floats, _ layers: [DenseBackwardLayer<Storage>]
  ) throws {
    var input = delta
    for layer in layers {
      let shape = MatmulShape(
        m: delta.shape[0], n: layer.weight.shape[0], k: layer.weight.shape[1], transposeB: true)
      let expected = Oracle.matmul(
        shape, try host(input), try host(layer.weight),
        epilogue: .derivative(of: layer.activation, at: try host(layer.below)))
      try oracle.denseBackward(
        input.onOracle(),
        through: [
          DenseBackwardLayer(
            weight: layer.weight.onOracle(), activation: layer.activation,
            below: layer.below.onOracle(), gradient: layer.gradient.onOracle())
        ])
      try settle(operation, [("delta", layer.gradient, expected[0])])
      input = layer.gradient
    }
  }

  package func densePass(
    _ x: Floats, forward: [DenseLayer<Storage>], loss: ReconstructionLoss<Storage>,
    backward: [DenseBackwardLayer<Storage>]
  ) throws {
    precondition(!forward.isEmpty, "a pass has layers")
    try device.densePass(
      x.onDevice(),
      forward: forward.map {
        DenseLayer(
          weight: $0.weight.onDevice(), bias: $0.bias.onDevice(), activation: $0.activation,
          output: $0.output.onDevice())
      },
      loss: ReconstructionLoss(
        target: loss.target.onDevice(), activation: loss.activation, code: loss.code.onDevice(),
        scale: loss.scale, gradient: loss.gradient.onDevice(),
        rowError: loss.rowError.onDevice(), rowL0: loss.rowL0.onDevice()),
      backward: backward.map {
        DenseBackwardLayer(
          weight: $0.weight.onDevice(), activation: $0.activation, below: $0.below.onDevice(),
          gradient: $0.gradient.onDevice())
      })
    try settleForward("densePass", x, forward)
    try settleLoss(
      "densePass", reconstruction: forward[forward.count - 1].output, loss)
    try settleBackward("densePass", loss.gradient, backward)
  }

  /// Runs the loss on the oracle's side and compares; the device has run it.
  private func settleLoss(
    _ operation: String, reconstruction y: Floats, _ loss: ReconstructionLoss<Storage>
  ) throws {
    let expected = Oracle.reconstructionLoss(
      y: try host(y), x: try host(loss.target), activation: loss.activation,
      z: try host(loss.code), scale: loss.scale, batch: y.shape[0])
    try oracle.reconstructionLoss(
      reconstruction: y.onOracle(), target: loss.target.onOracle(), activation: loss.activation,
      code: loss.code.onOracle(), scale: loss.scale, gradient: loss.gradient.onOracle(),
      rowError: loss.rowError.onOracle(), rowL0: loss.rowL0.onOracle())
    try settle(
      operation,
      [
        ("gradient", loss.gradient, expected[0]), ("rowError", loss.rowError, expected[1]),
        ("rowL0", loss.rowL0, expected[2]),
      ])
  }

  package func denseGradients(_ layers: [DenseGradient<Storage>]) throws {
    let outputs = try layers.flatMap { layer in
      let shape = MatmulShape(
        m: layer.input.shape[1], n: layer.delta.shape[1], k: layer.delta.shape[0],
        transposeA: true)
      let expected = Oracle.matmul(
        shape, try host(layer.input), try host(layer.delta), epilogue: .columnSums)
      return [("dW", layer.weightGradient, expected[0]), ("db", layer.biasGradient, expected[1])]
    }
    try device.denseGradients(
      layers.map {
        DenseGradient(
          input: $0.input.onDevice(), delta: $0.delta.onDevice(),
          weightGradient: $0.weightGradient.onDevice(), biasGradient: $0.biasGradient.onDevice())
      })
    try oracle.denseGradients(
      layers.map {
        DenseGradient(
          input: $0.input.onOracle(), delta: $0.delta.onOracle(),
          weightGradient: $0.weightGradient.onOracle(), biasGradient: $0.biasGradient.onOracle())
      })
    try settle("denseGradients", outputs)
  }

  package func columnSums(of x: Floats, into s: Floats) throws {
    let expected = Oracle.columnSums(try host(x), rows: x.shape[0], width: x.shape[1])
    try device.columnSums(of: x.onDevice(), into: s.onDevice())
    try oracle.columnSums(of: x.onOracle(), into: s.onOracle())
    try settle("columnSums", [("s", s, expected)])
  }

  package func reconstructionLoss(
    reconstruction y: Floats, target x: Floats, activation: Activation, code z: Floats,
    scale: Float, gradient: Floats, rowError: Floats, rowL0: Floats
  ) throws {
    try device.reconstructionLoss(
      reconstruction: y.onDevice(), target: x.onDevice(), activation: activation,
      code: z.onDevice(), scale: scale, gradient: gradient.onDevice(),
      rowError: rowError.onDevice(), rowL0: rowL0.onDevice())
    try settleLoss(
      "reconstructionLoss", reconstruction: y,
      ReconstructionLoss(
        target: x, activation: activation, code: z, scale: scale, gradient: gradient,
        rowError: rowError, rowL0: rowL0))
  }

  package func adam(
    parameters p: Floats, gradients g: Floats, firstMoment m: Floats, secondMoment v: Floats,
    step: AdamStep
  ) throws {
    let expected = Oracle.adam(
      p: try host(p), g: try host(g), m: try host(m), v: try host(v), step: step)
    try device.adam(
      parameters: p.onDevice(), gradients: g.onDevice(), firstMoment: m.onDevice(),
      secondMoment: v.onDevice(), step: step)
    try oracle.adam(
      parameters: p.onOracle(), gradients: g.onOracle(), firstMoment: m.onOracle(),
      secondMoment: v.onOracle(), step: step)
    try settle("adam", [("p", p, expected[0]), ("m", m, expected[1]), ("v", v, expected[2])])
  }

  package func gather(
    _ pixels: Bytes, order: Indices, start: Int, scale: Float, shift: Float, mean: Floats?,
    into x: Floats
  ) throws {
    let rows = try oracle.download(order.onOracle())[start..<start + x.shape[0]]
    let expected = Oracle.gather(
      try oracle.download(pixels.onOracle()), width: x.shape[1], rows: rows, scale: scale,
      shift: shift, mean: try mean.map(host))
    try device.gather(
      pixels.onDevice(), order: order.onDevice(), start: start, scale: scale, shift: shift,
      mean: mean?.onDevice(), into: x.onDevice())
    try oracle.gather(
      pixels.onOracle(), order: order.onOracle(), start: start, scale: scale, shift: shift,
      mean: mean?.onOracle(), into: x.onOracle())
    try settle("gather", [("x", x, expected)])
  }

  package func countNonzero(_ z: Floats, accumulatingInto counts: Indices) throws {
    try device.countNonzero(z.onDevice(), accumulatingInto: counts.onDevice())
    try oracle.countNonzero(z.onOracle(), accumulatingInto: counts.onOracle())
    try settle("countNonzero", exactly: [("counts", counts)])
  }
}

/// The two memories behind one tensor of a checked backend.
package final class CheckedStorage<Device: AnyObject, Host: AnyObject> {
  let device: Device
  let oracle: Host

  init(device: Device, oracle: Host) {
    self.device = device
    self.oracle = oracle
  }
}

extension Tensor {
  func onDevice<D, H>() -> Tensor<D, Element> where Storage == CheckedStorage<D, H> {
    Tensor<D, Element>(storage: storage.device, offset: offset, shape: shape)
  }
  func onOracle<D, H>() -> Tensor<H, Element> where Storage == CheckedStorage<D, H> {
    Tensor<H, Element>(storage: storage.oracle, offset: offset, shape: shape)
  }
}

extension MatrixOperand {
  func onDevice<D, H>() -> MatrixOperand<D> where Storage == CheckedStorage<D, H> {
    MatrixOperand<D>(tensor.onDevice(), transposed: isTransposed)
  }
  func onOracle<D, H>() -> MatrixOperand<H> where Storage == CheckedStorage<D, H> {
    MatrixOperand<H>(tensor.onOracle(), transposed: isTransposed)
  }
}
