import Foundation
import Imaging

/// Images of one size, 8 bits a sample, in one array: sample (n, y, x, c) is
/// `pixels[((n * height + y) * width + x) * channels + c]`.
package struct ImageSet: Sendable, Equatable {
  package let count: Int
  package let width: Int
  package let height: Int
  /// 1 (grey) or 3 (RGB).
  package let channels: Int
  package fileprivate(set) var pixels: [UInt8]
  /// The class of each image, where the source knows it.
  package let labels: [UInt8]?

  package init(
    count: Int, width: Int, height: Int, channels: Int, pixels: [UInt8], labels: [UInt8]? = nil
  ) {
    precondition(count > 0 && width > 0 && height > 0, "a set has images, an image has pixels")
    precondition(channels == 1 || channels == 3, "images are grey or RGB")
    precondition(pixels.count == count * width * height * channels, "pixels do not fill the set")
    precondition(labels.map { $0.count == count } ?? true, "one label for each image")
    self.count = count
    self.width = width
    self.height = height
    self.channels = channels
    self.pixels = pixels
    self.labels = labels
  }

  /// Samples in one image: `width * height * channels`.
  package var featureCount: Int { width * height * channels }

  package func image(at index: Int) -> Image {
    precondition(index >= 0 && index < count, "no image \(index) among \(count)")
    let range = index * featureCount..<(index + 1) * featureCount
    return Image(width: width, height: height, channels: channels, samples: Array(pixels[range]))
  }

  /// The images of these indices, without labels.
  package func subset(_ indices: [UInt32]) -> ImageSet {
    var chosen: [UInt8] = []
    chosen.reserveCapacity(indices.count * featureCount)
    for index in indices {
      let range = Int(index) * featureCount..<(Int(index) + 1) * featureCount
      chosen += pixels[range]
    }
    return ImageSet(
      count: indices.count, width: width, height: height, channels: channels, pixels: chosen)
  }

  /// For example `28x28 grey`.
  package var shapeDescription: String {
    "\(width)x\(height) \(channels == 1 ? "grey" : "RGB")"
  }
}

/// What a model is trained on and what it is scored by.
package struct Dataset: Sendable, Equatable {
  /// A short name such as `mnist`.
  package let name: String
  package let train: ImageSet
  package let test: ImageSet

  /// - Precondition: both parts have images of one shape.
  package init(name: String, train: ImageSet, test: ImageSet) {
    precondition(
      (train.width, train.height, train.channels) == (test.width, test.height, test.channels),
      "both parts have images of one shape")
    self.name = name
    self.train = train
    self.test = test
  }

  /// One line, for example `mnist: 60000 + 10000 images, 28x28 grey`.
  package var summary: String {
    let counts =
      train.count == 1 && test.count == 1 && train.pixels == test.pixels
      ? "1 image, trained on and tested on" : "\(train.count) + \(test.count) images"
    return "\(name): \(counts), \(train.shapeDescription)"
  }
}

extension Dataset {
  /// Splits a source without a test part of its own. Every tenth image, indices 9, 19, and so on,
  /// is tested; of 2 to 9 images the last one; a single image serves as both parts.
  ///
  /// Where nobody else holds `whole`, its memory becomes the training part's.
  package init(name: String, splitting whole: consuming ImageSet) {
    var set = consume whole
    let (count, size) = (set.count, set.featureCount)
    if count == 1 {
      self.init(name: name, train: set, test: set)
      return
    }
    func isTest(_ index: Int) -> Bool {
      count < 10 ? index == count - 1 : index % 10 == 9
    }
    let testCount = max(1, count / 10)
    let (width, height, channels) = (set.width, set.height, set.channels)
    let labels = set.labels?.enumerated()
    var train: [UInt8] = []
    swap(&train, &set.pixels)
    let test = [UInt8](unsafeUninitializedCapacity: testCount * size) { target, initialized in
      train.withUnsafeMutableBytes { pixels in
        guard let pixels = pixels.baseAddress, let target = target.baseAddress else { return }
        var kept = 0
        for index in 0..<count {
          let image = pixels + index * size
          if isTest(index) {
            memcpy(target + initialized, image, size)
            initialized += size
          } else {
            memmove(pixels + kept, image, size)
            kept += size
          }
        }
      }
    }
    train.removeLast(test.count)
    self.init(
      name: name,
      train: ImageSet(
        count: count - testCount, width: width, height: height, channels: channels, pixels: train,
        labels: labels?.filter { !isTest($0.offset) }.map(\.element)),
      test: ImageSet(
        count: testCount, width: width, height: height, channels: channels, pixels: test,
        labels: labels?.filter { isTest($0.offset) }.map(\.element)))
  }
}

/// How many bytes an array of this shape takes; nil where the number overflows.
func checkedProduct(_ factors: [Int]) -> Int? {
  var product = 1
  for factor in factors {
    let (next, overflow) = product.multipliedReportingOverflow(by: factor)
    guard !overflow, factor >= 0 else { return nil }
    product = next
  }
  return product
}

/// Refuses what cannot fit this machine's memory, before asking the system for it.
func checkFitsMemory(_ byteCount: Int, path: String) throws {
  let memory = Int(clamping: ProcessInfo.processInfo.physicalMemory)
  guard byteCount <= memory else {
    let needed = "\(byteCount >> 20) MiB of pixels"
    throw FileError(path: path, reason: "\(needed) do not fit in \(memory >> 20) MiB of memory")
  }
}
