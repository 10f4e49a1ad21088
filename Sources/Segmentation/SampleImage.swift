import Foundation
import Imaging

/// An image as numbers for a network: rows from the top, channels interleaved, so that sample
/// (x, y, c) is `samples[(y * width + x) * channels + c]`, in the units of the file until a
/// `PercentileNormalisation` changes them.
package struct SampleImage: Equatable, Sendable {
  package let width: Int
  package let height: Int
  /// One is grey, three are red, green, blue; any number where files are stacked.
  package let channels: Int
  package let sampleType: SampleType
  /// `width * height * channels` samples.
  package var samples: [Float]
  /// Whether the file says that it has alpha, which is none of the channels.
  package let hadAlpha: Bool

  package init(
    width: Int, height: Int, channels: Int, sampleType: SampleType, samples: [Float],
    hadAlpha: Bool = false
  ) {
    precondition(width > 0 && height > 0 && channels > 0, "an image has at least one sample")
    precondition(samples.count == width * height * channels, "samples do not fill the image")
    self.width = width
    self.height = height
    self.channels = channels
    self.sampleType = sampleType
    self.samples = samples
    self.hadAlpha = hadAlpha
  }

  /// For example `512x512 8-bit grey`.
  package var shapeDescription: String {
    let colour =
      switch channels {
      case 1: "grey"
      case 3: "RGB"
      default: "of \(channels) channels"
      }
    return "\(width)x\(height) \(sampleType.words) \(colour)"
  }

  /// At another resolution; see `Resampling`.
  ///
  /// - Parameter scale: of the width and the height, which are rounded and at least 1.
  package func resized(by scale: Double) -> SampleImage {
    func length(_ old: Int) -> Int { max(1, Int((Double(old) * scale).rounded())) }
    return SampleImage(
      width: length(width), height: length(height), channels: channels, sampleType: sampleType,
      samples: Resampling.resize(
        samples, height: height, width: width, channels: channels, toHeight: length(height),
        toWidth: length(width)))
  }
}

extension SampleImage {
  /// Reads one file whole, all of its pages that are images: the only place where this module does.
  ///
  /// - Returns: one image, or more for a TIFF of several pages, which need not be of one size.
  /// - Throws: `FileError` with the path where the file is absent, damaged or of no format that is
  ///   read, and where its pages take more than half of the machine's memory: a small file can
  ///   promise many.
  package static func pages(of path: String) throws -> [SampleImage] {
    let reader = try ImageReader(path: path)
    let most = Int(clamping: ProcessInfo.processInfo.physicalMemory / 2)
    var total = 0
    let pages = try reader.imagePages()
    return try pages.map { page in
      try reader.turn(to: page)
      let image = try read(reader)
      total += image.samples.count * MemoryLayout<Float>.stride
      guard pages.count == 1 || total <= most else {
        throw FileError(
          path: path,
          reason:
            "\(pages.count) pages, which take more than the \(most >> 20) MiB that images of "
            + "one file may have")
      }
      return image
    }
  }

  private static func read(_ reader: ImageReader) throws -> SampleImage {
    let image = try reader.image(as: Float.self)
    return SampleImage(
      width: image.width, height: image.height, channels: image.channels,
      sampleType: reader.sampleType, samples: image.samples, hadAlpha: reader.hasAlpha)
  }

  /// Reads a file of one image.
  ///
  /// - Throws: `FileError` as `pages(of:)` does, and where there are several pages.
  package static func read(_ path: String) throws -> SampleImage {
    let reader = try ImageReader(path: path)
    try reader.turnToOnlyImage()
    return try read(reader)
  }

  /// Reads files of one size as the channels of one image, in their order.
  ///
  /// - Throws: `FileError` as `read` does, and for another size or type than the first one's.
  package static func read(stacking paths: [String]) throws -> SampleImage {
    precondition(!paths.isEmpty, "an image has a file")
    let first = try read(paths[0])
    guard paths.count > 1 else { return first }
    var parts = [first]
    for path in paths.dropFirst() {
      let part = try read(path)
      guard (part.width, part.height) == (first.width, first.height),
        part.sampleType == first.sampleType
      else {
        throw FileError(
          path: path,
          reason: "\(part.shapeDescription), but \(paths[0]) is \(first.shapeDescription)")
      }
      parts.append(part)
    }
    let channels = parts.reduce(0) { $0 + $1.channels }
    // What does not overflow one by one may do so together.
    let (count, overflow) = (first.width * first.height).multipliedReportingOverflow(by: channels)
    guard !overflow else {
      throw FileError(path: paths[0], reason: "more channels than any memory can hold")
    }
    let samples = [Float](unsafeUninitializedCapacity: count) { target, initialized in
      var offset = 0
      for part in parts {
        for pixel in 0..<part.width * part.height {
          for c in 0..<part.channels {
            target[pixel * channels + offset + c] = part.samples[pixel * part.channels + c]
          }
        }
        offset += part.channels
      }
      initialized = count
    }
    return SampleImage(
      width: first.width, height: first.height, channels: channels, sampleType: first.sampleType,
      samples: samples, hadAlpha: parts.contains { $0.hadAlpha })
  }
}
