import Compute
import OpenCLRuntime

extension OpenCLBackend {
  package func reconstructionLoss(
    reconstruction y: Floats, target x: Floats, activation: Activation, code z: Floats,
    scale: Float, gradient: Floats, rowError: Floats, rowL0: Floats
  ) throws {
    let shape = LossShape(
      reconstruction: y, target: x, code: z, gradient: gradient, rowError: rowError, rowL0: rowL0)
    guard shape.batch > 0 else { return }
    let kernel = try commonKernel(
      family == .cpu ? "reconstructionLossRow" : "reconstructionLossGroup")
    var arguments = Arguments(kernel)
    try arguments.add(y)
    try arguments.add(x)
    try arguments.add(activation.code)
    try arguments.add(z)
    try arguments.add(scale)
    try arguments.add(gradient)
    try arguments.add(rowError)
    try arguments.add(rowL0)
    try arguments.add(shape.width)
    try arguments.add(shape.latents)
    let local = family == .cpu ? 1 : Self.lossGroup
    try launch(
      kernel, as: "reconstructionLoss", global: (shape.batch * local, 1), local: (local, 1))
  }

  package func countNonzero(_ z: Floats, accumulatingInto counts: Indices) throws {
    precondition(z.shape.rank == 2 && counts.count == z.shape[1], "\(z.shape) into \(counts.shape)")
    let kernel = try commonKernel("countNonzero")
    var arguments = Arguments(kernel)
    try arguments.add(z)
    try arguments.add(counts)
    try reduceColumns(kernel, &arguments, of: z)
  }

  package func columnSums(of x: Floats, into s: Floats) throws {
    precondition(x.shape.rank == 2 && s.count == x.shape[1], "sums of \(x.shape) into \(s.shape)")
    let kernel = try commonKernel("columnSums")
    var arguments = Arguments(kernel)
    try arguments.add(x)
    try arguments.add(s)
    try reduceColumns(kernel, &arguments, of: x)
  }

  private func reduceColumns(
    _ kernel: Kernel, _ arguments: inout Arguments, of x: Floats
  ) throws {
    let (rows, width) = (x.shape[0], x.shape[1])
    guard width > 0 else { return }
    try arguments.add(rows)
    try arguments.add(width)
    try launch(
      kernel, as: kernel.name, global: ((width + family.columns - 1) / family.columns, 1),
      local: (localSize(kernel), 1))
  }
}
