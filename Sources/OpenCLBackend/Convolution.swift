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
    let kernel = try library.kernel("convolution", from: .convolutionGPU)
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
    let transposed = try scratch.floats(w.count, in: context)
    let taps = geometry.kernelHeight * geometry.kernelWidth
    let exchange = try library.kernel("transposeTaps", from: .convolutionGPU)
    var arguments = Arguments(exchange)
    try arguments.add(w)
    try arguments.add(transposed)
    try arguments.add(taps)
    try arguments.add(shape.inputs)
    try arguments.add(shape.outputs)
    try launchPixels(
      exchange, as: exchange.name, channels: shape.inputs, positions: taps * shape.outputs)

    let kernel = try library.kernel("transposedConvolution", from: .convolutionGPU)
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
    let rows = shape.batch * shape.outputHeight
    let bandRows = max(1, max((rows + 63) / 64, 1024 / shape.outputWidth))
    let bands = (rows + bandRows - 1) / bandRows
    let parts = bands == 1 ? dw : try scratch.floats(bands * dw.count, in: context)
    let kernel = try library.kernel("convolutionGradient", from: .convolutionGPU)
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
    let kernel = try library.kernel("channelSums", from: .convolutionGPU)
    var arguments = Arguments(kernel)
    try arguments.add(x)
    try arguments.add(parts)
    try arguments.add(x.positions)
    try arguments.add(x.channels)
    try arguments.add(bandPositions)
    try arguments.add(bands)
    try launchPixels(kernel, as: "channelSums", channels: x.channels, positions: bands)
    try addBands(parts, bands, into: s)
  }

  // MARK: Launching

  /// The sums of the bands, which are `result` itself where there is one band.
  private func addBands(_ parts: Floats, _ bands: Int, into result: Floats) throws {
    guard bands > 1 else { return }
    let kernel = try library.kernel("addBands", from: .convolutionGPU)
    var arguments = Arguments(kernel)
    try arguments.add(parts)
    try arguments.add(result)
    try arguments.add(result.count)
    try arguments.add(bands)
    try launch(kernel, as: kernel.name, global: (result.count, 1), local: (64, 1))
  }

  /// A work-item for each channel of each position; a group holds neighbours of both.
  private func launchPixels(
    _ kernel: Kernel, as label: @autoclosure () -> String, channels: Int, positions: Int
  ) throws {
    var columns = 1
    while columns < min(channels, 64) { columns *= 2 }
    try launch(
      kernel, as: label(), global: (channels, positions), local: (columns, 64 / columns))
  }
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
