import Compute
import Datasets
import Imaging
import Networks
import Training

extension ModelFile {
  func network<B: Backend>(on backend: B) throws -> Autoencoder<B> {
    try Autoencoder(description.training.network, parameters: parameters, on: backend)
  }

  /// - Throws: where the images are not of the shape that the model was trained on.
  func requireFit(_ images: ImageSet) throws {
    let wanted = (description.imageWidth, description.imageHeight, description.imageChannels)
    guard (images.width, images.height, images.channels) == wanted else {
      throw TrainingError.unsuitableData(
        "--data has images of \(images.width)x\(images.height)x\(images.channels), the model "
          + "takes \(wanted.0)x\(wanted.1)x\(wanted.2)")
    }
  }
}

/// Bytes from network outputs: the normalisation undone, rounded, clipped to 0...255.
func pixels(_ values: some Sequence<Float>, _ normalisation: Normalisation) -> [UInt8] {
  values.map { value in
    let byte = ((value - normalisation.shift) / normalisation.scale).rounded()
    return byte >= 255 ? 255 : byte > 0 ? UInt8(byte) : 0
  }
}

/// The first `count` images over their reconstructions.
func reconstructions<B: Backend>(
  of images: ImageSet, count: Int, evaluator: Evaluator<B>, normalisation: Normalisation
) throws -> Image {
  let chosen = images.prefix(count)
  var outputs: [Image] = []
  try evaluator.forEachBatch(of: chosen, normalisation: normalisation) { _, batch in
    outputs += try reconstructed(batch, like: images, normalisation, evaluator)
  }
  let side = max(images.width, images.height)
  return Montage.inputsOverReconstructions(
    inputs: (0..<chosen.count).map(chosen.image(at:)), reconstructions: outputs,
    perRow: min(16, max(1, 1024 / side)), factor: max(1, 56 / side))
}

/// The batch's reconstructions as images.
func reconstructed<B: Backend>(
  _ batch: Workspace<B>, like images: ImageSet, _ normalisation: Normalisation,
  _ evaluator: Evaluator<B>
) throws -> [Image] {
  let values = try evaluator.reconstruction(of: batch)
  let size = images.featureCount
  return (0..<batch.batch).map { row in
    Image(
      width: images.width, height: images.height, channels: images.channels,
      samples: pixels(values[row * size..<(row + 1) * size], normalisation))
  }
}

extension ImageSet {
  /// The first `count` images.
  func prefix(_ count: Int) -> ImageSet {
    let kept = min(count, self.count)
    return ImageSet(
      count: kept, width: width, height: height, channels: channels,
      pixels: Array(pixels[..<(kept * featureCount)]), labels: labels.map { Array($0[..<kept]) })
  }
}
