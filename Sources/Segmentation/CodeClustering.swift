import Compute
import Networks
import RandomNumbers
import Training

/// Groups the positions of images by their codes, without any label.
///
/// The code of a position stands for a square of pixels; a cluster's picture is enlarged by as much.
/// Codes are scaled to norm 1, so that a cluster is a direction and not a brightness.
package final class CodeClustering<B: Backend> {
  private let model: PretrainedModel
  private let backend: B
  private let network: FoldedNetwork<B>

  package init(_ model: PretrainedModel, on backend: B) throws {
    self.model = model
    self.backend = backend
    network = try model.folded(on: backend)
  }

  /// The clusters of an image's positions.
  package struct Codes: Sendable {
    /// Positions in a row and in a column.
    package let width, height: Int
    /// `[height, width, latents]`, each position of norm 1 or all zero.
    package let values: [Float]
  }

  /// The code of each position of an image that is in memory, as read.
  package func codes(of image: SampleImage) throws -> Codes {
    let alignment = model.network.alignment
    // One tile that is the whole padded image.
    let plan = TilePlan(
      width: image.width, height: image.height, tileSize: max(image.width, image.height), halo: 0,
      alignment: alignment)
    let tile = plan.bands[0].tiles[0]
    let channels = model.network.inputs
    let normalised = model.description.normalisation(image)
    var source = [Float](repeating: 0, count: plan.paddedWidth * plan.paddedHeight * channels)
    normalised.samples.withUnsafeBufferPointer { samples in
      source.withUnsafeMutableBufferPointer {
        plan.copySource(tile.source, from: samples, firstRow: 0, channels: channels, into: $0)
      }
    }
    let workspace = try ConvolutionalWorkspace(
      model.network, batch: 1, height: plan.paddedHeight, width: plan.paddedWidth, purpose: .use,
      on: backend)
    try backend.upload(source, into: workspace.input.tensor)
    try network.encode(workspace)
    var values = try backend.download(workspace.code)
    let latents = model.network.latents
    for position in 0..<values.count / latents {
      let range = position * latents..<(position + 1) * latents
      let norm = values[range].reduce(0.0) { $0 + Double($1) * Double($1) }.squareRoot()
      guard norm > 0 else { continue }
      for i in range { values[i] = Float(Double(values[i]) / norm) }
    }
    return Codes(
      width: plan.paddedWidth / alignment, height: plan.paddedHeight / alignment, values: values)
  }

  /// Finds the clusters over some positions of all images.
  ///
  /// - Parameter sampleCount: positions at most, drawn from all images alike.
  package func fit(
    _ codes: [Codes], clusters: Int, sampleCount: Int = 20_000, seed: UInt64
  ) throws(SegmentationError) -> KMeans {
    let latents = model.network.latents
    let perImage = max(1, sampleCount / max(1, codes.count))
    var rows: [Float] = []
    for (index, image) in codes.enumerated() {
      var generator = SplitMix64(seed: seed, stream: UInt64(index))
      let order = generator.shuffledIndices(count: image.width * image.height)
      for position in order.prefix(perImage) {
        rows += image.values[Int(position) * latents..<(Int(position) + 1) * latents]
      }
    }
    guard rows.count / latents >= clusters else {
      throw SegmentationError(
        "--k \(clusters): the images have \(rows.count / latents) positions of the code only")
    }
    return KMeans(rows: rows, dimension: latents, clusterCount: clusters, seed: seed)
  }

  /// The cluster of each pixel of the image that the codes are of.
  package func labels(
    _ codes: Codes, clusters: KMeans, width: Int, height: Int
  ) -> [UInt8] {
    let owners = clusters.assign(codes.values)
    let alignment = model.network.alignment
    return [UInt8](unsafeUninitializedCapacity: width * height) { target, initialized in
      for y in 0..<height {
        for x in 0..<width {
          target[y * width + x] = owners[y / alignment * codes.width + x / alignment]
        }
      }
      initialized = width * height
    }
  }
}
