import Compute
import OpenCLRuntime

// Normalisation and pooling.
extension OpenCLBackend {
  package func batchNormalise(
    _ x: FeatureMap<Storage>, _ parameters: BatchNormalisation<Storage>, activation: Activation,
    epsilon: Float, momentum: Float, into y: FeatureMap<Storage>
  ) throws {
    let shape = NormalisationShape(x, y, parameters: parameters, activation: activation)
    precondition(epsilon > 0, "an epsilon of \(epsilon)")
    guard shape.positions > 0 else { return }
    let bands = shape.bands(family)
    let parts = try scratch.floats(bands * 2 * shape.channels, in: context)

    let statistics = try normaliseKernel(family == .cpu ? "statisticsBand" : "statisticsGroup")
    var arguments = Arguments(statistics)
    try arguments.add(map: x)
    try arguments.add(extents: shape, family)
    try arguments.add(parts)
    try launchBands(statistics, shape)

    let total = try normaliseKernel("statisticsTotal")
    arguments = Arguments(total)
    try arguments.add(firstOf: x)
    try arguments.add(parts)
    try arguments.add(extents: shape, family)
    try arguments.add(bands)
    try arguments.add(epsilon)
    try arguments.add(momentum)
    try arguments.add(Float(Double(shape.positions) / Double(max(shape.positions - 1, 1))))
    try arguments.add(parameters.mean)
    try arguments.add(parameters.deviation)
    try arguments.add(parameters.runningMean)
    try arguments.add(parameters.runningVariance)
    try launchTotal(total, shape)

    let width = eachWidth(
      [x, y],
      [
        parameters.scale, parameters.shift, parameters.mean, parameters.deviation,
      ])
    let normalise = try normaliseKernel(
      family == .cpu ? "normaliseBand" : "normaliseEach", width: width)
    arguments = Arguments(normalise)
    try arguments.add(map: x)
    try arguments.add(extents: shape, family)
    try arguments.add(activation.code)
    try arguments.add(parameters.scale)
    try arguments.add(parameters.shift)
    try arguments.add(parameters.mean)
    try arguments.add(parameters.deviation)
    try arguments.add(map: y)
    try launchEach(normalise, shape, width: width)
  }

  package func batchNormaliseBackward(
    _ g: FeatureMap<Storage>, output y: FeatureMap<Storage>, input x: FeatureMap<Storage>,
    _ parameters: BatchNormalisation<Storage>, activation: Activation, into dx: FeatureMap<Storage>,
    scaleGradient: Floats, shiftGradient: Floats
  ) throws {
    let shape = NormalisationShape(
      g, y, x, dx, parameters: parameters, activation: activation,
      gradients: [scaleGradient, shiftGradient])
    guard shape.positions > 0 else {
      try fill(scaleGradient, with: 0)
      return try fill(shiftGradient, with: 0)
    }
    let bands = shape.bands(family)
    let parts = try scratch.floats(bands * 2 * shape.channels, in: context)
    func begin(_ kernel: Kernel) throws -> Arguments {
      var arguments = Arguments(kernel)
      try arguments.add(map: g)
      try arguments.add(map: y)
      try arguments.add(map: x)
      try arguments.add(extents: shape, family)
      try arguments.add(activation.code)
      try arguments.add(parameters.mean)
      try arguments.add(parameters.deviation)
      return arguments
    }

    let sums = try normaliseKernel(family == .cpu ? "gradientSumsBand" : "gradientSumsGroup")
    var arguments = try begin(sums)
    try arguments.add(parts)
    try launchBands(sums, shape)

    let total = try normaliseKernel("gradientSumsTotal")
    arguments = Arguments(total)
    try arguments.add(parts)
    try arguments.add(shape.channels)
    try arguments.add(bands)
    try arguments.add(scaleGradient)
    try arguments.add(shiftGradient)
    try launchTotal(total, shape)

    let width = eachWidth(
      [g, y, x, dx],
      [
        parameters.scale, parameters.mean, parameters.deviation, scaleGradient, shiftGradient,
      ])
    let backward = try normaliseKernel(
      family == .cpu ? "normaliseBackwardBand" : "normaliseBackwardEach", width: width)
    arguments = try begin(backward)
    try arguments.add(parameters.scale)
    try arguments.add(scaleGradient)
    try arguments.add(shiftGradient)
    try arguments.add(map: dx)
    try launchEach(backward, shape, width: width)
  }

  package func maxPool(_ x: FeatureMap<Storage>, size: Int, into y: FeatureMap<Storage>) throws {
    let shape = PoolShape(large: x, small: y, size: size)
    let kernel = try library.kernel(
      family == .cpu ? "maxPoolRow" : "maxPoolEach", from: .pool, ["SIZE": size])
    var arguments = Arguments(kernel)
    try arguments.add(map: x)
    try arguments.add(extents: shape)
    try arguments.add(map: y)
    try launchWindows(kernel, shape)
  }

  package func maxPoolBackward(
    _ g: FeatureMap<Storage>, output y: FeatureMap<Storage>, input x: FeatureMap<Storage>,
    size: Int, accumulating: Bool, into dx: FeatureMap<Storage>
  ) throws {
    let shape = PoolShape(large: x, dx, small: g, y, size: size)
    let kernel = try library.kernel(
      family == .cpu ? "maxPoolBackwardRow" : "maxPoolBackwardEach", from: .pool, ["SIZE": size])
    var arguments = Arguments(kernel)
    try arguments.add(map: g)
    try arguments.add(map: y)
    try arguments.add(map: x)
    try arguments.add(extents: shape)
    try arguments.add(Int32(accumulating ? 1 : 0))
    try arguments.add(map: dx)
    try launchWindows(kernel, shape)
  }

  // MARK: Launching

  private func normaliseKernel(_ name: String, width: Int = 1) throws -> Kernel {
    try library.kernel(
      name, from: .normalise, form: UInt64(width), ["GROUP": totalGroup, "WIDTH": width])
  }

  /// The channels that a work-item takes of a position: `WIDTH` in the kernels for GPUs.
  private func eachWidth(_ maps: [FeatureMap<Storage>], _ parameters: [Floats]) -> Int {
    family == .gpu && maps.allSatisfy { $0.vectorWidth == 4 }
      && parameters.allSatisfy { $0.offset % 4 == 0 } ? 4 : 1
  }

  /// The work-items that add up the bands of a channel: `GROUP` in the kernels.
  private var totalGroup: Int { family == .cpu ? 1 : 256 }

  private func launchBands(_ kernel: Kernel, _ shape: NormalisationShape) throws {
    if family == .cpu {
      try launch(kernel, as: kernel.name, global: (shape.bands(family), 1), local: (1, 1))
    } else {
      // CHANNELS x ROWS of Kernels/normalise.cl.
      try launch(
        kernel, as: kernel.name, global: (shape.channels, shape.bands(family) * 8),
        local: (16, 8))
    }
  }

  private func launchTotal(_ kernel: Kernel, _ shape: NormalisationShape) throws {
    try launch(
      kernel, as: kernel.name, global: (shape.channels * totalGroup, 1), local: (totalGroup, 1))
  }

  private func launchEach(
    _ kernel: Kernel, _ shape: NormalisationShape, width: Int
  ) throws {
    try launch(
      kernel, as: kernel.name,
      global: (
        family == .cpu ? shape.bands(family) : shape.positions * shape.channels / width, 1
      ),
      local: (localSize(kernel), 1))
  }

  private func launchWindows(_ kernel: Kernel, _ shape: PoolShape) throws {
    let rows = shape.batch * shape.outputHeight
    guard rows * shape.outputWidth > 0 else { return }
    try launch(
      kernel, as: kernel.name,
      global: (family == .cpu ? rows : rows * shape.outputWidth * shape.channels, 1),
      local: (localSize(kernel), 1))
  }
}

extension FeatureMap {
  /// How many elements of a pixel the kernels for GPUs may move at once.
  var vectorWidth: Int {
    channels % 4 == 0 && pitch % 4 == 0 && (tensor.offset + channelOffset) % 4 == 0 ? 4 : 1
  }
}

extension NormalisationShape {
  /// Positions of a band: what a core's cache holds of a few maps, or few enough to keep a GPU busy,
  /// and not more bands than are quickly added up. By shape and layout alone, since the sums' order
  /// follows from it.
  fileprivate func band(_ family: DeviceFamily) -> Int {
    let entries = family == .cpu ? 4096 : 1024
    return max(32, (entries + channels - 1) / channels, (positions + 1023) / 1024)
  }
  fileprivate func bands(_ family: DeviceFamily) -> Int {
    (positions + band(family) - 1) / band(family)
  }
}

extension Arguments {
  /// A buffer, its first entry and the pitch from one position to the next.
  fileprivate mutating func add(map: FeatureMap<Memory>) throws {
    try add(firstOf: map)
    try add(map.pitch)
  }

  /// A buffer and its first entry.
  fileprivate mutating func add(firstOf map: FeatureMap<Memory>) throws {
    let whole = map.tensor
    let count = whole.count - map.channelOffset
    try add(whole.view(at: map.channelOffset, shape: [count]))
  }

  fileprivate mutating func add(
    extents shape: NormalisationShape, _ family: DeviceFamily
  ) throws {
    try add(shape.positions)
    try add(shape.channels)
    try add(shape.band(family))
  }

  fileprivate mutating func add(extents shape: PoolShape) throws {
    try add(shape.batch * shape.outputHeight)
    try add(shape.outputWidth)
    try add(shape.channels)
  }
}
