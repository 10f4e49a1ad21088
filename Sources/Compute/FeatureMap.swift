/// Channels of a batch of images that lie side by side in memory: of a tensor `[N, H, W, P]`, the
/// channels `channelOffset ..< channelOffset + channels`.
///
/// Entry (n, y, x, c) is element `((n H + y) W + x) P + channelOffset + c` of the tensor. That a map
/// may be a part of a wider tensor is how skips are concatenated: both halves are written where the
/// next layer reads them, and no copy is made.
package struct FeatureMap<Storage: AnyObject> {
  /// `[N, H, W, P]`
  package let tensor: Tensor<Storage, Float>
  package let channelOffset: Int
  package let channels: Int

  /// All channels of `tensor`.
  package init(_ tensor: Tensor<Storage, Float>) {
    self.init(tensor, channels: 0..<tensor.shape.dimensions[3])
  }

  /// - Precondition: `tensor` has four dimensions and the channels are among those it has.
  package init(_ tensor: Tensor<Storage, Float>, channels: Range<Int>) {
    precondition(tensor.shape.rank == 4, "images are [N, H, W, C], not \(tensor.shape)")
    precondition(
      channels.lowerBound >= 0 && channels.upperBound <= tensor.shape[3] && !channels.isEmpty,
      "channels \(channels) of \(tensor.shape)")
    self.tensor = tensor
    channelOffset = channels.lowerBound
    self.channels = channels.count
  }

  package var batch: Int { tensor.shape[0] }
  package var height: Int { tensor.shape[1] }
  package var width: Int { tensor.shape[2] }
  /// P: elements from one pixel to the next.
  package var pitch: Int { tensor.shape[3] }
  /// N H W
  package var positions: Int { batch * height * width }
  /// Whether all channels of the tensor belong to the map.
  package var isWhole: Bool { channels == pitch }

  /// Channels of this map.
  package func channels(_ range: Range<Int>) -> FeatureMap {
    precondition(range.upperBound <= channels, "channels \(range) of \(channels)")
    return FeatureMap(
      tensor, channels: channelOffset + range.lowerBound..<channelOffset + range.upperBound)
  }

  /// A row for each position: `[N H W, C]`.
  ///
  /// - Precondition: the map is whole.
  package var matrix: Tensor<Storage, Float> {
    precondition(isWhole, "a part of the channels is no matrix")
    return tensor.view(at: 0, shape: [positions, channels])
  }

  /// The first images of the batch.
  package func images(_ range: Range<Int>) -> FeatureMap {
    FeatureMap(tensor.rows(range), channels: channelOffset..<channelOffset + channels)
  }
}
