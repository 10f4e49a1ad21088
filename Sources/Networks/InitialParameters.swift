import Compute
import RandomNumbers

/// What the initial parameters take from the training set.
package struct DataStatistics: Sendable {
  /// The mean image, normalised, `[inputs]`.
  package var mean: [Float]
  /// Normalised images less the mean, one after another, that a dictionary may start from.
  package var samples: [Float]

  package init(mean: [Float], samples: [Float] = []) {
    self.mean = mean
    self.samples = samples
  }
}

extension AutoencoderConfiguration {
  /// Weights uniform on +-limit, biases zero: one array in the order of `parameterLayout`, each
  /// layer from a random stream of its own.
  ///
  /// limit = sqrt(6 / inputs) for layers that are rectified, the code's among them (He et al. 2015),
  /// which loses fewer units to zero in the first steps than sqrt(6 / (inputs + outputs))
  /// (Glorot & Bengio 2010), the limit of the others. A dictionary's rows are normal random vectors,
  /// or the samples of `data`, scaled to norm 1, and its encoder starts as its decoder times
  /// `encoderStart`.
  ///
  /// - Parameter data: needed where the input is centred.
  package func initialParameters(
    seed: UInt64, data: DataStatistics? = nil, encoderStart: Double = 1
  ) -> [Float] {
    let layout = parameterLayout
    var values = [Float](repeating: 0, count: layout.count)
    for layer in 0..<layerCount {
      let slot = layout.slots[2 * layer]
      var generator = SplitMix64(seed: seed, stream: UInt64(2 * layer))
      let isRectified =
        layer < encoderLayers ? true : layer < layerCount - 1 && hiddenActivation == .relu
      let fan = isRectified ? widths[layer] : widths[layer] + widths[layer + 1]
      let limit = Float((6 / Double(fan)).squareRoot())
      for i in slot.offset..<slot.offset + slot.shape.count {
        values[i] = limit * (2 * generator.nextUniform() - 1)
      }
    }
    if isDictionary { fillDictionary(&values, layout, seed: seed, samples: data?.samples ?? []) }
    if unitNormDecoder {
      let slot = layout.slots[2 * encoderLayers]
      for row in 0..<slot.shape[0] {
        let start = slot.offset + row * slot.shape[1]
        Self.normalise(&values, start..<start + slot.shape[1])
      }
    }
    if isDictionary {
      let (encoder, decoder) = (layout.slots[0], layout.slots[2])
      for i in 0..<encoder.shape.count {
        values[encoder.offset + i] = Float(encoderStart) * values[decoder.offset + i]
      }
    }
    for slot in layout.slots {
      let start: [Float]
      switch slot.name {
      case Self.inputMean: start = data?.mean ?? []
      case Self.threshold where code == .jumpReLU:
        start = [Float](repeating: Self.initialThreshold, count: slot.shape.count)
      case Self.gateSlope:
        start = [Float](repeating: Self.initialGateSlope, count: slot.shape.count)
      case Self.gateOffset:
        start = [Float](repeating: Self.initialGateOffset, count: slot.shape.count)
      default: continue
      }
      for (i, value) in start.prefix(slot.shape.count).enumerated() {
        values[slot.offset + i] = value
      }
    }
    return values
  }

  private static let initialThreshold: Float = 0.1
  private static let initialGateSlope: Float = 2
  private static let initialGateOffset: Float = 0

  /// The rows of the decoder, not yet scaled: all but `samples` from a normal distribution.
  private func fillDictionary(
    _ values: inout [Float], _ layout: ParameterLayout, seed: UInt64, samples: [Float]
  ) {
    let slot = layout.slots[2]
    var generator = SplitMix64(seed: seed, stream: 2)
    for i in 0..<slot.shape.count {
      values[slot.offset + i] = i < samples.count ? samples[i] : Float(generator.nextNormal())
    }
  }

  private static func normalise(_ values: inout [Float], _ range: Range<Int>) {
    let norm = values[range].reduce(0.0) { $0 + Double($1) * Double($1) }.squareRoot()
    guard norm > 0 else { return }
    for i in range { values[i] = Float(Double(values[i]) / norm) }
  }
}
