/// The shapes of a batch normalisation, checked once for every backend.
package struct NormalisationShape: Hashable, Sendable {
  /// M = N H W
  package let positions: Int
  package let channels: Int

  /// - Precondition: the maps and the parameters fit each other, and f is identity or ReLU.
  package init<S>(
    _ maps: FeatureMap<S>..., parameters: BatchNormalisation<S>, activation: Activation,
    gradients: [Tensor<S, Float>] = []
  ) {
    precondition(activation == .identity || activation == .relu, "\(activation) after a norm")
    requireSameExtents(maps)
    (positions, channels) = (maps[0].positions, maps[0].channels)
    for tensor in [parameters.scale] + gradients {
      precondition(tensor.count == channels, "\(tensor.shape) for \(channels) channels")
    }
  }
}

/// The shapes of a pooling, checked once for every backend.
package struct PoolShape: Hashable, Sendable {
  package let batch: Int
  /// H', W': of the output.
  package let outputHeight, outputWidth: Int
  package let channels: Int
  package let size: Int

  /// H, W: of the input.
  package var height: Int { outputHeight * size }
  package var width: Int { outputWidth * size }

  /// - Precondition: the large maps are `size` times as high and wide as the small ones.
  package init<S>(large: FeatureMap<S>..., small: FeatureMap<S>..., size: Int) {
    requireSameExtents(large)
    requireSameExtents(small)
    (batch, outputHeight, outputWidth) = (small[0].batch, small[0].height, small[0].width)
    channels = small[0].channels
    self.size = size
    precondition(size >= 1, "windows of \(size)x\(size)")
    precondition(
      large[0].batch == batch && large[0].channels == channels
        && large[0].height == outputHeight * size && large[0].width == outputWidth * size,
      "\(large[0].tensor.shape) pooled by \(size) into \(small[0].tensor.shape)")
  }
}

/// The shapes of a segmentation's loss, checked once for every backend.
package struct SegmentationShape: Hashable, Sendable {
  package let positions: Int
  package let classes: Int

  /// - Precondition: the tensors fit each other, 2 <= C <= 255, and the smoothing is positive.
  package init<S>(
    _ a: Tensor<S, Float>, labels: Tensor<S, UInt8>, classWeights w: Tensor<S, Float>,
    settings: SegmentationLoss, gradient: Tensor<S, Float>, figures: Tensor<S, Float>
  ) {
    precondition(a.shape.rank == 2 && gradient.shape == a.shape, "\(a.shape), \(gradient.shape)")
    (positions, classes) = (a.shape[0], a.shape[1])
    precondition(classes >= 2 && classes <= 255, "\(classes) classes")
    precondition(labels.count == positions, "\(labels.shape) labels for \(positions) positions")
    precondition(w.count == classes, "\(w.shape) weights for \(classes) classes")
    precondition(figures.count == 3, "three figures into \(figures.shape)")
    precondition(settings.smoothing > 0, "a smoothing of \(settings.smoothing)")
  }
}

private func requireSameExtents<S>(_ maps: [FeatureMap<S>]) {
  let first = maps[0]
  for map in maps.dropFirst() {
    precondition(
      map.batch == first.batch && map.height == first.height && map.width == first.width
        && map.channels == first.channels,
      "\(map.channels) channels of \(map.tensor.shape) with \(first.channels) of "
        + "\(first.tensor.shape)")
  }
}
