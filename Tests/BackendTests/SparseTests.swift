import Compute
import OpenCLBackend
import RandomNumbers
import ReferenceBackend
import TestSupport
import Testing
import Verification

/// The sparse operations in the order in which a training step calls them: what a list of single
/// operations cannot show.
@Suite(.usesDevice) struct SparseTests {
  /// Runs `body` on the reference and on both layouts of the device.
  private func onEachBackend(_ body: (any Backend) throws -> Void) throws {
    try body(ReferenceBackend(threads: 2))
    guard let device = try TestDevice.find() else { return }
    for family in DeviceFamily.allCases {
      try body(try OpenCLBackend(device: device, family: family, tuning: .rule))
    }
  }

  /// The sparse path against products of dense matrices.
  @Test func sparseStepEqualsDenseStep() throws {
    try onEachBackend { try compareWithDense($0) }
  }

  private func compareWithDense<B: Backend>(_ backend: B) throws {
    let host = SparseModel(batch: 24, latents: 40, kept: 5, width: 37, seed: 3)
    let step = try SparseStep(host, on: backend)
    try step.run(
      adam: AdamStep(step: 1, learningRate: 1e-2, epsilon: 1e-2), unitNorm: false)
    let z = try backend.allocate([host.batch, host.latents], of: Float.self)
    try backend.sparseScatter(indices: step.indices, values: step.values, into: z)

    // The dense step, from copies of the same parameters.
    func dense(_ values: [Float], _ shape: Shape) throws -> B.Floats {
      let tensor = try backend.allocate(shape, of: Float.self)
      try backend.upload(values, into: tensor)
      return tensor
    }
    func empty(_ shape: Shape) throws -> B.Floats { try dense(shape.zeros, shape) }
    let (rows, codes, weights): (Shape, Shape, Shape) = (
      [host.batch, host.width], [host.batch, host.latents], [host.latents, host.width]
    )
    let x = try dense(host.x, rows)
    let (d, e) = (try dense(host.decoder, weights), try dense(host.encoder, weights))
    let (b, c) = (
      try dense(host.bias, [host.latents]), try dense(host.outputBias, [host.width])
    )
    let (y, gradient, dz) = (try empty(rows), try empty(rows), try empty(codes))
    let (dD, dE, db) = (try empty(weights), try empty(weights), try empty([host.latents]))
    let (errors, counts) = (try empty([host.batch]), try empty([host.batch]))
    try backend.matmul(
      MatrixOperand(z), MatrixOperand(d), into: y, epilogue: .bias(c, .identity))
    try backend.reconstructionLoss(
      reconstruction: y, target: x, activation: .identity, code: z, scale: host.scale,
      gradient: gradient, rowError: errors, rowL0: counts)
    try backend.matmul(
      MatrixOperand(gradient), MatrixOperand(d, transposed: true), into: dz,
      epilogue: .derivative(of: .relu, at: z))
    try backend.matmul(
      MatrixOperand(z, transposed: true), MatrixOperand(gradient), into: dD, epilogue: .none)
    try backend.matmul(
      MatrixOperand(dz, transposed: true), MatrixOperand(x), into: dE, epilogue: .none)
    try backend.columnSums(of: dz, into: db)

    func expectClose(_ name: String, _ left: B.Floats, _ right: B.Floats, _ tolerance: Float) throws
    {
      let (left, right) = (try backend.download(left), try backend.download(right))
      let scale = right.reduce(0) { max($0, abs($1)) }
      let error = zip(left, right).reduce(0) { max($0, abs($1.0 - $1.1)) }
      #expect(error <= tolerance * scale && scale > 0, "\(backend.name): \(name) off by \(error)")
    }
    let y2 = try empty(rows)
    try backend.sparseDecode(
      indices: step.indices, values: step.values, weight: d, bias: c, into: y2)
    try expectClose("y", y2, y, 1e-5)
    try expectClose("gradient", step.gradient, gradient, 1e-5)
    try expectClose("rowError", step.rowError, errors, 1e-5)
    try expectClose("rowL0", step.rowL0, counts, 0)
    try expectClose("dD", step.dD, dD, 1e-5)
    try expectClose("dE", step.dE, dE, 1e-5)
    try expectClose("db", step.db, db, 1e-5)

    // From moments of zero the lazy Adam is the dense one.
    let adam = AdamStep(step: 1, learningRate: 1e-2, epsilon: 1e-2)
    for (name, parameter, slope, updated) in [
      ("D", d, dD, step.decoder), ("E", e, dE, step.encoder), ("b", b, db, step.bias),
    ] {
      let (m, v) = (try empty(parameter.shape), try empty(parameter.shape))
      try backend.adam(
        parameters: parameter, gradients: slope, firstMoment: m, secondMoment: v, step: adam)
      try expectClose(name, updated.value, parameter, 1e-5)
      try expectClose("\(name)'s first moment", updated.firstMoment, m, 1e-5)
      try expectClose("\(name)'s second moment", updated.secondMoment, v, 1e-5)
    }
  }

  /// The gradients against central differences of the objective in double precision, the selection
  /// held fixed.
  @Test func gradientsAreThoseOfTheObjective() throws {
    try onEachBackend { try compareWithDifferences($0) }
  }

  private func compareWithDifferences<B: Backend>(_ backend: B) throws {
    let host = SparseModel(batch: 6, latents: 12, kept: 3, width: 7, seed: 5)
    let step = try SparseStep(host, on: backend)
    try step.run(adam: AdamStep(step: 1, learningRate: 1e-3), unitNorm: false)
    let indices = try backend.download(step.indices).map(Int.init)
    let values = try backend.download(step.values)
    var parameters = [
      host.decoder.map(Double.init), host.encoder.map(Double.init), host.bias.map(Double.init),
    ]
    for (which, gradient) in try [step.dD, step.dE, step.db].map(backend.download).enumerated() {
      for i in parameters[which].indices {
        let latent = which == 2 ? i : i / host.width
        let fires = indices.indices.contains { indices[$0] == latent && values[$0] > 0 }
        let before = parameters[which][i]
        let h = 1e-5
        parameters[which][i] = before + h
        let above = host.objective(indices, parameters)
        parameters[which][i] = before - h
        let below = host.objective(indices, parameters)
        parameters[which][i] = before
        // Rows of latents that never fired still hold the NaN they were filled with.
        let slope = (above - below) / (2 * h)
        #expect(
          fires ? abs(Double(gradient[i]) - slope) < 2e-5 : gradient[i].isNaN,
          "\(backend.name): parameter \(which), \(i): \(gradient[i]), wanted \(slope)")
      }
    }
  }

  @Test func runsGiveTheSameBitsAndIdleLatentsKeepTheirs() throws {
    try onEachBackend { try compareRuns($0) }
  }

  private func compareRuns<B: Backend>(_ backend: B) throws {
    let host = SparseModel(batch: 9, latents: 70, kept: 4, width: 33, seed: 7)
    func run() throws -> [[UInt32]] {
      let step = try SparseStep(host, on: backend)
      for t in 1...4 {
        try step.run(adam: AdamStep(step: t, learningRate: 1e-2), unitNorm: true)
      }
      return try [step.decoder, step.encoder, step.bias].flatMap {
        [$0.value, $0.firstMoment, $0.secondMoment]
      }.map { try backend.download($0).map(\.bitPattern) }
    }
    let (first, second) = (try run(), try run())
    #expect(first == second, "\(backend.name)")

    let step = try SparseStep(host, on: backend)
    try step.run(adam: AdamStep(step: 1, learningRate: 1e-2), unitNorm: true)
    let offsets = try backend.download(step.offsets)
    let decoder = try backend.download(step.decoder.value)
    let moments = try backend.download(step.encoder.secondMoment)
    #expect(offsets.last == UInt32(try backend.download(step.rowL0).reduce(0, +)))
    var idle = 0
    for j in 0..<host.latents {
      let row = j * host.width..<(j + 1) * host.width
      let norm = decoder[row].reduce(0) { $0 + $1 * $1 }
      if offsets[j] == offsets[j + 1] {
        idle += 1
        #expect(
          zip(decoder[row], host.decoder[row]).allSatisfy { $0.bitPattern == $1.bitPattern }
            && moments[row].allSatisfy { $0.bitPattern == 0 }, "\(backend.name): latent \(j)")
      } else {
        #expect(abs(norm - 1) < 1e-5, "\(backend.name): latent \(j) has the norm \(norm)")
      }
    }
    #expect(idle > 0 && idle < host.latents)
  }

  /// A code of zeros: the reconstruction is the bias, nothing fires and nothing is updated.
  @Test func aCodeOfZerosChangesNothing() throws {
    try onEachBackend { try runWithoutCode($0) }
  }

  private func runWithoutCode<B: Backend>(_ backend: B) throws {
    var host = SparseModel(batch: 5, latents: 11, kept: 11, width: 9, seed: 9)
    host.bias = [Float](repeating: -1000, count: host.latents)
    let step = try SparseStep(host, on: backend)
    try step.run(adam: AdamStep(step: 1, learningRate: 1e-2), unitNorm: true)
    #expect(try backend.download(step.values).allSatisfy { $0 == 0 })
    #expect(try backend.download(step.indices) == (0..<55).map { $0 % 11 })
    #expect(try backend.download(step.offsets).allSatisfy { $0 == 0 })
    #expect(try backend.download(step.firings).allSatisfy { $0 == 0 })
    #expect(try backend.download(step.rowL0).allSatisfy { $0 == 0 })
    #expect(try backend.download(step.codeGradient).allSatisfy { $0 == 0 })
    #expect(try backend.download(step.dD).allSatisfy(\.isNaN))
    #expect(try backend.download(step.decoder.value) == host.decoder)
    #expect(try backend.download(step.encoder.value) == host.encoder)
    #expect(try backend.download(step.bias.value) == host.bias)
    let gradient = try backend.download(step.gradient)
    for (i, slope) in gradient.enumerated() {
      #expect(abs(slope - host.scale * (host.outputBias[i % 9] - host.x[i])) < 1e-6)
    }
  }

  /// There is nothing to divide a row of zeros by.
  @Test func aRowOfZerosStaysZero() throws {
    try onEachBackend { try runWithZeros($0) }
  }

  private func runWithZeros<B: Backend>(_ backend: B) throws {
    var host = SparseModel(batch: 4, latents: 3, kept: 2, width: 6, seed: 11)
    host.decoder = [Float](repeating: 0, count: host.decoder.count)
    // The reconstruction is the target, so that all gradients are zero.
    host.x = (0..<host.x.count).map { host.outputBias[$0 % host.width] }
    host.bias = [1, 2, 3]
    let step = try SparseStep(host, on: backend)
    try step.run(adam: AdamStep(step: 1, learningRate: 1e-2), unitNorm: true)
    #expect(try backend.download(step.rowL0).contains { $0 > 0 })
    #expect(try backend.download(step.decoder.value).allSatisfy { $0 == 0 })
  }

  /// A backend that checks each operation sees all of them, and none differs.
  @Test(arguments: DeviceFamily.allCases) func everyOperationIsChecked(family: DeviceFamily) throws
  {
    guard let device = try TestDevice.find() else { return }
    let backend = CheckedBackend(
      device: try OpenCLBackend(device: device, family: family, tuning: .rule),
      oracle: ReferenceBackend())
    let host = SparseModel(batch: 9, latents: 50, kept: 4, width: 21, seed: 13)
    let step = try SparseStep(host, on: backend)
    try step.run(adam: AdamStep(step: 1, learningRate: 1e-2), unitNorm: true)
    let y = try backend.allocate([9, 21], of: Float.self)
    try backend.sparseDecode(
      indices: step.indices, values: step.values, weight: step.decoder.value,
      bias: step.outputBias, into: y)
    let z = try backend.allocate([9, 50], of: Float.self)
    try backend.sparseScatter(indices: step.indices, values: step.values, into: z)
    let seen = Set(backend.comparisons.map(\.operation))
    #expect(
      seen.isSuperset(of: [
        "sparseTopK", "sparsePass", "sparseGroup", "sparseGradients", "sparseUpdate",
        "sparseDecode", "sparseScatter",
      ]))
  }
}

/// The parameters of a one-layer sparse autoencoder and a batch.
private struct SparseModel {
  let batch, latents, kept, width: Int
  var x, decoder, encoder, bias, outputBias: [Float]
  /// With which the gradients are those of the mean squared error of a row.
  var scale: Float { 2 / Float(batch) }

  init(batch: Int, latents: Int, kept: Int, width: Int, seed: UInt64) {
    (self.batch, self.latents, self.kept, self.width) = (batch, latents, kept, width)
    var generator = SplitMix64(seed: seed)
    func reals(_ count: Int) -> [Float] {
      (0..<count).map { _ in 2 * generator.nextUniform() - 1 }
    }
    x = reals(batch * width)
    (decoder, encoder) = (reals(latents * width), reals(latents * width))
    (bias, outputBias) = (reals(latents), reals(width))
  }

  /// The mean squared error of a row for parameters D, E, b, where each row keeps `indices`.
  func objective(_ indices: [Int], _ parameters: [[Double]]) -> Double {
    var total = 0.0
    for i in 0..<batch {
      let input = x[i * width..<(i + 1) * width].map(Double.init)
      var y = outputBias.map(Double.init)
      for j in indices[i * kept..<(i + 1) * kept] {
        let a = (0..<width).reduce(parameters[2][j]) {
          $0 + input[$1] * parameters[1][j * width + $1]
        }
        for d in 0..<width { y[d] += max(a, 0) * parameters[0][j * width + d] }
      }
      total += zip(y, input).reduce(0) { $0 + ($1.0 - $1.1) * ($1.0 - $1.1) }
    }
    return total / Double(batch)
  }
}

/// A training step's tensors on a backend; gradients are filled with NaN before.
private struct SparseStep<B: Backend> {
  let backend: B
  let scale: Float
  let x, a, outputBias, values, gradient, codeGradient, rowError, rowL0, dD, dE, db: B.Floats
  let indices, offsets, entries, firings: B.Indices
  let decoder, encoder, bias: AdamParameter<B.Storage>

  init(_ host: SparseModel, on backend: B) throws {
    func floats(_ values: [Float], _ shape: Shape) throws -> B.Floats {
      let tensor = try backend.allocate(shape, of: Float.self)
      try backend.upload(values, into: tensor)
      return tensor
    }
    func nothing(_ shape: Shape) throws -> B.Floats {
      try floats([Float](repeating: .nan, count: shape.count), shape)
    }
    func zeros(_ count: Int) throws -> B.Indices {
      let tensor = try backend.allocate([count], of: UInt32.self)
      try backend.upload([UInt32](repeating: 0, count: count), into: tensor)
      return tensor
    }
    func parameter(_ values: [Float], _ shape: Shape) throws -> AdamParameter<B.Storage> {
      AdamParameter(
        value: try floats(values, shape), firstMoment: try floats(shape.zeros, shape),
        secondMoment: try floats(shape.zeros, shape))
    }
    self.backend = backend
    scale = host.scale
    let (rows, code, weights): (Shape, Shape, Shape) = (
      [host.batch, host.width], [host.batch, host.kept], [host.latents, host.width]
    )
    x = try floats(host.x, rows)
    a = try nothing([host.batch, host.latents])
    outputBias = try floats(host.outputBias, [host.width])
    (values, codeGradient) = (try nothing(code), try nothing(code))
    gradient = try nothing(rows)
    (rowError, rowL0) = (try nothing([host.batch]), try nothing([host.batch]))
    (dD, dE, db) = (try nothing(weights), try nothing(weights), try nothing([host.latents]))
    indices = Tensor(storage: try zeros(code.count).storage, shape: code)
    offsets = try zeros(host.latents + 1)
    (entries, firings) = (try zeros(code.count), try zeros(host.latents))
    decoder = try parameter(host.decoder, weights)
    encoder = try parameter(host.encoder, weights)
    bias = try parameter(host.bias, [host.latents])
  }

  /// From the encoder's product to the update; the gradients alone are formed too.
  func run(adam: AdamStep, unitNorm: Bool) throws {
    try backend.matmul(
      MatrixOperand(x), MatrixOperand(encoder.value, transposed: true), into: a,
      epilogue: .bias(bias.value, .identity))
    try backend.sparseTopK(a, indices: indices, values: values)
    try backend.sparsePass(
      indices: indices, values: values, weight: decoder.value, bias: outputBias, target: x,
      scale: scale, gradient: gradient, codeGradient: codeGradient, rowError: rowError,
      rowL0: rowL0)
    try backend.sparseGroup(
      indices: indices, values: values, offsets: offsets, entries: entries,
      accumulatingFirings: firings)
    let batch = SparseBatch(
      offsets: offsets, entries: entries, values: values, codeGradient: codeGradient, input: x,
      gradient: gradient)
    try backend.sparseGradients(batch, decoder: dD, encoder: dE, bias: db)
    try backend.sparseUpdate(
      batch,
      SparseAdam(
        decoder: decoder, encoder: encoder, bias: bias, step: adam, encoderStep: adam,
        unitNorm: unitNorm))
  }
}

extension Shape {
  fileprivate var zeros: [Float] { [Float](repeating: 0, count: count) }
}
