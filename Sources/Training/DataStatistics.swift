import Datasets
import Networks
import RandomNumbers

extension ImageSet {
  /// What a network's initial parameters take from this set; nil where they take nothing.
  package func statistics(
    for configuration: TrainingConfiguration, normalisation: Normalisation
  ) -> DataStatistics? {
    let network = configuration.network
    let mean =
      network.centredInput
      ? mean(normalisation) : [Float](repeating: 0, count: featureCount)
    let wanted =
      network.isDictionary
      ? (configuration.startsFromData ? network.latents : 0)
      : (configuration.centresLayers ? Self.samplesForCentring : 0)
    guard network.centredInput || wanted > 0 else { return nil }
    guard wanted > 0 else { return DataStatistics(mean: mean) }
    var generator = SplitMix64(seed: configuration.seed, stream: 3 << 32)
    let chosen = generator.shuffledIndices(count: count).prefix(wanted)
    var samples: [Float] = []
    samples.reserveCapacity(chosen.count * featureCount)
    for image in chosen {
      for j in 0..<featureCount {
        let value = Float(pixels[Int(image) * featureCount + j])
        samples.append(normalisation.scale * value + normalisation.shift - mean[j])
      }
    }
    return DataStatistics(mean: mean, samples: samples)
  }

  /// Enough for a mean; more would only take longer.
  private static let samplesForCentring = 2048

  /// The mean image, normalised.
  private func mean(_ normalisation: Normalisation) -> [Float] {
    var sums = [UInt64](repeating: 0, count: featureCount)
    pixels.withUnsafeBufferPointer { pixels in
      for i in 0..<count {
        for j in 0..<featureCount { sums[j] &+= UInt64(pixels[i * featureCount + j]) }
      }
    }
    return sums.map {
      Float(
        Double(normalisation.scale) * Double($0) / Double(count) + Double(normalisation.shift))
    }
  }
}
