import Compute
import RandomNumbers

/// The shape of an autoencoder z = f_E(x), xhat = f_D(z).
///
/// Every layer computes f(x W + b); hidden layers use `hiddenActivation`, the last layer
/// `outputActivation`, and the last encoder layer's pre-activations pass through `code`.
///
/// W is `[inputs, outputs]`, except the encoder's weight of a network with one encoder and one
/// decoder layer: there it is `[latents, inputs]`, a row for each latent as in the decoder, so that
/// sparse arithmetic touches the rows of active latents alone.
package struct AutoencoderConfiguration: Hashable, Sendable {
  /// The widths from the input over the code to the reconstruction, for example
  /// 784, 64, 64, 64, 784. The first and the last are equal.
  package var widths: [Int]
  /// The index of the code's width in `widths`: how many layers the encoder has.
  package var encoderLayers: Int
  package var hiddenActivation: Activation
  package var outputActivation: Activation
  package var code: Code
  /// Whether the rows of the first decoder layer's weight, one for each latent, are kept at norm 1.
  package var unitNormDecoder: Bool
  /// Whether the mean image of the training set is taken off the input; the reconstruction is then
  /// of the centred input as well.
  package var centredInput: Bool

  package init(
    widths: [Int], encoderLayers: Int, hiddenActivation: Activation = .relu,
    outputActivation: Activation = .sigmoid, code: Code = .relu, unitNormDecoder: Bool = false,
    centredInput: Bool = false
  ) {
    self.widths = widths
    self.encoderLayers = encoderLayers
    self.hiddenActivation = hiddenActivation
    self.outputActivation = outputActivation
    self.code = code
    self.unitNormDecoder = unitNormDecoder
    self.centredInput = centredInput
  }

  /// The founding document's collapsed autoencoder: dense inputs-64-64 (ReLU) encodes,
  /// 64-64-inputs (ReLU, sigmoid) decodes.
  package static func collapsed(
    inputs: Int, latents: Int = 64, code: Code = .relu
  ) -> AutoencoderConfiguration {
    AutoencoderConfiguration(
      widths: [inputs, latents, latents, latents, inputs], encoderLayers: 2, code: code,
      unitNormDecoder: code == .l1)
  }

  /// A dictionary: z = code((x - mean) E^T + b), xhat = z D + c + mean, the rows of D at norm 1 and
  /// E starting as D.
  package static func dictionary(
    inputs: Int, latents: Int, code: Code
  ) -> AutoencoderConfiguration {
    AutoencoderConfiguration(
      widths: [inputs, latents, inputs], encoderLayers: 1, outputActivation: .identity, code: code,
      unitNormDecoder: true, centredInput: true)
  }

  package var inputs: Int { widths[0] }
  package var latents: Int { widths[encoderLayers] }
  package var layerCount: Int { widths.count - 1 }
  /// Whether the encoder's weight has a row for each latent.
  package var isDictionary: Bool { layerCount == 2 }

  /// Of the code's layer it is what turns pre-activations into the code where `code.isPlain`, and
  /// the identity elsewhere.
  package func activation(ofLayer layer: Int) -> Activation {
    if layer == layerCount - 1 { return outputActivation }
    if layer == encoderLayers - 1 { return code.isPlain ? .relu : .identity }
    return hiddenActivation
  }

  /// What is wrong with it, as one line, or nil: for configurations that come from a file.
  package var problem: String? {
    if widths.count < 3 { return "an autoencoder has at least two layers" }
    if widths.count > 1024 { return "\(widths.count - 1) layers are more than 1023" }
    if widths.contains(where: { $0 < 1 || $0 > 1 << 24 }) {
      return "layer widths \(widths); each is from 1 to \(1 << 24)"
    }
    if widths.first != widths.last { return "input and output widths differ: \(widths)" }
    if encoderLayers < 1 || encoderLayers >= layerCount {
      return "\(encoderLayers) encoder layers of \(layerCount)"
    }
    if let problem = code.problem(latents: latents) { return problem }
    let parameters = zip(widths, widths.dropFirst()).reduce(0.0) {
      $0 + Double($1.0) * Double($1.1)
    }
    return parameters < 0x1p31 ? nil : "more than 2^31 parameters"
  }

  /// The name of a layer in model files: `encoder.0`, ..., `decoder.0`, ...
  package func name(ofLayer layer: Int) -> String {
    layer < encoderLayers ? "encoder.\(layer)" : "decoder.\(layer - encoderLayers)"
  }

  /// Weight and bias of each layer, in order, then the code's own parameters and the input's mean.
  package var parameterLayout: ParameterLayout {
    var layout = ParameterLayout()
    for layer in 0..<layerCount {
      let shape: Shape = [widths[layer], widths[layer + 1]]
      layout.append(
        "\(name(ofLayer: layer)).weight",
        isDictionary && layer == 0 ? [shape[1], shape[0]] : shape)
      layout.append("\(name(ofLayer: layer)).bias", [widths[layer + 1]])
    }
    for (name, shape) in code.parameters(latents: latents) { layout.append(name, shape) }
    if centredInput { layout.append(Self.inputMean, [inputs]) }
    return layout
  }

  /// Of the first layer.
  package static let encoderWeight = "encoder.0.weight"
  static let inputMean = "input.mean"
}

extension AutoencoderConfiguration: Codable {
  private enum CodingKeys: String, CodingKey {
    case widths, encoderLayers, hiddenActivation, outputActivation, code, unitNormDecoder
    case centredInput
  }

  /// Models of before there were codes lack the last three.
  package init(from decoder: any Decoder) throws {
    let values = try decoder.container(keyedBy: CodingKeys.self)
    widths = try values.decode([Int].self, forKey: .widths)
    encoderLayers = try values.decode(Int.self, forKey: .encoderLayers)
    hiddenActivation = try values.decode(Activation.self, forKey: .hiddenActivation)
    outputActivation = try values.decode(Activation.self, forKey: .outputActivation)
    code = try values.decodeIfPresent(Code.self, forKey: .code) ?? .relu
    unitNormDecoder = try values.decodeIfPresent(Bool.self, forKey: .unitNormDecoder) ?? false
    centredInput = try values.decodeIfPresent(Bool.self, forKey: .centredInput) ?? false
  }
}

extension AutoencoderConfiguration {
  /// Whether the code can be computed with at its kept entries alone.
  package var allowsSparseArithmetic: Bool {
    if case .topK = code { return isDictionary }
    return false
  }

  /// Sparse where the code allows it and few enough of the latents are kept: the crossover was
  /// measured on a CPU device, see `Benchmarks`.
  package var fasterArithmetic: CodeArithmetic {
    guard allowsSparseArithmetic, let k = code.count else { return .dense }
    return latents >= Self.crossover * k ? .sparse : .dense
  }

  /// Latents for each kept one from which on sparse arithmetic is faster.
  private static let crossover = 8
}
