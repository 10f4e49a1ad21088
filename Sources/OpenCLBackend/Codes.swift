import Compute
import OpenCLRuntime

extension OpenCLBackend {
  package func topK(_ a: Floats, k: Int, into z: Floats) throws {
    let shape = CodeShape(a, z)
    shape.requireKept(k)
    let kernel = try codeKernel(family == .cpu ? "topKRow" : "topKGroup", .codes)
    var arguments = Arguments(kernel)
    try arguments.add(a)
    try arguments.add(z)
    try arguments.add(k)
    try launchRows(kernel, &arguments, shape)
  }

  package func batchTopK(_ a: Floats, k: Int, into z: Floats, threshold: Floats) throws {
    let shape = CodeShape(a, z)
    shape.requireKept(k)
    precondition(threshold.count == 1, "one threshold into \(threshold.shape)")
    guard shape.batch > 0 else { return try fill(threshold, with: 0) }
    let kernel = try codeKernel(family == .cpu ? "batchTopKWhole" : "batchTopKGroup", .codes)
    var arguments = Arguments(kernel)
    try arguments.add(a)
    try arguments.add(z)
    try arguments.add(threshold)
    try arguments.add(shape.batch * k)
    try arguments.add(a.count)
    try launch(kernel, as: kernel.name, global: (groupSize, 1), local: (groupSize, 1))
  }

  package func jumpReLU(_ a: Floats, threshold theta: Floats, into z: Floats) throws {
    let shape = CodeShape(a, z, latents: [theta])
    guard a.count > 0 else { return }
    let kernel = try codeKernel("jumpReLU", .codes)
    var arguments = Arguments(kernel)
    try arguments.add(a)
    try arguments.add(theta)
    try arguments.add(z)
    try arguments.add(shape.batch)
    try arguments.add(shape.latents)
    let (columns, rows) = (family.codeColumns, family.codeRows)
    try launch(
      kernel, as: kernel.name,
      global: ((shape.latents + columns - 1) / columns, (shape.batch + rows - 1) / rows),
      local: (localSize(kernel), 1))
  }

  package func jumpReLUBackward(
    _ g: Floats, preactivations a: Floats, threshold theta: Floats, bandwidth: Float,
    penalty: Floats, scale: Float, into da: Floats, thresholdGradient dtheta: Floats
  ) throws {
    let shape = CodeShape(g, a, da, latents: [theta, dtheta])
    precondition(penalty.count == 1 && bandwidth > 0, "one penalty, a positive bandwidth")
    let kernel = try codeKernel(
      family == .cpu ? "jumpReLUBackwardColumns" : "jumpReLUBackwardTile", .codes)
    var arguments = Arguments(kernel)
    try arguments.add(g)
    try arguments.add(a)
    try arguments.add(theta)
    try arguments.add(bandwidth)
    try arguments.add(penalty)
    try arguments.add(scale)
    try arguments.add(da)
    try arguments.add(dtheta)
    try launchColumns(kernel, &arguments, shape)
  }

  package func hardConcrete(
    _ a: Floats, slope: Floats, offset: Floats, noise: GateNoise?, into z: Floats, rowL0: Floats
  ) throws {
    let shape = CodeShape(a, z, latents: [slope, offset])
    precondition(rowL0.count == shape.batch, "one count for each row")
    let kernel = try codeKernel(family == .cpu ? "hardConcreteRow" : "hardConcreteGroup", .gates)
    var arguments = Arguments(kernel)
    try arguments.add(a)
    try arguments.add(slope)
    try arguments.add(offset)
    try arguments.add(Int32(noise == nil ? 0 : 1))
    try arguments.add(Int(noise?.key ?? 0))
    try arguments.add(z)
    try arguments.add(rowL0)
    try launchRows(kernel, &arguments, shape)
  }

  package func hardConcreteBackward(
    _ g: Floats, preactivations a: Floats, slope: Floats, offset: Floats, noise: GateNoise,
    penalty: Floats, scale: Float, into da: Floats, slopeGradient: Floats, offsetGradient: Floats
  ) throws {
    let shape = CodeShape(g, a, da, latents: [slope, offset, slopeGradient, offsetGradient])
    precondition(penalty.count == 1, "one penalty")
    let kernel = try codeKernel(
      family == .cpu ? "hardConcreteBackwardColumns" : "hardConcreteBackwardTile", .gates)
    var arguments = Arguments(kernel)
    try arguments.add(g)
    try arguments.add(a)
    try arguments.add(slope)
    try arguments.add(offset)
    try arguments.add(Int(noise.key))
    try arguments.add(penalty)
    try arguments.add(scale)
    try arguments.add(da)
    try arguments.add(slopeGradient)
    try arguments.add(offsetGradient)
    try launchColumns(kernel, &arguments, shape)
  }

  package func addL1Gradient(
    of z: Floats, penalty: Floats, scale: Float, accumulatingInto g: Floats
  ) throws {
    _ = CodeShape(z, g)
    precondition(penalty.count == 1, "one penalty")
    guard z.count > 0 else { return }
    let kernel = try codeKernel("addL1Gradient", .codes)
    var arguments = Arguments(kernel)
    try arguments.add(z)
    try arguments.add(penalty)
    try arguments.add(scale)
    try arguments.add(g)
    try arguments.add(z.count)
    let block = family.elementwiseBlock
    try launch(
      kernel, as: kernel.name, global: ((z.count + block - 1) / block, 1),
      local: (localSize(kernel), 1))
  }

  package func controlPenalty(rowL0: Floats, control: Floats, settings: PenaltyControl) throws {
    precondition(rowL0.count > 0 && control.count == 2, "\(rowL0.shape) into \(control.shape)")
    let kernel = try codeKernel("controlPenalty", .codes)
    var arguments = Arguments(kernel)
    try arguments.add(rowL0)
    try arguments.add(control)
    try arguments.add(settings.target)
    try arguments.add(settings.proportionalGain)
    try arguments.add(settings.integralGain)
    try arguments.add(settings.lower)
    try arguments.add(settings.upper)
    try arguments.add(rowL0.count)
    try launch(kernel, as: kernel.name, global: (groupSize, 1), local: (groupSize, 1))
  }

  // MARK: Launching

  /// The work-items of a group that takes a row: `GROUP` in the kernels.
  private var groupSize: Int { family == .cpu ? 1 : 64 }

  private func codeKernel(_ name: String, _ source: KernelSource) throws -> Kernel {
    let definitions =
      source == .codes
      ? [
        "GROUP": groupSize, "BLOCK": family.elementwiseBlock, "COLUMN_BLOCK": family.codeColumns,
        "ROW_BLOCK": family.codeRows,
      ] : ["GROUP": groupSize]
    return try library.kernel(name, from: source, definitions)
  }

  /// A few rows to a work-item on a CPU, a row to a group on a GPU.
  private func launchRows(
    _ kernel: Kernel, _ arguments: inout Arguments, _ shape: CodeShape
  ) throws {
    guard shape.batch > 0 else { return }
    let rows = family == .cpu ? max(1, min(8, 1024 / max(1, shape.latents))) : 1
    try arguments.add(shape.batch)
    try arguments.add(shape.latents)
    try arguments.add(rows)
    try launch(
      kernel, as: kernel.name, global: ((shape.batch + rows - 1) / rows * groupSize, 1),
      local: (groupSize, 1))
  }

  /// Eight columns to a work-item on a CPU, to a group of eight by eight on a GPU: a reduction over
  /// the batch.
  private func launchColumns(
    _ kernel: Kernel, _ arguments: inout Arguments, _ shape: CodeShape
  ) throws {
    guard shape.latents > 0 else { return }
    try arguments.add(shape.batch)
    try arguments.add(shape.latents)
    if family == .cpu {
      try launch(
        kernel, as: kernel.name, global: ((shape.latents + 7) / 8, 1), local: (1, 1))
    } else {
      try launch(kernel, as: kernel.name, global: (shape.latents, 8), local: (8, 8))
    }
  }
}

extension DeviceFamily {
  /// Columns and rows that one work-item of `jumpReLU` takes.
  fileprivate var codeColumns: Int { self == .cpu ? 8192 : 1 }
  fileprivate var codeRows: Int { self == .cpu ? 8 : 1 }
}
