import Compute
import RandomNumbers

/// The shape of a dense autoencoder z = f_E(x), xhat = f_D(z).
///
/// Every layer computes f(x W + b) with W `[inputs, outputs]`; hidden layers and the code use
/// `hiddenActivation`, the last layer `outputActivation`.
package struct AutoencoderConfiguration: Codable, Hashable, Sendable {
  /// The widths from the input over the code to the reconstruction, for example
  /// 784, 64, 64, 64, 784. The first and the last are equal.
  package var widths: [Int]
  /// The index of the code's width in `widths`: how many layers the encoder has.
  package var encoderLayers: Int
  package var hiddenActivation: Activation
  package var outputActivation: Activation

  package init(
    widths: [Int], encoderLayers: Int, hiddenActivation: Activation = .relu,
    outputActivation: Activation = .sigmoid
  ) {
    self.widths = widths
    self.encoderLayers = encoderLayers
    self.hiddenActivation = hiddenActivation
    self.outputActivation = outputActivation
  }

  /// The founding document's collapsed autoencoder: dense inputs-64-64 (ReLU) encodes,
  /// 64-64-inputs (ReLU, sigmoid) decodes.
  package static func collapsed(inputs: Int, latents: Int = 64) -> AutoencoderConfiguration {
    AutoencoderConfiguration(
      widths: [inputs, latents, latents, latents, inputs], encoderLayers: 2)
  }

  package var inputs: Int { widths[0] }
  package var latents: Int { widths[encoderLayers] }
  package var layerCount: Int { widths.count - 1 }

  package func activation(ofLayer layer: Int) -> Activation {
    layer == layerCount - 1 ? outputActivation : hiddenActivation
  }

  /// What is wrong with it, as one line, or nil: for configurations that come from a file.
  package var problem: String? {
    if widths.count < 3 { return "an autoencoder has at least two layers" }
    if widths.contains(where: { $0 < 1 || $0 > 1 << 24 }) { return "layer widths \(widths)" }
    if widths.first != widths.last { return "input and output widths differ: \(widths)" }
    if encoderLayers < 1 || encoderLayers >= layerCount {
      return "\(encoderLayers) encoder layers of \(layerCount)"
    }
    let parameters = zip(widths, widths.dropFirst()).reduce(0.0) {
      $0 + Double($1.0) * Double($1.1)
    }
    return parameters < 0x1p31 ? nil : "more than 2^31 parameters"
  }

  /// The name of a layer in model files: `encoder.0`, ..., `decoder.0`, ...
  package func name(ofLayer layer: Int) -> String {
    layer < encoderLayers ? "encoder.\(layer)" : "decoder.\(layer - encoderLayers)"
  }

  /// Weight and bias of each layer, in order.
  package var parameterLayout: ParameterLayout {
    var layout = ParameterLayout()
    for layer in 0..<layerCount {
      layout.append("\(name(ofLayer: layer)).weight", [widths[layer], widths[layer + 1]])
      layout.append("\(name(ofLayer: layer)).bias", [widths[layer + 1]])
    }
    return layout
  }

  /// Weights uniform on +-limit, biases zero: one array in the order of `parameterLayout`, each
  /// layer from a random stream of its own.
  ///
  /// limit = sqrt(6 / inputs) for layers with ReLU (He et al. 2015), which loses fewer units to zero
  /// in the first steps than sqrt(6 / (inputs + outputs)) (Glorot & Bengio 2010), the limit of the
  /// others.
  package func initialParameters(seed: UInt64) -> [Float] {
    let layout = parameterLayout
    var values = [Float](repeating: 0, count: layout.count)
    for (index, slot) in layout.slots.enumerated() where slot.shape.rank == 2 {
      var generator = SplitMix64(seed: seed, stream: UInt64(index))
      let fan =
        activation(ofLayer: index / 2) == .relu ? slot.shape[0] : slot.shape[0] + slot.shape[1]
      let limit = Float((6 / Double(fan)).squareRoot())
      for i in slot.offset..<slot.offset + slot.shape.count {
        values[i] = limit * (2 * generator.nextUniform() - 1)
      }
    }
    return values
  }
}
