import Compute
import OpenCLRuntime

extension OpenCLBackend {
  package func convolution(
    _ x: Map, weight w: Floats, bias: Floats?, activation: Activation,
    geometry: ConvolutionGeometry, into y: Map
  ) throws {
    let shape = ConvolutionShape(input: x, output: y, weight: w, geometry: geometry)
    precondition(bias.map { $0.count == shape.outputs } ?? true, "a bias for each output")
    guard y.positions > 0 else { return }
    if family == .cpu { return try convolve(x, w, bias, activation, y, shape, isAdjoint: false) }
    let kernel = try convolutionKernel("convolution")
    var arguments = Arguments(kernel)
    try arguments.add(x, w, bias, activation, y, shape)
    try launchPixels(
      kernel, as: "convolution \(shape)", channels: shape.outputs, positions: y.positions)
  }

  package func transposedConvolution(
    _ x: Map, weight w: Floats, bias: Floats?, activation: Activation,
    geometry: ConvolutionGeometry, into y: Map
  ) throws {
    let shape = ConvolutionShape(input: y, output: x, weight: w, geometry: geometry)
    precondition(bias.map { $0.count == shape.inputs } ?? true, "a bias for each output")
    guard y.positions > 0 else { return }
    if family == .cpu { return try convolve(x, w, bias, activation, y, shape, isAdjoint: true) }
    // So that neighbouring work-items read neighbouring weights.
    let transposed = try scratch.floats(w.count, in: context)
    let exchange = try convolutionKernel("transposeTaps")
    var arguments = Arguments(exchange)
    try arguments.add(w)
    try arguments.add(transposed)
    try arguments.add(geometry.taps)
    try arguments.add(shape.inputs)
    try arguments.add(shape.outputs)
    try launchPixels(
      exchange, as: exchange.name, channels: shape.inputs,
      positions: geometry.taps * shape.outputs)

    let kernel = try convolutionKernel("transposedConvolution")
    arguments = Arguments(kernel)
    try arguments.add(x, transposed, bias, activation, y, shape)
    try launchPixels(
      kernel, as: "transposedConvolution \(shape)", channels: shape.inputs,
      positions: y.positions)
  }

  package func convolutionGradient(
    _ x: Map, _ g: Map, geometry: ConvolutionGeometry, into dw: Floats
  ) throws {
    let shape = ConvolutionShape(input: x, output: g, weight: dw, geometry: geometry)
    guard g.positions > 0 else { return try fill(dw, with: 0) }
    // By the shape alone, so that the order of a sum does not depend on the device's size: bands
    // that keep a device busy, long enough to be worth adding up, in not too much memory.
    let rows = shape.batch * shape.outputHeight
    let most = max(1, min(32, g.positions / 576, (1 << 22) / dw.count))
    let bandRows = (rows + most - 1) / most
    let bands = (rows + bandRows - 1) / bandRows
    if family == .cpu { return try gradientByBands(x, g, shape, bandRows, bands, into: dw) }

    let parts = bands == 1 ? dw : try scratch.floats(bands * dw.count, in: context)
    let kernel = try convolutionKernel("convolutionGradient")
    var arguments = Arguments(kernel)
    try arguments.add(x)
    try arguments.add(g)
    try arguments.add(parts)
    try arguments.add(shape)
    try arguments.add(bandRows)
    try arguments.add(bands)
    try launchPixels(
      kernel, as: "convolutionGradient \(shape)", channels: shape.outputs,
      positions: dw.count / shape.outputs * bands)
    try addBands(parts, bands, into: dw)
  }

  package func channelSums(of x: Map, into s: Floats) throws {
    precondition(s.count == x.channels, "sums of \(x.channels) channels into \(s.shape)")
    guard x.positions > 0 else { return try fill(s, with: 0) }
    let bandPositions = max(1024, (x.positions + 63) / 64)
    let bands = (x.positions + bandPositions - 1) / bandPositions
    let parts = bands == 1 ? s : try scratch.floats(bands * s.count, in: context)
    let kernel = try convolutionKernel("channelSums")
    var arguments = Arguments(kernel)
    try arguments.add(x)
    try arguments.add(parts)
    try arguments.add(x.positions)
    try arguments.add(x.channels)
    try arguments.add(bandPositions)
    try arguments.add(bands)
    if family == .cpu {
      try launch(kernel, as: kernel.name, global: (bands, 1), local: (1, 1))
    } else {
      try launchPixels(kernel, as: kernel.name, channels: x.channels, positions: bands)
    }
    try addBands(parts, bands, into: s)
  }

  // MARK: Both layouts

  private func convolutionKernel(_ name: String) throws -> Kernel {
    family == .cpu
      ? try library.kernel(
        name, from: .convolutionCPU,
        ["POSITIONS": Macro.positions, "CHUNK": Macro.chunk])
      : try library.kernel(name, from: .convolutionGPU)
  }

  /// The sums of the bands, which are `result` itself where there is one band.
  private func addBands(_ parts: Floats, _ bands: Int, into result: Floats) throws {
    guard bands > 1 else { return }
    let kernel = try convolutionKernel("addBands")
    var arguments = Arguments(kernel)
    try arguments.add(parts)
    try arguments.add(result)
    try arguments.add(result.count)
    try arguments.add(bands)
    try launch(
      kernel, as: kernel.name, global: (family == .cpu ? 1 : result.count, 1),
      local: (localSize(kernel), 1))
  }

  // MARK: GPUs

  /// A work-item for each channel of each position; a group holds neighbours of both.
  private func launchPixels(
    _ kernel: Kernel, as label: @autoclosure () -> String, channels: Int, positions: Int
  ) throws {
    let group = localSize(kernel)
    var columns = 1
    while columns * 2 <= group && columns < channels { columns *= 2 }
    try launch(
      kernel, as: label(), global: (channels, positions), local: (columns, group / columns))
  }

  // MARK: CPUs

  /// Macros of `Kernels/convolution_cpu.cl` that the launches must agree with.
  private enum Macro {
    /// Positions of a block, a multiple of the lanes.
    static let positions = 96
    /// Positions of a gradient's chunk.
    static let chunk = 192
    /// Pixels, or rows of a gradient, in registers: as the kernels spell them out.
    static let lanes = 6
    /// Channels in registers.
    static let channels = 16
  }

  /// A convolution or its adjoint, from the smaller image to the larger.
  private func convolve(
    _ x: Map, _ w: Floats, _ bias: Floats?, _ activation: Activation, _ y: Map,
    _ shape: ConvolutionShape, isAdjoint: Bool
  ) throws {
    let geometry = shape.geometry
    // The adjoint has a phase for each place of its output within a stride.
    let side = isAdjoint ? geometry.stride : 1
    let (tapRows, tapColumns) = (
      (geometry.kernelHeight - 1) / side + 1, (geometry.kernelWidth - 1) / side + 1
    )
    let rows =
      side * side * ((y.channels + Macro.channels - 1) / Macro.channels) * tapRows * tapColumns
    let packed = try scratch.floats((rows * Macro.channels + 1) * x.channels, in: context)
    let pack = try convolutionKernel("packTaps")
    var arguments = Arguments(pack)
    try arguments.add(w)
    try arguments.add(packed)
    try arguments.add(shape.inputs)
    try arguments.add(shape.outputs)
    try arguments.add(geometry.kernelHeight)
    try arguments.add(geometry.kernelWidth)
    try arguments.add(geometry.stride)
    try arguments.add(geometry.padding)
    try arguments.add(isAdjoint ? 1 : 0)
    try launch(pack, as: pack.name, global: (rows + 1, 1), local: (1, 1))

    let kernel = try convolutionKernel("convolve")
    arguments = Arguments(kernel)
    try arguments.add(x, packed, bias, activation, y, shape)
    try arguments.add(isAdjoint ? 1 : 0)
    let phase =
      y.batch * ((y.height + side - 1) / side) * ((y.width + side - 1) / side)
    try launchByTicket(
      kernel, &arguments,
      as: (isAdjoint ? "transposedConvolution" : "convolution") + " \(shape)",
      blocks: (phase + Macro.positions - 1) / Macro.positions * side * side)
  }

  private func gradientByBands(
    _ x: Map, _ g: Map, _ shape: ConvolutionShape, _ bandRows: Int, _ bands: Int, into dw: Floats
  ) throws {
    let rows = shape.geometry.taps * shape.inputs
    let groups = (rows + Macro.lanes - 1) / Macro.lanes
    let blocks = (shape.outputs + Macro.channels - 1) / Macro.channels
    let parts = try scratch.floats(
      bands * blocks * groups * Macro.lanes * Macro.channels, in: context)
    let kernel = try convolutionKernel("gradientBands")
    var arguments = Arguments(kernel)
    try arguments.add(x)
    try arguments.add(g)
    try arguments.add(parts)
    try arguments.add(shape)
    try arguments.add(bandRows)
    try arguments.add(bands)
    try launchByTicket(
      kernel, &arguments, as: "convolutionGradient \(shape)", blocks: bands * blocks)

    let add = try convolutionKernel("addGradient")
    arguments = Arguments(add)
    try arguments.add(parts)
    try arguments.add(dw)
    try arguments.add(rows)
    try arguments.add(shape.outputs)
    try arguments.add(bands)
    try launch(add, as: add.name, global: (groups, 1), local: (1, 1))
  }
}

extension ConvolutionGeometry {
  fileprivate var taps: Int { kernelHeight * kernelWidth }
}

extension Arguments {
  /// A map's first element, and how far apart its pixels lie.
  fileprivate mutating func add(_ map: FeatureMap<Memory>) throws {
    try add(map.tensor.storage)
    try add(map.tensor.offset + map.channelOffset)
    try add(map.pitch)
  }

  fileprivate mutating func add(_ shape: ConvolutionShape) throws {
    for size in [
      shape.batch, shape.height, shape.width, shape.inputs, shape.outputHeight,
      shape.outputWidth, shape.outputs, shape.geometry.kernelHeight, shape.geometry.kernelWidth,
      shape.geometry.stride, shape.geometry.padding,
    ] {
      try add(size)
    }
  }

  fileprivate mutating func add(
    _ x: FeatureMap<Memory>, _ w: Tensor<Memory, Float>, _ bias: Tensor<Memory, Float>?,
    _ activation: Activation, _ y: FeatureMap<Memory>, _ shape: ConvolutionShape
  ) throws {
    try add(x)
    try add(w)
    // Without a bias the argument still needs a buffer.
    try add(bias ?? w)
    try add(bias == nil ? 0 : 1)
    try add(activation.code)
    try add(y)
    try add(shape)
  }
}
