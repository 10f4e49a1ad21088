import Compute
import OpenCLRuntime

/// Macros of `Kernels/winograd_cpu.cl` that its launches must agree with.
enum Winograd {
  /// Tiles that are made together.
  static let tiles = 24
  /// Products for a tile's four results.
  static let places = 16
  /// Channels in a register.
  static let channels = 16
  /// The most channels that others are made from: as many zeros lie beyond an image's edge.
  static let mostSources = OpenCLBackend.zeroCount
}

/// 3x3 convolutions without a stride on CPU devices, by Winograd's minimal filtering.
extension OpenCLBackend {
  /// A convolution or its adjoint, for which `isFilteredMinimally`.
  func convolveMinimally(
    _ x: Map, _ w: Floats, _ bias: Floats?, _ activation: Activation, _ y: Map,
    _ shape: ConvolutionShape, isAdjoint: Bool
  ) throws {
    let blocks = (y.channels + Winograd.channels - 1) / Winograd.channels
    let packed = try scratch.floats(
      blocks * Winograd.channels * Winograd.places * x.channels, in: context)
    let pack = try convolutionKernel("packWinograd")
    var arguments = Arguments(pack)
    try arguments.add(w)
    try arguments.add(packed)
    try arguments.add(x.channels)
    try arguments.add(y.channels)
    try arguments.add(isAdjoint ? 1 : 0)
    try launch(pack, as: pack.name, global: (blocks * x.channels, 1), local: (1, 1))

    let kernel = try convolutionKernel("convolveWinograd")
    arguments = Arguments(kernel)
    try arguments.add(x)
    try arguments.add(Floats(storage: zeros, shape: [Self.zeroCount]))
    try arguments.add(packed)
    try arguments.add(bias: bias, orElse: w)
    try arguments.add(activation == .relu ? 1 : 0)
    try arguments.add(y)
    let padding = isAdjoint ? 2 - shape.geometry.padding : shape.geometry.padding
    for size in [
      y.batch, x.height, x.width, x.channels, y.height, y.width, y.channels, padding,
    ] {
      try arguments.add(size)
    }
    let tiles = y.batch * ((y.height + 1) / 2) * ((y.width + 1) / 2)
    try launchByTicket(
      kernel, &arguments,
      as: (isAdjoint ? "transposedConvolution" : "convolution") + " \(shape)",
      blocks: (tiles + Winograd.tiles - 1) / Winograd.tiles)
  }

  /// The gradient of the weights of a convolution for which `isFilteredMinimally`.
  func gradientMinimally(
    _ x: Map, _ g: Map, _ shape: ConvolutionShape, into dw: Floats
  ) throws {
    let tiles = g.batch * ((g.height + 1) / 2) * ((g.width + 1) / 2)
    let blocks = (shape.outputs + Winograd.channels - 1) / Winograd.channels
    // By the shape alone, as those of `gradientByBands`; whole groups of tiles but for the last.
    let sums = blocks * Winograd.channels * Winograd.places
    let most = max(1, min(32, tiles / 144, (1 << 22) / (sums * shape.inputs)))
    let bandTiles =
      ((tiles + most - 1) / most + Winograd.tiles - 1) / Winograd.tiles * Winograd.tiles
    let bands = (tiles + bandTiles - 1) / bandTiles
    let paddedInputs = (shape.inputs + registerRows - 1) / registerRows * registerRows
    let parts = try scratch.floats(bands * sums * paddedInputs, in: context)
    let kernel = try convolutionKernel("gradientWinograd")
    var arguments = Arguments(kernel)
    try arguments.add(x)
    try arguments.add(g)
    try arguments.add(Floats(storage: zeros, shape: [Self.zeroCount]))
    try arguments.add(parts)
    for size in [
      x.batch, x.height, x.width, x.channels, g.height, g.width, g.channels,
      shape.geometry.padding, bandTiles, bands,
    ] {
      try arguments.add(size)
    }
    // Not fewer than the tickets that there are: a work-item may cover fewer inputs and blocks.
    try launchByTicket(
      kernel, &arguments, as: "convolutionGradient \(shape)",
      blocks: bands * blocks * ((shape.inputs + 31) / 32))

    let add = try convolutionKernel("addGradientWinograd")
    arguments = Arguments(add)
    try arguments.add(parts)
    try arguments.add(dw)
    try arguments.add(shape.inputs)
    try arguments.add(shape.outputs)
    try arguments.add(bands)
    try launch(add, as: add.name, global: (shape.inputs, 1), local: (1, 1))
  }
}

extension ConvolutionShape {
  /// Whether a convolution, or its adjoint, has a form that `Kernels/winograd_cpu.cl` takes. It depends
  /// on the channels alone and not on the size, so that a tile of an image has the bits of the whole.
  func isFilteredMinimally(_ activation: Activation, isAdjoint: Bool) -> Bool {
    let sources = isAdjoint ? outputs : inputs
    return geometry.allowsMinimalFiltering(from: sources) && sources <= Winograd.mostSources
      && (activation == .identity || activation == .relu)
  }
}
