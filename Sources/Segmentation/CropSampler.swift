import Compute
import Dispatch
import RandomNumbers

/// Crops for one step of training.
package struct CropBatch: Equatable, Sendable {
  /// `[count, size, size, channels]`
  package var images: [Float]
  /// `[count, size, size]`, `SegmentationLoss.ignored` where unlabelled.
  package var labels: [UInt8]
}

/// Cuts square crops at random from images and their labels, changed as an `Augmentation` says.
///
/// Crop i of batch b depends on the seed and on b * count + i alone: batches may be made in any
/// order and on any thread, and a training that goes on after a stop needs no more than the number
/// of its next batch. Beyond an image's edge, the image is mirrored. Images are sampled bilinearly,
/// labels at the nearest pixel.
package struct CropSampler: Sendable {
  /// Pixels in a row and in a column of a crop.
  package let size: Int
  package let channels: Int
  package let augmentation: Augmentation
  package let seed: UInt64
  private let images: [LabelledImage]
  private let focus: Float
  private let sites: [LabelSites]

  /// - Parameters:
  ///   - images: normalised, all of one number of channels; each is drawn as often as another.
  ///   - focus: the share of crops with a pixel near their middle that is labelled with a class
  ///     drawn at random from those of the image. In images of which less than half is labelled,
  ///     such as by scribbles, all crops are such.
  package init(
    _ images: [LabelledImage], size: Int, augmentation: Augmentation, seed: UInt64,
    focus: Float = 0
  ) {
    precondition(!images.isEmpty && size > 0, "crops have pixels, from at least one image")
    channels = images[0].image.channels
    for image in images {
      precondition(image.image.channels == channels, "\(image.name) has other channels")
    }
    self.images = images
    self.size = size
    self.augmentation = augmentation
    self.seed = seed
    self.focus = focus
    sites = images.map { LabelSites($0, always: focus > 0) }
  }

  /// A batch of `count` crops.
  package func batch(_ index: UInt64, count: Int) -> CropBatch {
    var labels = [UInt8](repeating: SegmentationLoss.ignored, count: count * size * size)
    let images = [Float](unsafeUninitializedCapacity: count * size * size * channels) {
      target, initialized in
      labels.withUnsafeMutableBufferPointer {
        fill(UnsafeMutableBufferPointer(rebasing: target[...]), labels: $0, batch: index)
      }
      initialized = count * size * size * channels
    }
    return CropBatch(images: images, labels: labels)
  }

  /// Writes the crops of a batch into buffers that exist, as many as they hold.
  ///
  /// - Precondition: the buffers hold the same, whole number of crops.
  package func fill(
    _ images: UnsafeMutableBufferPointer<Float>, labels: UnsafeMutableBufferPointer<UInt8>,
    batch: UInt64
  ) {
    let area = size * size
    let count = labels.count / area
    precondition(
      labels.count == count * area && images.count == labels.count * channels,
      "the buffers do not hold whole crops")
    // The crops of a batch do not overlap, so that each may be made on a thread of its own.
    nonisolated(unsafe) let (images, labels) = (images, labels)
    DispatchQueue.concurrentPerform(iterations: count) { i in
      var random = SplitMix64(seed: seed, stream: batch &* UInt64(count) &+ UInt64(i))
      cut(
        into: UnsafeMutableBufferPointer(
          rebasing: images[i * area * channels..<(i + 1) * area * channels]),
        labels: UnsafeMutableBufferPointer(rebasing: labels[i * area..<(i + 1) * area]),
        random: &random)
    }
  }

  private func cut(
    into target: UnsafeMutableBufferPointer<Float>, labels: UnsafeMutableBufferPointer<UInt8>,
    random: inout SplitMix64
  ) {
    let index = Int(random.nextIndex(below: UInt64(images.count)))
    let source = images[index]
    let site = sites[index].draw(focus: focus, random: &random)
    let x = origin(in: source.image.width, near: site.map { $0 % source.image.width }, &random)
    let y = origin(in: source.image.height, near: site.map { $0 / source.image.width }, &random)
    let geometry = CropGeometry(
      size: size, originX: x, originY: y, options: augmentation, random: &random)
    let change = IntensityChange(options: augmentation, random: &random)
    let fading = ClassFading(options: augmentation, random: &random)
    sample(source, geometry, into: target, labels: labels)
    fading?.apply(to: target, labels: labels, size: size, channels: channels)
    change.apply(to: target, size: size, channels: channels, random: &random)
  }

  /// Where a crop starts in a row or column of `length` pixels: within it where it is long enough,
  /// around it where not, and with `site` in its middle half.
  private func origin(in length: Int, near site: Int?, _ random: inout SplitMix64) -> Int {
    let (low, high) = (min(0, length - size), max(0, length - size))
    guard let site else { return low + Int(random.nextIndex(below: UInt64(high - low) + 1)) }
    let place = site - size / 4 - Int(random.nextIndex(below: UInt64(max(1, size / 2))))
    return min(max(place, low), high)
  }

  private func sample(
    _ source: LabelledImage, _ geometry: CropGeometry,
    into target: UnsafeMutableBufferPointer<Float>,
    labels: UnsafeMutableBufferPointer<UInt8>
  ) {
    if source.labels == nil { labels.update(repeating: SegmentationLoss.ignored) }
    withUnsafeTemporaryAllocation(of: Float.self, capacity: 2 * size) { places in
      guard let x = places.baseAddress, let base = target.baseAddress else { return }
      let y = x + size
      source.image.samples.withUnsafeBufferPointer { samples in
        let sampler = RowSampler(
          samples: samples, width: source.image.width, height: source.image.height,
          channels: channels)
        for row in 0..<size {
          geometry.places(ofRow: row, x: x, y: y)
          let line = base + row * size * channels
          if geometry.isExact {
            sampler.nearest(x, y, count: size, into: line)
          } else {
            sampler.bilinear(x, y, count: size, into: line)
          }
          if let values = source.labels, let labelBase = labels.baseAddress {
            values.withUnsafeBufferPointer { values in
              let sampler = RowSampler(
                samples: values, width: source.image.width, height: source.image.height,
                channels: 1)
              sampler.nearest(x, y, count: size, into: labelBase + row * size)
            }
          }
        }
      }
    }
  }
}

/// Some pixels of each class of an image, to centre crops at.
private struct LabelSites: Sendable {
  private static let maximumCount = 4096
  /// Of each class that the image has.
  private let places: [[Int]]
  private let isSparse: Bool

  /// - Parameter always: whether images with many labels get sites too.
  init(_ image: LabelledImage, always: Bool) {
    guard let labels = image.labels else {
      (places, isSparse) = ([], false)
      return
    }
    var counts = [Int](repeating: 0, count: 256)
    for label in labels { counts[Int(label)] += 1 }
    let ignored = Int(SegmentationLoss.ignored)
    isSparse = 2 * counts[ignored] > labels.count
    guard always || isSparse else {
      places = []
      return
    }
    // Every n-th pixel of a class, so that there are no more than the maximum.
    let steps = counts.map { max(1, ($0 + Self.maximumCount - 1) / Self.maximumCount) }
    var seen = [Int](repeating: 0, count: 256)
    var found = [[Int]](repeating: [], count: 256)
    for (place, label) in labels.enumerated() where label != SegmentationLoss.ignored {
      let label = Int(label)
      if seen[label] % steps[label] == 0 { found[label].append(place) }
      seen[label] += 1
    }
    places = found.filter { !$0.isEmpty }
  }

  /// A pixel to centre the next crop near to; nil where it may lie anywhere.
  func draw(focus: Float, random: inout SplitMix64) -> Int? {
    guard !places.isEmpty, isSparse || random.nextUniform() < focus else { return nil }
    let sites = places[Int(random.nextIndex(below: UInt64(places.count)))]
    return sites[Int(random.nextIndex(below: UInt64(sites.count)))]
  }
}
