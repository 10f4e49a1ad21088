import Compute
import OpenCLRuntime

extension OpenCLBackend {
  package func gather(
    _ pixels: Bytes, order: Indices, start: Int, scale: Float, shift: Float, mean: Floats?,
    into x: Floats
  ) throws {
    let shape = GatherShape(pixels, order: order, start: start, mean: mean, into: x)
    guard x.count > 0 else { return }
    let block = family.gatherBlock
    let rows = family.gatherRows
    let kernel = try commonKernel("gather")
    var arguments = Arguments(kernel)
    try arguments.add(pixels)
    try arguments.add(order.view(at: start, shape: [shape.batch]))
    try arguments.add(x)
    try arguments.add(shape.batch)
    try arguments.add(shape.width)
    try arguments.add(scale)
    try arguments.add(shift)
    try arguments.add(mean == nil ? 0 : 1)
    // Some tensor must stand there, but it is not read without a mean.
    try arguments.add(mean ?? x)
    try launch(
      kernel, as: "gather",
      global: ((shape.width + block - 1) / block, (shape.batch + rows - 1) / rows),
      local: (min(localSize(kernel), 32), 1))
  }
}
