import Compute
import ReferenceBackend
import Testing
import Verification

@Suite struct CheckedSparseTests {
  @Test func twoRightBackendsPass() throws {
    let checked = CheckedBackend(
      device: ReferenceBackend(threads: 1), oracle: ReferenceBackend(threads: 2))
    try everyOperation(on: checked)
    #expect(checked.comparisons.count == 9)
    #expect(checked.comparisons.allSatisfy { $0.comparison.worstRatio <= 1 })
  }

  @Test(
    arguments: [
      "sparseTopK", "sparseScatter", "sparseDecode", "sparsePass", "sparseGroup",
      "sparseGradients", "sparseUpdate", "balanceLatents",
    ])
  func aWrongOperationIsNamed(operation: String) throws {
    let checked = CheckedBackend(
      device: FlawedBackend(flaw: operation), oracle: ReferenceBackend())
    let error = #expect(throws: BackendError.self) { try everyOperation(on: checked) }
    #expect("\(try #require(error))".hasPrefix("\(operation) differs from the reference"))
  }

  private func everyOperation<B: Backend>(on backend: B) throws {
    let (batch, latents, width, k) = (4, 9, 6, 3)
    func floats(_ shape: Shape) throws -> B.Floats { try backend.allocate(shape, of: Float.self) }
    func counts(_ shape: Shape) throws -> B.Indices {
      let tensor = try backend.allocate(shape, of: UInt32.self)
      try backend.upload([UInt32](repeating: 0, count: shape.count), into: tensor)
      return tensor
    }
    let a = try backend.filled([batch, latents], seed: 1)
    let (indices, values) = (try counts([batch, k]), try floats([batch, k]))
    try backend.sparseTopK(a, indices: indices, values: values)
    let z = try floats([batch, latents])
    try backend.sparseScatter(indices: indices, values: values, into: z)
    let weight = try backend.filled([latents, width], seed: 2)
    let bias = try backend.filled([width], seed: 3)
    let y = try floats([batch, width])
    try backend.sparseDecode(
      indices: indices, values: values, weight: weight, bias: bias, into: y)
    let x = try backend.filled([batch, width], seed: 4)
    let (gradient, slopes) = (try floats([batch, width]), try floats([batch, k]))
    try backend.sparsePass(
      indices: indices, values: values, weight: weight, bias: bias, target: x, scale: 0.5,
      gradient: gradient, codeGradient: slopes, rowError: try floats([batch]),
      rowL0: try floats([batch]))
    let (offsets, entries) = (try counts([latents + 1]), try counts([batch * k]))
    let firings = try counts([latents])
    try backend.sparseGroup(
      indices: indices, values: values, offsets: offsets, entries: entries,
      accumulatingFirings: firings)
    let group = SparseBatch(
      offsets: offsets, entries: entries, values: values, codeGradient: slopes, input: x,
      gradient: gradient)
    let encoderSlopes = try backend.filled([latents, width], seed: 5)
    let biasSlopes = try backend.filled([latents], seed: 6)
    try backend.sparseGradients(
      group, decoder: try backend.filled([latents, width], seed: 7), encoder: encoderSlopes,
      bias: biasSlopes)
    func parameter(_ shape: Shape, _ seed: UInt64) throws -> AdamParameter<B.Storage> {
      let (first, second) = (try floats(shape), try floats(shape))
      try backend.fill(first, with: 0)
      try backend.fill(second, with: 0)
      return AdamParameter(
        value: try backend.filled(shape, seed: seed), firstMoment: first, secondMoment: second)
    }
    let step = AdamStep(step: 1, learningRate: 1e-2)
    try backend.sparseUpdate(
      group,
      SparseAdam(
        decoder: try parameter([latents, width], 8), encoder: try parameter([latents, width], 9),
        bias: try parameter([latents], 10), step: step, encoderStep: step, unitNorm: false))
    try backend.balanceLatents(
      counts: firings, totals: try counts([latents]),
      frequency: try backend.filled([latents], seed: 11), bias: biasSlopes,
      settings: LatentBalanceStep(batch: batch, decay: 0.5, threshold: 0, increment: 0.1))
  }
}

extension FlawedBackend {
  /// Counts the last one up, as `spoil` does with numbers.
  private func spoil(_ operation: String, _ tensor: Indices) throws {
    guard operation == flaw else { return }
    var values = try right.download(tensor)
    values[values.count - 1] += 1
    try right.upload(values, into: tensor)
  }

  func sparseTopK(_ a: Floats, indices: Indices, values: Floats) throws {
    try right.sparseTopK(a, indices: indices, values: values)
    try spoil("sparseTopK", values)
  }
  func sparseScatter(indices: Indices, values: Floats, into z: Floats) throws {
    try right.sparseScatter(indices: indices, values: values, into: z)
    try spoil("sparseScatter", z)
  }
  func sparseDecode(
    indices: Indices, values: Floats, weight w: Floats, bias: Floats, into y: Floats
  ) throws {
    try right.sparseDecode(indices: indices, values: values, weight: w, bias: bias, into: y)
    try spoil("sparseDecode", y)
  }
  func sparsePass(
    indices: Indices, values: Floats, weight w: Floats, bias: Floats, target x: Floats,
    scale: Float, gradient: Floats, codeGradient: Floats, rowError: Floats, rowL0: Floats
  ) throws {
    try right.sparsePass(
      indices: indices, values: values, weight: w, bias: bias, target: x, scale: scale,
      gradient: gradient, codeGradient: codeGradient, rowError: rowError, rowL0: rowL0)
    try spoil("sparsePass", gradient)
  }
  func sparseGroup(
    indices: Indices, values: Floats, offsets: Indices, entries: Indices,
    accumulatingFirings firings: Indices
  ) throws {
    try right.sparseGroup(
      indices: indices, values: values, offsets: offsets, entries: entries,
      accumulatingFirings: firings)
    try spoil("sparseGroup", firings)
  }
  func sparseGradients(
    _ batch: SparseBatch<Storage>, decoder dD: Floats, encoder dE: Floats, bias db: Floats
  ) throws {
    try right.sparseGradients(batch, decoder: dD, encoder: dE, bias: db)
    try spoil("sparseGradients", dE)
  }
  func sparseUpdate(_ batch: SparseBatch<Storage>, _ state: SparseAdam<Storage>) throws {
    try right.sparseUpdate(batch, state)
    try spoil("sparseUpdate", state.encoder.value)
  }
  func balanceLatents(
    counts: Indices, totals: Indices, frequency: Floats, bias: Floats, settings: LatentBalanceStep
  ) throws {
    try right.balanceLatents(
      counts: counts, totals: totals, frequency: frequency, bias: bias, settings: settings)
    try spoil("balanceLatents", frequency)
  }
}
