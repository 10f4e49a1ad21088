import Compute
import Imaging
import Networks
import Training

/// What a pretrained front end makes of its images.
package struct PretrainingReport: Sendable {
  /// sum ||x - xhat||^2 / sum ||x - mean||^2 over the crops, x whole and xhat from the corrupted
  /// crop; the mean is that of all pixels of a channel.
  package let fvu: Double
  /// The mean number of active latents of a position.
  package let l0: Double
  /// Latents that are zero at every position.
  package let dead: Int
  /// Rows of three: what the network saw, what it made of it, the truth.
  package let picture: Image
}

extension Pretrainer {
  /// Restores corrupted crops, up to 64 of them, as the model is used: with its running statistics.
  ///
  /// - Parameter images: normalised.
  package static func evaluate<B: Backend>(
    _ model: PretrainedModel, images: [LabelledImage], on backend: B
  ) throws -> PretrainingReport {
    let training = model.description.training
    let (size, channels) = (training.cropSize, training.network.inputs)
    let network: FoldedNetwork<B> = try model.folded(on: backend)
    let workspace = try ConvolutionalWorkspace(
      training.network, batch: 1, height: size, width: size, purpose: .use, on: backend)
    // Streams of crops that training has not drawn.
    let crops = RestoredCrops(
      images, size: size, corruption: model.description.corruption, seed: training.seed &+ 0x5eed)
    let latents = training.network.latents
    let count = min(64, max(16, 2 * images.count))
    let pixels = size * size
    var (input, target) = (
      [Float](repeating: 0, count: pixels * channels),
      [Float](repeating: 0, count: pixels * channels)
    )
    var firings = [Int](repeating: 0, count: latents)
    var error = 0.0
    var sums = [Double](repeating: 0, count: channels)
    var squares = sums
    var shown: [[Image]] = []
    for index in 1...count {
      crops.fill(step: index, inputs: &input, targets: &target)
      try backend.upload(input, into: workspace.input.tensor)
      try network.forward(workspace)
      let output = try backend.download(workspace.output.tensor)
      let code = try backend.download(workspace.code)
      for (place, value) in code.enumerated() where value != 0 { firings[place % latents] += 1 }
      for place in target.indices {
        let (x, y) = (Double(target[place]), Double(output[place]))
        error += (x - y) * (x - y)
        sums[place % channels] += x
        squares[place % channels] += x * x
      }
      if shown.count < 12 {
        shown.append(
          [input, output, target].map { samples in
            SegmentationPicture.picture(
              of: SampleImage(
                width: size, height: size, channels: channels, sampleType: .float32,
                samples: samples))
          })
      }
    }
    guard error.isFinite else {
      throw SegmentationError(
        "what the model makes of images is no finite number: its training diverged (try a smaller "
          + "--learning-rate)")
    }
    let samples = Double(count * pixels)
    let spread = zip(sums, squares).reduce(0) { $0 + $1.1 - $1.0 * $1.0 / samples }
    let positions = Double(count * workspace.positions)
    return PretrainingReport(
      fvu: error / spread, l0: Double(firings.reduce(0, +)) / positions,
      dead: firings.count { $0 == 0 },
      picture: Montage.tiles(shown.flatMap { $0 }, columns: 6, spacing: 3))
  }
}
