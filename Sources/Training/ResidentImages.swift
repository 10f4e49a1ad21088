import Compute
import Datasets

/// A set of images in the device's memory, as bytes: a quarter of what floats would take.
package struct ResidentImages<B: Backend> {
  package let count: Int
  package let pixels: B.Bytes
  package let normalisation: Normalisation

  package init(_ images: ImageSet, normalisation: Normalisation, on backend: B) throws {
    count = images.count
    pixels = try backend.allocate([images.count, images.featureCount], of: UInt8.self)
    try backend.upload(images.pixels, into: pixels)
    self.normalisation = normalisation
  }

  /// Forms the batch of the images that `order` names from `start` on.
  package func gather(order: B.Indices, start: Int, into x: B.Floats, on backend: B) throws {
    try backend.gather(
      pixels, order: order, start: start, scale: normalisation.scale, shift: normalisation.shift,
      into: x)
  }
}
