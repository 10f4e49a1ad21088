import Compute
import ReferenceBackend
import Testing
import Verification

@Suite struct CheckedBackendTests {
  @Test func twoRightBackendsPass() throws {
    let checked = CheckedBackend(
      device: ReferenceBackend(threads: 1), oracle: ReferenceBackend(threads: 2))
    try everyOperation(on: checked)
    #expect(checked.comparisons.count == 11)
    #expect(checked.comparisons.allSatisfy { $0.comparison.worstRatio <= 1 })
  }

  /// A slight error in any one operation is found and named.
  @Test(
    arguments: [
      "matmul", "denseForward", "denseBackward", "densePass", "denseGradients", "columnSums",
      "reconstructionLoss", "adam", "gather", "countNonzero", "fill",
    ])
  func aWrongOperationIsNamed(operation: String) throws {
    let checked = CheckedBackend(
      device: FlawedBackend(flaw: operation), oracle: ReferenceBackend())
    let error = #expect(throws: BackendError.self) { try everyOperation(on: checked) }
    #expect("\(try #require(error))".hasPrefix("\(operation) differs from the reference"))
  }

  /// Without stopping, both sides go on from the device's bits: one flaw does not taint the rest.
  @Test func aDifferenceIsRecordedOnceAndResynchronised() throws {
    let checked = CheckedBackend(
      device: FlawedBackend(flaw: "gather"), oracle: ReferenceBackend(), stopsAtMismatch: false)
    try everyOperation(on: checked)
    #expect(checked.comparisons.filter { !$0.comparison.passes }.map(\.operation) == ["gather"])
  }

  private func everyOperation<B: Backend>(on backend: B) throws {
    let pixels = try backend.allocate([4, 6], of: UInt8.self)
    try backend.upload((0..<24).map { UInt8($0 * 10) }, into: pixels)
    let order = try backend.allocate([4], of: UInt32.self)
    try backend.upload([2, 0, 3, 1], into: order)
    let x = try backend.allocate([4, 6], of: Float.self)
    try backend.gather(pixels, order: order, start: 0, scale: 1 / 255, shift: 0, into: x)
    let w = try backend.filled([6, 6], seed: 1)
    let y = try backend.allocate([4, 6], of: Float.self)
    let bias = try backend.filled([6], seed: 2)
    try backend.matmul(MatrixOperand(x), MatrixOperand(w), into: y, epilogue: .bias(bias, .sigmoid))
    let gradient = try backend.allocate([4, 6], of: Float.self)
    let errors = try backend.allocate([4], of: Float.self)
    let counts = try backend.allocate([4], of: Float.self)
    try backend.reconstructionLoss(
      reconstruction: y, target: x, activation: .sigmoid, code: x, scale: 0.1, gradient: gradient,
      rowError: errors, rowL0: counts)
    let slopes = try backend.allocate([6, 6], of: Float.self)
    try backend.matmul(
      MatrixOperand(x, transposed: true), MatrixOperand(gradient), into: slopes,
      epilogue: .columnSums(into: bias))
    try backend.denseForward(
      x, through: [DenseLayer(weight: w, bias: bias, activation: .tanh, output: y)])
    let below = try backend.allocate([4, 6], of: Float.self)
    try backend.denseBackward(
      gradient,
      through: [DenseBackwardLayer(weight: w, activation: .tanh, below: y, gradient: below)])
    try backend.densePass(
      x, forward: [DenseLayer(weight: w, bias: bias, activation: .tanh, output: y)],
      loss: ReconstructionLoss(
        target: x, activation: .tanh, code: y, scale: 0.1, gradient: gradient, rowError: errors,
        rowL0: counts),
      backward: [DenseBackwardLayer(weight: w, activation: .tanh, below: x, gradient: below)])
    try backend.denseGradients([
      DenseGradient(input: x, delta: below, weightGradient: slopes, biasGradient: bias)
    ])
    let sums = try backend.allocate([6], of: Float.self)
    try backend.columnSums(of: gradient, into: sums)
    let m = try backend.allocate([6, 6], of: Float.self)
    let v = try backend.allocate([6, 6], of: Float.self)
    try backend.fill(m, with: 0)
    try backend.fill(v, with: 0)
    try backend.adam(
      parameters: w, gradients: slopes, firstMoment: m, secondMoment: v,
      step: AdamStep(step: 1, learningRate: 1e-3))
    let firings = try backend.allocate([6], of: UInt32.self)
    try backend.upload([UInt32](repeating: 0, count: 6), into: firings)
    try backend.countNonzero(x, accumulatingInto: firings)
  }
}

/// The reference, but for one operation, whose first output is off by one part in a thousand.
final class FlawedBackend: Backend {
  typealias Storage = ReferenceStorage
  let right = ReferenceBackend()
  private let flaw: String
  var name: String { "flawed" }

  init(flaw: String) { self.flaw = flaw }

  func spoil(_ operation: String, _ tensor: Floats) throws {
    guard operation == flaw else { return }
    var values = try right.download(tensor)
    values[values.count - 1] = values[values.count - 1] * 1.001 + 1e-3
    try right.upload(values, into: tensor)
  }

  func allocate<Element: Scalar>(
    _ shape: Shape, of type: Element.Type
  ) throws -> Tensor<Storage, Element> { try right.allocate(shape, of: type) }
  func upload<Element: Scalar>(
    _ values: [Element], into tensor: Tensor<Storage, Element>
  ) throws { try right.upload(values, into: tensor) }
  func download<Element: Scalar>(_ tensor: Tensor<Storage, Element>) throws -> [Element] {
    try right.download(tensor)
  }
  func beginDownload(_ tensor: Floats) throws -> any PendingDownload {
    try right.beginDownload(tensor)
  }
  func finish() throws {}

  func fill(_ y: Floats, with value: Float) throws {
    try right.fill(y, with: value)
    try spoil("fill", y)
  }
  func matmul(
    _ a: MatrixOperand<Storage>, _ b: MatrixOperand<Storage>, into c: Floats,
    epilogue: MatmulEpilogue<Storage>
  ) throws {
    try right.matmul(a, b, into: c, epilogue: epilogue)
    try spoil("matmul", c)
  }
  func denseForward(_ x: Floats, through layers: [DenseLayer<Storage>]) throws {
    try right.denseForward(x, through: layers)
    try spoil("denseForward", layers[0].output)
  }
  func denseBackward(_ delta: Floats, through layers: [DenseBackwardLayer<Storage>]) throws {
    try right.denseBackward(delta, through: layers)
    try spoil("denseBackward", layers[0].gradient)
  }
  func densePass(
    _ x: Floats, forward: [DenseLayer<Storage>], loss: ReconstructionLoss<Storage>,
    backward: [DenseBackwardLayer<Storage>]
  ) throws {
    try right.densePass(x, forward: forward, loss: loss, backward: backward)
    try spoil("densePass", loss.rowError)
  }
  func denseGradients(_ layers: [DenseGradient<Storage>]) throws {
    try right.denseGradients(layers)
    try spoil("denseGradients", layers[0].biasGradient)
  }
  func columnSums(of x: Floats, into s: Floats) throws {
    try right.columnSums(of: x, into: s)
    try spoil("columnSums", s)
  }
  func reconstructionLoss(
    reconstruction y: Floats, target x: Floats, activation: Activation, code z: Floats,
    scale: Float, gradient: Floats, rowError: Floats, rowL0: Floats
  ) throws {
    try right.reconstructionLoss(
      reconstruction: y, target: x, activation: activation, code: z, scale: scale,
      gradient: gradient, rowError: rowError, rowL0: rowL0)
    try spoil("reconstructionLoss", gradient)
  }
  func adam(
    parameters p: Floats, gradients g: Floats, firstMoment m: Floats, secondMoment v: Floats,
    step: AdamStep
  ) throws {
    try right.adam(
      parameters: p, gradients: g, firstMoment: m, secondMoment: v, step: step)
    try spoil("adam", v)
  }
  func gather(
    _ pixels: Bytes, order: Indices, start: Int, scale: Float, shift: Float, into x: Floats
  ) throws {
    try right.gather(pixels, order: order, start: start, scale: scale, shift: shift, into: x)
    try spoil("gather", x)
  }
  func countNonzero(_ z: Floats, accumulatingInto counts: Indices) throws {
    try right.countNonzero(z, accumulatingInto: counts)
    guard flaw == "countNonzero" else { return }
    var values = try right.download(counts)
    values[0] += 1
    try right.upload(values, into: counts)
  }
}
