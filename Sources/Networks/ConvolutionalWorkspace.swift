import Compute

/// What a pass of a `ConvolutionalNetwork` over a batch of images of one size needs besides the
/// parameters, allocated once.
package struct ConvolutionalWorkspace<B: Backend> {
  package typealias Map = FeatureMap<B.Storage>

  /// A unit's memory: what the convolution makes, where a normalisation is to come, and what the
  /// activation makes of it, in the same place where there is no way back.
  struct UnitMemory {
    let raw: Map?
    let output: Map
  }

  /// The memory of a level but the lowest.
  struct LevelMemory {
    let encoder: [UnitMemory]
    let decoder: [UnitMemory]
    /// What the decoder's block takes in: the enlarged map and, with skips, the encoder's beside it.
    let joined, enlarged: Map
  }

  /// The gradients of a level's maps.
  struct LevelGradients {
    let first, second: Map
    /// Of `LevelMemory.joined`; nil at the lowest level.
    let joined: Map?
    /// Of what the level takes in; nil at the highest.
    let input: Map?
  }

  /// `[N, H, W, inputs]`
  package let input: Map
  /// `[N, H, W, outputs]`
  package let output: Map
  let levels: [LevelMemory]
  /// What level l takes in; the image at 0.
  let inputs: [Map]
  /// The first unit of the lowest level, and the code's.
  let lowest, codeUnit: UnitMemory
  /// `[N h w, latents]`: what the code is made from, and the code.
  package let preactivations, code: B.Floats
  /// For each position; see `CodeLayer.apply`.
  package let gateL0: B.Floats
  let codeMap: Map
  let gradients: [LevelGradients]
  /// `[N H W, outputs]`: where the loss puts the gradient of the output; nil where nothing is
  /// trained.
  package let outputGradient: B.Floats?
  package let codeGradient: Map?

  package enum Purpose: Sendable {
    case training
    /// Normalised by the statistics of what is in it, as in training, but with no way back.
    case measuring
    /// With the normalisations folded into the convolutions.
    case use
  }

  /// - Parameter memory: `ConvolutionalMemory.elementCount` elements or more to be laid out anew, so that tiles of
  ///   several sizes share them; allocated when nil.
  /// - Precondition: height and width are multiples of the configuration's alignment.
  package init(
    _ configuration: ConvolutionalConfiguration, batch: Int, height: Int, width: Int,
    purpose: Purpose, memory: B.Floats? = nil, on backend: B
  ) throws {
    precondition(
      height % configuration.alignment == 0 && width % configuration.alignment == 0,
      "\(height)x\(width) pixels are no multiple of \(configuration.alignment)")
    let trains = purpose == .training
    var used = 0
    func allocate(_ shape: Shape) throws -> B.Floats {
      guard let memory else { return try backend.allocate(shape, of: Float.self) }
      defer { used += ConvolutionalMemory.aligned(shape.count) }
      return memory.view(at: used, shape: shape)
    }
    func map(_ channels: Int, _ level: Int) throws -> Map {
      Map(try allocate([batch, height >> level, width >> level, channels]))
    }
    func unit(_ channels: Int, _ level: Int, output: Map? = nil) throws -> UnitMemory {
      let raw = trains ? try map(channels, level) : nil
      let output = try output ?? map(channels, level)
      return UnitMemory(raw: purpose == .measuring ? output : raw, output: output)
    }
    let bottom = configuration.levels - 1
    let input = try map(configuration.inputs, 0)
    self.input = input
    output = try map(configuration.outputs, 0)
    levels = try (0..<bottom).map { level in
      let channels = configuration.channels(atLevel: level)
      let joined = try map(configuration.hasSkips ? 2 * channels : channels, level)
      return LevelMemory(
        encoder: [
          try unit(channels, level),
          try unit(
            channels, level,
            output: configuration.hasSkips ? joined.channels(channels..<2 * channels) : nil),
        ],
        decoder: [try unit(channels, level), try unit(channels, level)], joined: joined,
        enlarged: joined.channels(0..<channels))
    }
    inputs =
      [input]
      + (try (0..<bottom).map { try map(configuration.channels(atLevel: $0), $0 + 1) })
    lowest = try unit(configuration.channels(atLevel: bottom), bottom)
    let latents = configuration.latents
    codeMap = try map(latents, bottom)
    code = codeMap.matrix
    // A plain code is what the unit's own activation makes.
    codeUnit = try unit(latents, bottom, output: configuration.code.isPlain ? codeMap : nil)
    preactivations = codeUnit.output.matrix
    gateL0 = try allocate([code.shape[0]])
    guard trains else {
      gradients = []
      (outputGradient, codeGradient) = (nil, nil)
      return
    }
    gradients = try (0...bottom).map { level in
      let channels = configuration.channels(atLevel: level)
      return LevelGradients(
        first: try map(channels, level), second: try map(channels, level),
        joined: level == bottom
          ? nil : try map(configuration.hasSkips ? 2 * channels : channels, level),
        input: level == 0 ? nil : try map(configuration.channels(atLevel: level - 1), level))
    }
    outputGradient = try allocate([batch * height * width, configuration.outputs])
    codeGradient = try map(latents, bottom)
  }

  package var batch: Int { input.batch }
  package var height: Int { input.height }
  package var width: Int { input.width }
  /// Positions of the code: N h w.
  package var positions: Int { code.shape[0] }
}

/// What workspaces take.
package enum ConvolutionalMemory {
  /// Tensors start at multiples of 64 bytes.
  static func aligned(_ count: Int) -> Int { (count + 15) / 16 * 16 }

  /// How many elements of memory a workspace takes.
  ///
  /// - Parameter trains: whether it is for training; else for use.
  package static func elementCount(
    _ configuration: ConvolutionalConfiguration, batch: Int, height: Int, width: Int,
    trains: Bool = false
  ) -> Int {
    func map(_ channels: Int, _ level: Int) -> Int {
      aligned(batch * (height >> level) * (width >> level) * channels)
    }
    let bottom = configuration.levels - 1
    var count = map(configuration.inputs, 0) + map(configuration.outputs, 0)
    for level in 0..<bottom {
      let channels = configuration.channels(atLevel: level)
      count += 3 * map(channels, level) + map(channels, level + 1)
      count +=
        configuration.hasSkips ? map(2 * channels, level) : 2 * map(channels, level)
    }
    count += map(configuration.channels(atLevel: bottom), bottom)
    count += map(configuration.latents, bottom) * (configuration.code.isPlain ? 1 : 2)
    count += aligned(batch * (height >> bottom) * (width >> bottom))
    guard trains else { return count }
    // What the units' convolutions make, and the gradients.
    for level in 0...bottom {
      let channels = configuration.channels(atLevel: level)
      count += (level < bottom ? 6 : 3) * map(channels, level)
      if level < bottom { count += map(configuration.hasSkips ? 2 * channels : channels, level) }
      if level > 0 { count += map(configuration.channels(atLevel: level - 1), level) }
    }
    return count + map(configuration.outputs, 0) + 2 * map(configuration.latents, bottom)
  }

  /// How many elements the largest tensor of a training workspace has.
  package static func largestElementCount(
    _ configuration: ConvolutionalConfiguration, batch: Int, height: Int, width: Int
  ) -> Int {
    let bottom = configuration.levels - 1
    return (0...bottom).map { level in
      var channels = [configuration.channels(atLevel: level)]
      if level == 0 { channels += [configuration.inputs, configuration.outputs] }
      if level < bottom, configuration.hasSkips { channels.append(2 * channels[0]) }
      if level == bottom { channels.append(configuration.latents) }
      return batch * (height >> level) * (width >> level) * (channels.max() ?? 0)
    }.max() ?? 0
  }
}
