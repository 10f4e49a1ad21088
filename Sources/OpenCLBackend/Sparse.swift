import Compute
import OpenCLRuntime

/// Sparse codes: on CPUs rows and latents are drawn by ticket, on GPUs each has a work-group.
extension OpenCLBackend {
  /// Macros of `Kernels/sparse.cl` and `sparse_latents.cl` that the launches must agree with.
  private enum Macro {
    static let group = 64
    static let rows = 4
    static let latents = 8
  }

  /// A kernel that goes by rows of the batch.
  private func rowsKernel(_ name: String) throws -> Kernel {
    try library.kernel(
      name + (family == .cpu ? "CPU" : "GPU"), from: .sparse,
      ["GROUP": Macro.group, "ROWS": Macro.rows])
  }

  private func latentsKernel(_ name: String) throws -> Kernel {
    try library.kernel(
      name + (family == .cpu ? "CPU" : "GPU"), from: .sparseLatents,
      ["GROUP": Macro.group, "LATENTS": Macro.latents])
  }

  /// A work-group for each of `count` rows or latents on a GPU; blocks of `block` by ticket on a CPU.
  private func launchSparse(
    _ kernel: Kernel, _ arguments: inout Arguments, as label: String, count: Int, block: Int
  ) throws {
    if family == .cpu {
      try launchByTicket(kernel, &arguments, as: label, blocks: (count + block - 1) / block)
    } else {
      try launch(
        kernel, as: label, global: (count * Macro.group, 1), local: (Macro.group, 1))
    }
  }

  package func sparseTopK(_ a: Floats, indices: Indices, values: Floats) throws {
    let shape = SparseCodeShape(indices: indices, values: values)
    let latents = shape.latents(ofDense: a.shape)
    guard shape.batch > 0 else { return }
    let kernel = try rowsKernel("sparseTopK")
    var arguments = Arguments(kernel)
    try arguments.add(a)
    try arguments.add(indices)
    try arguments.add(values)
    try arguments.add(shape.batch)
    try arguments.add(shape.kept)
    try arguments.add(latents)
    try launchSparse(kernel, &arguments, as: "sparseTopK", count: shape.batch, block: Macro.rows)
  }

  package func sparseScatter(indices: Indices, values: Floats, into z: Floats) throws {
    let shape = SparseCodeShape(indices: indices, values: values)
    let latents = shape.latents(ofDense: z.shape)
    guard shape.batch > 0 else { return }
    let kernel = try rowsKernel("sparseScatter")
    var arguments = Arguments(kernel)
    try arguments.add(indices)
    try arguments.add(values)
    try arguments.add(z)
    try arguments.add(shape.batch)
    try arguments.add(shape.kept)
    try arguments.add(latents)
    try launch(
      kernel, as: "sparseScatter",
      global: family == .cpu ? (shape.batch, 1) : (latents, shape.batch),
      local: (localSize(kernel), 1))
  }

  package func sparseDecode(
    indices: Indices, values: Floats, weight w: Floats, bias: Floats, into y: Floats
  ) throws {
    let shape = SparseCodeShape(indices: indices, values: values)
    let width = shape.width(weight: w, bias: bias, rows: [y])
    guard y.count > 0 else { return }
    let kernel = try rowsKernel("sparseDecode")
    var arguments = Arguments(kernel)
    try arguments.add(indices)
    try arguments.add(values)
    try arguments.add(w)
    try arguments.add(bias)
    try arguments.add(y)
    try arguments.add(shape.batch)
    try arguments.add(shape.kept)
    try arguments.add(width)
    try launchSparse(
      kernel, &arguments, as: "sparseDecode", count: shape.batch, block: Macro.rows)
  }

  package func sparsePass(
    indices: Indices, values: Floats, weight w: Floats, bias: Floats, target x: Floats,
    scale: Float, gradient: Floats, codeGradient: Floats, rowError: Floats, rowL0: Floats
  ) throws {
    let shape = SparseCodeShape(indices: indices, values: values)
    let width = shape.width(weight: w, bias: bias, rows: [x, gradient])
    shape.check(codeGradient: codeGradient, rowError: rowError, rowL0: rowL0)
    guard shape.batch > 0 else { return }
    let kernel = try rowsKernel("sparsePass")
    var arguments = Arguments(kernel)
    try arguments.add(indices)
    try arguments.add(values)
    try arguments.add(w)
    try arguments.add(bias)
    try arguments.add(x)
    try arguments.add(scale)
    try arguments.add(gradient)
    try arguments.add(codeGradient)
    try arguments.add(rowError)
    try arguments.add(rowL0)
    try arguments.add(shape.batch)
    try arguments.add(shape.kept)
    try arguments.add(width)
    try launchSparse(kernel, &arguments, as: "sparsePass", count: shape.batch, block: Macro.rows)
  }

  package func sparseGroup(
    indices: Indices, values: Floats, offsets: Indices, entries: Indices,
    accumulatingFirings firings: Indices
  ) throws {
    let shape = SparseCodeShape(indices: indices, values: values)
    let latents = shape.latents(offsets: offsets, entries: entries, firings: firings)
    guard latents > 0 else { return }
    let kernel = try latentsKernel("sparseGroup")
    var arguments = Arguments(kernel)
    try arguments.add(indices)
    try arguments.add(values)
    try arguments.add(offsets)
    try arguments.add(entries)
    try arguments.add(firings)
    try arguments.add(shape.batch * shape.kept)
    try arguments.add(latents)
    let isCPU = family == .cpu
    try launch(
      kernel, as: "sparseGroup", global: (isCPU ? 1 : latents, 1),
      local: (isCPU ? 1 : Macro.group, 1))
  }

  package func sparseGradients(
    _ batch: SparseBatch<Storage>, decoder dD: Floats, encoder dE: Floats, bias db: Floats
  ) throws {
    let shape = SparseBatchShape(batch)
    shape.check(decoder: dD, encoder: dE, bias: db)
    let kernel = try latentsKernel("sparseGradients")
    var arguments = Arguments(kernel)
    try add(batch, shape, to: &arguments)
    try arguments.add(dD)
    try arguments.add(dE)
    try arguments.add(db)
    try launchSparse(
      kernel, &arguments, as: "sparseGradients", count: shape.latents, block: Macro.latents)
  }

  package func sparseUpdate(_ batch: SparseBatch<Storage>, _ state: SparseAdam<Storage>) throws {
    let shape = SparseBatchShape(batch)
    shape.check(
      decoder: state.decoder.value, encoder: state.encoder.value, bias: state.bias.value)
    let kernel = try latentsKernel("sparseUpdate")
    var arguments = Arguments(kernel)
    try add(batch, shape, to: &arguments)
    for parameter in [state.decoder, state.encoder, state.bias] {
      try arguments.add(parameter.value)
      try arguments.add(parameter.firstMoment)
      try arguments.add(parameter.secondMoment)
    }
    try arguments.add(state.unitNorm ? 1 : 0)
    let step = state.step
    for number in [
      step.beta1, 1 - step.beta1, step.beta2, 1 - step.beta2, step.stepSize,
      step.secondMomentScale, step.epsilon, state.encoderStep.stepSize,
    ] {
      try arguments.add(number)
    }
    try launchSparse(
      kernel, &arguments, as: "sparseUpdate", count: shape.latents, block: Macro.latents)
  }

  private func add(
    _ batch: SparseBatch<Storage>, _ shape: SparseBatchShape, to arguments: inout Arguments
  ) throws {
    try arguments.add(batch.offsets)
    try arguments.add(batch.entries)
    try arguments.add(batch.values)
    try arguments.add(batch.codeGradient)
    try arguments.add(batch.input)
    try arguments.add(batch.gradient)
    try arguments.add(shape.kept)
    try arguments.add(shape.width)
    try arguments.add(shape.latents)
  }
}
