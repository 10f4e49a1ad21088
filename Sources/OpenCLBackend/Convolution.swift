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
    try product(x, w, bias, activation, y, shape, isAdjoint: false)
  }

  package func transposedConvolution(
    _ x: Map, weight w: Floats, bias: Floats?, activation: Activation,
    geometry: ConvolutionGeometry, into y: Map
  ) throws {
    let shape = ConvolutionShape(input: y, output: x, weight: w, geometry: geometry)
    precondition(bias.map { $0.count == shape.inputs } ?? true, "a bias for each output")
    guard y.positions > 0 else { return }
    if family == .cpu { return try convolve(x, w, bias, activation, y, shape, isAdjoint: true) }
    try product(x, w, bias, activation, y, shape, isAdjoint: true)
  }

  package func convolutionGradient(
    _ x: Map, _ g: Map, geometry: ConvolutionGeometry, into dw: Floats
  ) throws {
    let shape = ConvolutionShape(input: x, output: g, weight: dw, geometry: geometry)
    guard g.positions > 0 else { return try fill(dw, with: 0) }
    if family == .gpu { return try gradientByProduct(x, g, shape, into: dw) }
    if shape.isFilteredMinimally(.identity, isAdjoint: false) {
      return try gradientMinimally(x, g, shape, into: dw)
    }
    // By the shape alone, so that the order of a sum does not depend on the device's size: bands
    // that keep a device busy, long enough to be worth adding up, in not too much memory.
    let rows = shape.batch * shape.outputHeight
    let most = max(1, min(32, g.positions / 576, (1 << 22) / dw.count))
    let bandRows = (rows + most - 1) / most
    try gradientByBands(x, g, shape, bandRows, (rows + bandRows - 1) / bandRows, into: dw)
  }

  package func channelSums(of x: Map, into s: Floats) throws {
    precondition(s.count == x.channels, "sums of \(x.channels) channels into \(s.shape)")
    guard x.positions > 0 else { return try fill(s, with: 0) }
    let bandPositions =
      family == .cpu
      ? max(1024, (x.positions + 63) / 64) : max(256, (x.positions + 255) / 256)
    let bands = (x.positions + bandPositions - 1) / bandPositions
    let parts = bands == 1 ? s : try scratch.floats(bands * s.count, in: context)
    let kernel = try partsKernel("channelSums")
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
      try launch(
        kernel, as: kernel.name, global: (x.channels, bands * Macro.sumRows),
        local: (Macro.sumColumns, Macro.sumRows))
    }
    try addBands(parts, bands, into: s)
  }

  // MARK: Both layouts

  func convolutionKernel(_ name: String) throws -> Kernel {
    try library.kernel(
      name, from: .convolutionCPU,
      [
        "POSITIONS": Macro.positions, "CHUNK": Macro.chunk, "LANES": registerRows,
        "TILES": Winograd.tiles, "MOST_SOURCES": Winograd.mostSources,
      ])
  }

  private func partsKernel(_ name: String) throws -> Kernel {
    try family == .cpu
      ? convolutionKernel(name) : library.kernel(name, from: .convolutionPartsGPU)
  }

  /// The sums of the bands, which are `result` itself where there is one band.
  private func addBands(_ parts: Floats, _ bands: Int, into result: Floats) throws {
    guard bands > 1 else { return }
    let kernel = try partsKernel("addBands")
    var arguments = Arguments(kernel)
    try arguments.add(parts)
    try arguments.add(result)
    try arguments.add(result.count)
    try arguments.add(bands)
    if family == .cpu {
      try launch(kernel, as: kernel.name, global: (1, 1), local: (localSize(kernel), 1))
    } else {
      try launch(
        kernel, as: kernel.name, global: (result.count, Macro.sumRows),
        local: (Macro.sumColumns, Macro.sumRows))
    }
  }

  // MARK: GPUs

  /// A convolution or its adjoint.
  private func product(
    _ x: Map, _ w: Floats, _ bias: Floats?, _ activation: Activation, _ y: Map,
    _ shape: ConvolutionShape, isAdjoint: Bool
  ) throws {
    let side = isAdjoint ? shape.geometry.stride : 1
    let positions =
      y.batch * ((y.height + side - 1) / side) * ((y.width + side - 1) / side)
    let tile =
      convolutionTile
      ?? .forward(
        positions: positions, phases: side * side, channels: y.channels,
        computeUnits: device.computeUnits)
    // An adjoint's weights are packed, into memory that starts at a multiple of four.
    let source = x.vectorWidth
    let target = isAdjoint || w.offset % 4 == 0 ? y.vectorWidth : 1
    let form = tile.form | UInt64(source) << 24 | UInt64(target) << 28
    try tryConvolution(tile, form: form, source: source, target: target)
    let w = isAdjoint ? try packedTaps(w, shape) : w
    let kernel = try library.kernel(
      "convolve", from: .convolutionGPU, form: form,
      tile.definitions.merging(["VECTOR_X": source, "VECTOR_Y": target]) { _, new in new })
    var arguments = Arguments(kernel)
    try arguments.add(x)
    try arguments.add(w)
    try arguments.add(bias: bias, orElse: w)
    try arguments.add(activation.code)
    try arguments.add(y)
    for size in [
      y.batch, x.height, x.width, x.channels, y.height, y.width, y.channels,
      shape.geometry.kernelHeight, shape.geometry.kernelWidth, shape.geometry.stride,
      shape.geometry.padding, isAdjoint ? 1 : 0,
    ] {
      try arguments.add(size)
    }
    try launch(
      kernel, as: (isAdjoint ? "transposedConvolution" : "convolution") + " \(shape)", tile: tile,
      rows: positions, columns: y.channels, planes: side * side)
  }

  /// The weights of an adjoint, as `convolve` takes them.
  private func packedTaps(_ w: Floats, _ shape: ConvolutionShape) throws -> Floats {
    let geometry = shape.geometry
    let phases = geometry.stride * geometry.stride
    let taps =
      ((geometry.kernelHeight - 1) / geometry.stride + 1)
      * ((geometry.kernelWidth - 1) / geometry.stride + 1)
    let packed = try scratch.floats(
      phases * taps * shape.outputs * shape.inputs, in: context)
    let kernel = try partsKernel("packTaps")
    var arguments = Arguments(kernel)
    try arguments.add(w)
    try arguments.add(packed)
    for size in [
      shape.inputs, shape.outputs, geometry.kernelHeight, geometry.kernelWidth, geometry.stride,
      geometry.padding,
    ] {
      try arguments.add(size)
    }
    // Neighbouring work-items take neighbouring channels of one row.
    let group = localSize(kernel)
    var columns = 1
    while columns * 2 <= group && columns < shape.inputs { columns *= 2 }
    try launch(
      kernel, as: kernel.name, global: (shape.inputs, phases * taps * shape.outputs),
      local: (columns, group / columns))
    return packed
  }

  private func gradientByProduct(
    _ x: Map, _ g: Map, _ shape: ConvolutionShape, into dw: Floats
  ) throws {
    let rows = dw.count / shape.outputs
    let tile = ConvolutionTile.gradient(channels: shape.outputs)
    // By the shape alone, so that the order of a sum does not depend on the device's size: bands
    // that keep a large device busy, long enough to be worth adding up, in not too much memory.
    let most = max(
      1,
      min(
        768 / tile.groups(rows: rows, columns: shape.outputs), g.positions / 128,
        (1 << 22) / dw.count))
    let bandPositions =
      ((g.positions + most - 1) / most + ConvolutionTile.depth - 1)
      / ConvolutionTile.depth * ConvolutionTile.depth
    let bands = (g.positions + bandPositions - 1) / bandPositions
    let form = tile.form | UInt64(x.vectorWidth) << 24 | UInt64(g.vectorWidth) << 28
    try tryConvolutionGradient(
      tile, form: form, source: x.vectorWidth, gradient: g.vectorWidth)
    let parts = bands == 1 ? dw : try scratch.floats(bands * dw.count, in: context)
    let kernel = try library.kernel(
      "convolutionGradient", from: .convolutionGradientGPU, form: form,
      tile.definitions.merging(["VECTOR_X": x.vectorWidth, "VECTOR_G": g.vectorWidth]) {
        _, new in new
      })
    var arguments = Arguments(kernel)
    try arguments.add(x)
    try arguments.add(g)
    try arguments.add(parts)
    try arguments.add(shape)
    try arguments.add(bandPositions)
    try launch(
      kernel, as: "convolutionGradient \(shape)", tile: tile, rows: rows, columns: shape.outputs,
      planes: bands)
    try addBands(parts, bands, into: dw)
  }

  private func launch(
    _ kernel: Kernel, as label: @autoclosure () -> String, tile: ConvolutionTile, rows: Int,
    columns: Int, planes: Int
  ) throws {
    try launch(
      kernel, as: label(),
      global: (
        (columns + tile.columns - 1) / tile.columns * tile.local.columns,
        (rows + tile.rows - 1) / tile.rows * tile.local.rows
      ), local: tile.local, planes: planes)
  }

  // MARK: CPUs

  /// Macros of the kernels that the launches must agree with.
  private enum Macro {
    /// The groups of `Kernels/convolution_parts_gpu.cl`.
    static let (sumColumns, sumRows) = (16, 16)
    // Those of `Kernels/convolution_cpu.cl`:
    /// Positions of a block, a multiple of the lanes.
    static let positions = 96
    /// Positions of a gradient's chunk.
    static let chunk = 192
    /// Channels in registers.
    static let channels = 16
  }

  /// A convolution or its adjoint, from the smaller image to the larger.
  private func convolve(
    _ x: Map, _ w: Floats, _ bias: Floats?, _ activation: Activation, _ y: Map,
    _ shape: ConvolutionShape, isAdjoint: Bool
  ) throws {
    if shape.isFilteredMinimally(activation, isAdjoint: isAdjoint) {
      return try convolveMinimally(x, w, bias, activation, y, shape, isAdjoint: isAdjoint)
    }
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
    let groups = (rows + registerRows - 1) / registerRows
    let blocks = (shape.outputs + Macro.channels - 1) / Macro.channels
    let parts = try scratch.floats(
      bands * blocks * groups * registerRows * Macro.channels, in: context)
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
  mutating func add(_ map: FeatureMap<Memory>) throws {
    try add(map.tensor.storage)
    try add(map.tensor.offset + map.channelOffset)
    try add(map.pitch)
  }

  /// A bias and whether there is one: without, the argument still needs a buffer.
  mutating func add(bias: Tensor<Memory, Float>?, orElse other: Tensor<Memory, Float>) throws {
    try add(bias ?? other)
    try add(bias == nil ? 0 : 1)
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
    try add(bias: bias, orElse: w)
    try add(activation.code)
    try add(y)
    try add(shape)
  }
}
