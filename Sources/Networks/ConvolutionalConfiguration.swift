import Compute
import RandomNumbers

/// The shape of a convolutional network with a sparse code for each position: an encoder that halves
/// the image `levels - 1` times, the code at the lowest resolution, and a decoder that doubles it as
/// often (Ronneberger et al. 2015, with batch normalisation).
///
/// Level l has c_l = baseChannels 2^l channels at 1 / 2^l of the resolution. A block is two 3x3
/// convolutions, each normalised and rectified; on the way down blocks are followed by 2x2 max
/// pooling, on the way up each starts with a transposed 2x2 convolution of stride 2, beside which,
/// where there are skips, the level's encoder block's output is laid. The lowest block's second
/// convolution has `latents` outputs, normalised: the code's pre-activations. A 1x1 convolution makes
/// the outputs.
///
/// Without skips and with as many outputs as inputs it is a sparse autoencoder; with skips and an
/// output for each class, a segmentation network.
package struct ConvolutionalConfiguration: Hashable, Codable, Sendable {
  /// Channels of the image.
  package var inputs: Int
  package var baseChannels: Int
  package var levels: Int
  package var latents: Int
  package var code: Code
  package var hasSkips: Bool
  package var outputs: Int

  package init(
    inputs: Int, baseChannels: Int, levels: Int, latents: Int? = nil, code: Code, hasSkips: Bool,
    outputs: Int
  ) {
    self.inputs = inputs
    self.baseChannels = baseChannels
    self.levels = levels
    self.latents = latents ?? baseChannels << (levels - 1)
    self.code = code
    self.hasSkips = hasSkips
    self.outputs = outputs
  }

  /// Sizes by name.
  package enum Preset: String, Codable, CaseIterable, Sendable {
    /// 8, 16, 32 channels.
    case small
    /// 16, 32, 64, 128 channels.
    case base
  }

  /// - Parameter code: TopK of a quarter of the latents when nil.
  package init(_ preset: Preset, inputs: Int, code: Code?, hasSkips: Bool, outputs: Int) {
    self.init(
      inputs: inputs, baseChannels: preset == .small ? 8 : 16, levels: preset == .small ? 3 : 4,
      code: .relu, hasSkips: hasSkips, outputs: outputs)
    self.code = code ?? .topK(latents / 4)
  }

  /// c_l
  package func channels(atLevel level: Int) -> Int { baseChannels << level }

  /// The code lies at 1 / alignment of the resolution: images' sides are multiples of it.
  package var alignment: Int { 1 << (levels - 1) }

  /// How far from an output's pixel the pixels lie that it depends on, at most, in each direction.
  package var reach: Int {
    (0..<alignment).map { pixel in
      // The interval that it depends on, followed back through the network, in pixels of a level.
      var (low, high) = (pixel, pixel)
      func convolve() { (low, high) = (low - 2, high + 2) }
      for _ in 0..<levels - 1 {
        convolve()
        (low, high) = (low >> 1, high >> 1)
      }
      convolve()
      for _ in 0..<levels - 1 {
        (low, high) = (2 * low, 2 * high + 1)
        convolve()
      }
      return max(pixel - low, high - pixel)
    }.max() ?? 0
  }

  /// What is wrong with it, as one line, or nil: for configurations that come from a file.
  package var problem: String? {
    if inputs < 1 || inputs > 255 { return "images have 1 to 255 channels, not \(inputs)" }
    if !(1...8).contains(levels) { return "\(levels) levels; a network has 1 to 8" }
    // Not by shifting the channels, whose high bits would be lost without a word.
    if baseChannels < 1 || baseChannels > (1 << 14) >> (levels - 1) {
      return "\(baseChannels) channels at \(levels) levels"
    }
    if latents < 1 || latents > 1 << 16 { return "\(latents) latents" }
    if outputs < 1 || outputs > 255 { return "\(outputs) outputs" }
    if let problem = code.problem(latents: latents) { return problem }
    return parameterLayout.count < 1 << 31 ? nil : "more than 2^31 parameters"
  }
}

// MARK: - Parameters

extension ConvolutionalConfiguration {
  /// A 3x3 convolution with its normalisation.
  struct Unit: Hashable {
    let name: String
    let inputs, outputs: Int
    let level: Int
  }

  /// The two units of a level's block on the way down; of the lowest, the second makes the code's
  /// pre-activations.
  func encoderUnits(_ level: Int) -> [Unit] {
    let channels = channels(atLevel: level)
    let isLowest = level == levels - 1
    return [
      Unit(
        name: "encoder.\(level).0",
        inputs: level == 0 ? inputs : self.channels(atLevel: level - 1), outputs: channels,
        level: level),
      Unit(
        name: isLowest ? "code" : "encoder.\(level).1", inputs: channels,
        outputs: isLowest ? latents : channels, level: level),
    ]
  }

  /// The two units of a level's block on the way up.
  func decoderUnits(_ level: Int) -> [Unit] {
    let channels = channels(atLevel: level)
    return [
      Unit(
        name: "decoder.\(level).0", inputs: hasSkips ? 2 * channels : channels, outputs: channels,
        level: level),
      Unit(name: "decoder.\(level).1", inputs: channels, outputs: channels, level: level),
    ]
  }

  /// The channels that level `level` is enlarged from.
  func inputsOfEnlargement(to level: Int) -> Int {
    level == levels - 2 ? latents : channels(atLevel: level + 1)
  }

  /// Every unit, in the order of the forward pass.
  var units: [Unit] {
    (0..<levels).flatMap(encoderUnits)
      + (0..<levels - 1).reversed().flatMap(decoderUnits)
  }

  /// The channels that the head is made from.
  var headInputs: Int { levels == 1 ? latents : baseChannels }

  /// All that is trained: weights `[height, width, inputs, outputs]` (of a transposed convolution
  /// `[2, 2, outputs, inputs]`), biases, scales and shifts of the normalisations, the code's own.
  package var parameterLayout: ParameterLayout {
    var layout = ParameterLayout()
    func append(_ unit: Unit) {
      layout.append("\(unit.name).weight", [3, 3, unit.inputs, unit.outputs])
      layout.append("\(unit.name).scale", [unit.outputs])
      layout.append("\(unit.name).shift", [unit.outputs])
    }
    for level in 0..<levels { encoderUnits(level).forEach(append) }
    for (name, shape) in code.parameters(latents: latents) { layout.append(name, shape) }
    for level in (0..<levels - 1).reversed() {
      let channels = channels(atLevel: level)
      layout.append(
        "decoder.\(level).up.weight", [2, 2, channels, inputsOfEnlargement(to: level)])
      layout.append("decoder.\(level).up.bias", [channels])
      decoderUnits(level).forEach(append)
    }
    layout.append("head.weight", [1, 1, headInputs, outputs])
    layout.append("head.bias", [outputs])
    return layout
  }

  /// What training measures rather than learns: the running statistics of the normalisations.
  package var statisticsLayout: ParameterLayout {
    var layout = ParameterLayout()
    for unit in units {
      layout.append("\(unit.name).mean", [unit.outputs])
      layout.append("\(unit.name).variance", [unit.outputs])
    }
    return layout
  }

  /// Weights uniform on +-sqrt(6 / fan in) where a rectifier follows (He et al. 2015), on
  /// +-sqrt(3 / fan in) elsewhere, each from a random stream of its own; scales 1, the rest 0.
  package func initialParameters(seed: UInt64) -> [Float] {
    let layout = parameterLayout
    var values = [Float](repeating: 0, count: layout.count)
    for (index, slot) in layout.slots.enumerated() {
      let range = slot.offset..<slot.offset + slot.shape.count
      if slot.name.hasSuffix(".weight") {
        // A pixel of a transposed convolution's output has one tap of the kernel.
        let isEnlargement = slot.name.hasSuffix(".up.weight")
        let fan = isEnlargement ? slot.shape[3] : slot.shape[0] * slot.shape[1] * slot.shape[2]
        let isRectified = !isEnlargement && slot.name != "head.weight"
        let limit = Float(((isRectified ? 6 : 3) / Double(fan)).squareRoot())
        var generator = SplitMix64(seed: seed, stream: UInt64(index))
        for i in range { values[i] = limit * (2 * generator.nextUniform() - 1) }
      } else if slot.name.hasSuffix(".scale") {
        for i in range { values[i] = 1 }
      } else if slot.name == Code.threshold || slot.name == Code.gateSlope
        || slot.name == Code.gateOffset
      {
        for i in range { values[i] = code.initialValue(ofParameter: slot.name) }
      }
    }
    return values
  }

  /// Means 0, variances 1.
  package var initialStatistics: [Float] {
    let layout = statisticsLayout
    var values = [Float](repeating: 0, count: layout.count)
    for slot in layout.slots where slot.name.hasSuffix(".variance") {
      for i in slot.offset..<slot.offset + slot.shape.count { values[i] = 1 }
    }
    return values
  }
}

extension ConvolutionalConfiguration {
  /// What a network is to do.
  package enum Use: Sendable {
    /// Learning to reconstruct.
    case pretraining
    /// Learning to segment; labels images too, as prediction does.
    case training
    /// Codes, with the statistics of normalisation folded into the weights.
    case encoding
    /// Segmenting, folded likewise.
    case prediction
    /// The same with statistics that come near to each image's own.
    case adaptedPrediction
  }

  /// The operations that a use may call, by the names that the list of cases has for them.
  package func operations(for use: Use) -> Set<String> {
    let inference: Set = ["fill", "convolution", "transposedConvolution", "maxPool"]
    let learning: Set = [
      "adam", "convolutionGradient", "channelSums", "batchNormalise",
      "batchNormaliseBackward", "maxPoolBackward",
    ]
    let loss: Set<String>
    switch use {
    case .encoding: return code.inferenceOperations.union(inference)
    case .prediction:
      return operations(for: .encoding).union([
        SegmentationLoss.name(of: "softmax", classes: outputs)
      ])
    case .adaptedPrediction:
      return operations(for: .prediction).union(["batchNormalise"])
    case .training:
      let names = ["softmax", "segmentationLoss"]
      loss = Set(names.map { SegmentationLoss.name(of: $0, classes: outputs) })
    case .pretraining: loss = ["reconstructionLoss", "countNonzero"]
    }
    return code.operations.union(inference).union(learning).union(loss)
  }
}
