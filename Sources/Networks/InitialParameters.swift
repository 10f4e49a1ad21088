import Compute
import RandomNumbers

/// What the initial parameters take from the training set.
package struct DataStatistics: Sendable {
  /// The mean image, normalised, `[inputs]`.
  package var mean: [Float]
  /// Normalised images, one after another, less the mean where the input is centred: what a
  /// dictionary may start from, or what the layers of another network are centred by.
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
  /// - Parameters:
  ///   - data: needed where the input is centred, or the layers are to be.
  ///   - centresLayers: whether biases start so that pre-activations average zero over the samples;
  ///     see `centreLayers`.
  package func initialParameters(
    seed: UInt64, data: DataStatistics? = nil, encoderStart: Double = 1,
    centresLayers: Bool = false
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
    if centresLayers, !isDictionary, let data { centreLayers(&values, layout, data.samples) }
    for slot in layout.slots {
      if slot.name == Self.inputMean {
        for (i, mean) in (data?.mean ?? []).prefix(slot.shape.count).enumerated() {
          values[slot.offset + i] = mean
        }
      } else if slot.name.hasPrefix("code.") {
        for i in 0..<slot.shape.count {
          values[slot.offset + i] = code.initialValue(ofParameter: slot.name)
        }
      }
    }
    return values
  }

  /// Sets the biases, layer by layer, so that each unit's pre-activation averages zero over the
  /// samples, with all of the code's latents let through: a unit that is below zero for every image
  /// would never be trained. A sigmoid at the end starts at the mean image, kept within 0.01 and 0.99.
  private func centreLayers(_ values: inout [Float], _ layout: ParameterLayout, _ samples: [Float])
  {
    let count = samples.count / inputs
    guard count > 0 else { return }
    var inputsOfLayer = samples
    for layer in 0..<layerCount {
      let (weight, bias) = (layout.slots[2 * layer], layout.slots[2 * layer + 1])
      let (width, outputs) = (widths[layer], widths[layer + 1])
      var sums = [Float](repeating: 0, count: count * outputs)
      values.withUnsafeBufferPointer { values in
        for i in 0..<count {
          for k in 0..<width {
            let x = inputsOfLayer[i * width + k]
            guard x != 0 else { continue }
            for j in 0..<outputs {
              sums[i * outputs + j] += x * values[weight.offset + k * outputs + j]
            }
          }
        }
      }
      for j in 0..<outputs {
        var mean = 0.0
        for i in 0..<count { mean += Double(sums[i * outputs + j]) }
        var start = -mean / Double(count)
        if layer == layerCount - 1, outputActivation == .sigmoid {
          var image = 0.0
          for i in 0..<count { image += Double(samples[i * inputs + j]) }
          let share = min(0.99, max(0.01, image / Double(count)))
          start += portableLogarithm(share / (1 - share))
        }
        values[bias.offset + j] = Float(start)
        for i in 0..<count { sums[i * outputs + j] += Float(start) }
      }
      let isRectified = layer == encoderLayers - 1 || hiddenActivation == .relu
      inputsOfLayer = isRectified ? sums.map { max($0, 0) } : sums
    }
  }

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
