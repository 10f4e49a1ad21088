import Compute

/// Crops of labelled images, changed as an augmentation says.
package struct AugmentedCrops: LabelledCrops {
  private let sampler: CropSampler

  /// - Parameter images: normalised.
  package init(
    _ images: [LabelledImage], size: Int, augmentation: Augmentation, seed: UInt64
  ) {
    sampler = CropSampler(images, size: size, augmentation: augmentation, seed: seed)
  }

  package func fill(step: Int, inputs: inout [Float], labels: inout [UInt8]) {
    inputs.withUnsafeMutableBufferPointer { inputs in
      labels.withUnsafeMutableBufferPointer {
        sampler.fill(inputs, labels: $0, batch: UInt64(step))
      }
    }
  }
}

/// Crops of images, turned and mirrored, and what a corruption leaves of them.
package struct RestoredCrops: CorruptedCrops {
  private let sampler: CropSampler
  private let corruption: Corruption

  /// - Parameter images: normalised; labels have no part.
  package init(_ images: [LabelledImage], size: Int, corruption: Corruption, seed: UInt64) {
    var changes = Augmentation.none
    changes.flips = true
    changes.quarterTurns = true
    sampler = CropSampler(
      images.map { LabelledImage(name: $0.name, image: $0.image, labels: nil) }, size: size,
      augmentation: changes, seed: seed)
    self.corruption = corruption
  }

  package func fill(step: Int, inputs: inout [Float], targets: inout [Float]) {
    let area = sampler.size * sampler.size
    let length = area * sampler.channels
    let count = targets.count / length
    withUnsafeTemporaryAllocation(of: UInt8.self, capacity: count * area) { labels in
      targets.withUnsafeMutableBufferPointer {
        sampler.fill($0, labels: labels, batch: UInt64(step))
      }
      inputs.withUnsafeMutableBufferPointer { inputs in
        _ = inputs.update(fromContentsOf: targets)
        for crop in 0..<count {
          corruption.apply(
            to: UnsafeMutableBufferPointer(
              rebasing: inputs[crop * length..<(crop + 1) * length]),
            mask: UnsafeMutableBufferPointer(rebasing: labels[..<area]), width: sampler.size,
            height: sampler.size, channels: sampler.channels, seed: ~sampler.seed,
            stream: UInt64(step * count + crop))
        }
      }
    }
  }
}
