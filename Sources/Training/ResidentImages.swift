import Compute
import Datasets

/// A set of images in the device's memory, as bytes: a quarter of what floats would take.
package struct ResidentImages<B: Backend> {
  package let count: Int
  package let pixels: B.Bytes
  package let normalisation: Normalisation
  /// What is taken from every normalised image, `[inputs]`; nothing when nil.
  package let mean: B.Floats?

  package init(
    _ images: ImageSet, normalisation: Normalisation, mean: B.Floats? = nil, on backend: B
  ) throws {
    count = images.count
    pixels = try backend.allocate([images.count, images.featureCount], of: UInt8.self)
    try backend.upload(images.pixels, into: pixels)
    self.normalisation = normalisation
    self.mean = mean
  }

  /// Sends the numbers of images, and waits until they are there: what a command that was aborted
  /// leaves in their place would have `gather` read anywhere.
  package func upload(_ numbers: [UInt32], into order: B.Indices, on backend: B) throws {
    try backend.upload(numbers, into: order)
    try backend.finish()
  }

  /// Forms the batch of the images that `order` names from `start` on.
  package func gather(order: B.Indices, start: Int, into x: B.Floats, on backend: B) throws {
    try backend.gather(
      pixels, order: order, start: start, scale: normalisation.scale, shift: normalisation.shift,
      mean: mean, into: x)
  }
}
