import Compute
import OpenCLRuntime

extension OpenCLBackend {
  package func momentumStep(
    parameters p: Floats, gradients g: Floats, velocity v: Floats, rate: Float, momentum: Float
  ) throws {
    precondition(g.count == p.count && v.count == p.count, "one arena shape")
    let kernel = try optimizerKernel("momentumStep")
    var arguments = Arguments(kernel)
    try arguments.add(p)
    try arguments.add(g)
    try arguments.add(v)
    try arguments.add(p.count)
    try arguments.add(rate)
    try arguments.add(momentum)
    try launchElementwise(kernel, count: p.count)
  }

  package func accumulateAverage(of p: Floats, decay: Float, into average: Floats) throws {
    precondition(p.count == average.count, "\(p.shape) into \(average.shape)")
    let kernel = try optimizerKernel("accumulateAverage")
    var arguments = Arguments(kernel)
    try arguments.add(p)
    try arguments.add(average)
    try arguments.add(p.count)
    try arguments.add(decay)
    try arguments.add(1 - decay)
    try launchElementwise(kernel, count: p.count)
  }

  package func clampBelow(_ p: Floats, bound: Float) throws {
    let kernel = try optimizerKernel("clampBelow")
    var arguments = Arguments(kernel)
    try arguments.add(p)
    try arguments.add(p.count)
    try arguments.add(bound)
    try launchElementwise(kernel, count: p.count)
  }

  package func clipNorm(of g: Floats, limit: Float, norm: Floats) throws {
    precondition(limit > 0 && norm.count == 1, "a limit of \(limit), a norm of \(norm.shape)")
    guard g.count > 0 else { return try fill(norm, with: 0) }
    // As many parts as keep a device busy, none too small to be worth a launch: by the count alone,
    // so that the order of the sum does not depend on the device's size.
    let share = max(4096, (g.count + 255) / 256)
    let parts = try scratch.floats((g.count + share - 1) / share, in: context)
    let squares = try optimizerKernel(family == .cpu ? "squareParts" : "squarePartsGroup")
    var arguments = Arguments(squares)
    try arguments.add(g)
    try arguments.add(parts)
    try arguments.add(g.count)
    try arguments.add(share)
    try launchOnGroups(squares, parts.count)
    try addUp(parts, into: norm, root: true)

    let scale = try optimizerKernel("scaleToNorm")
    arguments = Arguments(scale)
    try arguments.add(g)
    try arguments.add(norm)
    try arguments.add(g.count)
    try arguments.add(limit)
    try launchElementwise(scale, count: g.count)
  }

  package func normaliseRows(_ w: Floats) throws {
    precondition(w.shape.rank == 2, "rows of \(w.shape)")
    guard w.count > 0 else { return }
    let kernel = try optimizerKernel(family == .cpu ? "normaliseRows" : "normaliseRowsGroup")
    var arguments = Arguments(kernel)
    try arguments.add(w)
    try launchRows(kernel, &arguments, of: w)
  }

  package func projectRows(_ g: Floats, orthogonalTo w: Floats) throws {
    precondition(w.shape.rank == 2 && g.shape == w.shape, "\(g.shape) against \(w.shape)")
    guard w.count > 0 else { return }
    let kernel = try optimizerKernel(family == .cpu ? "projectRows" : "projectRowsGroup")
    var arguments = Arguments(kernel)
    try arguments.add(g)
    try arguments.add(w)
    try launchRows(kernel, &arguments, of: w)
  }

  package func addContractiveGradient(
    code z: Floats, weight w: Floats, unitsAreRows: Bool, scale: Float, accumulatingInto g: Floats,
    penalty: Floats
  ) throws {
    let shape = ContractiveShape(
      code: z, weight: w, unitsAreRows: unitsAreRows, gradient: g, penalty: penalty)
    guard shape.latents > 0 else { return try fill(penalty, with: 0) }
    let parts = try scratch.floats(shape.latents, in: context)
    let kernel = try optimizerKernel(
      !unitsAreRows
        ? "contractiveColumns" : family == .cpu ? "contractiveRows" : "contractiveRowsGroup")
    var arguments = Arguments(kernel)
    try arguments.add(z)
    try arguments.add(w)
    try arguments.add(g)
    try arguments.add(parts)
    try arguments.add(shape.batch)
    try arguments.add(shape.latents)
    try arguments.add(shape.width)
    try arguments.add(scale)
    if unitsAreRows {
      try launchOnGroups(kernel, family == .cpu ? (shape.latents + 7) / 8 : shape.latents)
    } else {
      try launch(
        kernel, as: kernel.name,
        global: ((shape.latents + family.columns - 1) / family.columns, 1),
        local: (localSize(kernel), 1))
    }
    try addUp(parts, into: penalty, root: false)
  }

  // MARK: Launching

  private static var group: Int { 64 }

  private func optimizerKernel(_ name: String) throws -> Kernel {
    try library.kernel(
      name, from: .optimizer,
      [
        "BLOCK": family.elementwiseBlock, "ROWS": family.rows, "COLUMNS": family.columns,
        "GROUP": Self.group,
      ])
  }

  /// result = the sum of the parts, or its square root.
  private func addUp(_ parts: Floats, into result: Floats, root: Bool) throws {
    let kernel = try optimizerKernel(family == .cpu ? "total" : "totalGroup")
    var arguments = Arguments(kernel)
    try arguments.add(parts)
    try arguments.add(result)
    try arguments.add(parts.count)
    try arguments.add(root ? 1 : 0)
    try launchOnGroups(kernel, 1)
  }

  private func launchRows(
    _ kernel: Kernel, _ arguments: inout Arguments, of w: Floats
  ) throws {
    let rows = w.shape[0]
    try arguments.add(rows)
    try arguments.add(w.shape[1])
    try launchOnGroups(
      kernel, family == .cpu ? (rows + family.rows - 1) / family.rows : rows)
  }

  /// `count` work-items on a CPU, as many whole work-groups on a GPU.
  private func launchOnGroups(_ kernel: Kernel, _ count: Int) throws {
    let local = family == .cpu ? 1 : Self.group
    try launch(kernel, as: kernel.name, global: (count * local, 1), local: (local, 1))
  }
}
