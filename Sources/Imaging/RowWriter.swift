import CImageCodecs
import Foundation

/// Writes an image row by row, whole or not at all: the file has its name after `commit()` and
/// never before. The same rows give the same bytes. Not for use by two threads at once.
///
/// TIFF: 8-bit, 16-bit or 32-bit floating-point, in strips of about 512 KiB packed with deflate
/// (16 bits as differences), as BigTIFF where it might pass 4 GiB. PNG: 8 or 16 bits.
/// Memory: one strip.
package final class RowWriter {
  package enum Format: String, Sendable {
    case tiff = "TIFF"
    case png = "PNG"

    /// By the name's ending: .tif, .tiff or .png; nil for any other.
    package init?(path: String) {
      switch URL(fileURLWithPath: path).pathExtension.lowercased() {
      case "tif", "tiff": self = .tiff
      case "png": self = .png
      default: return nil
      }
    }
  }

  package let path: String
  package let width, height: Int
  /// 1 (grey) or 3 (RGB).
  package let channels: Int
  package let sampleType: SampleType
  /// How many rows are written so far.
  package private(set) var rowCount = 0

  private let file: AtomicFile
  private let encoder: any RowEncoder

  /// - Throws: `FileError` where the path is not writable, its ending is none of those above while
  ///   no format is given, or the format cannot hold such an image.
  package convenience init(
    path: String, format: Format? = nil, width: Int, height: Int, channels: Int,
    sampleType: SampleType
  ) throws {
    try self.init(
      path: path, format: format, width: width, height: height, channels: channels,
      sampleType: sampleType, isBig: nil)
  }

  /// `isBig`: whether to write BigTIFF, for tests.
  package init(
    path: String, format: Format? = nil, width: Int, height: Int, channels: Int,
    sampleType: SampleType, isBig: Bool?
  ) throws {
    precondition(width > 0 && height > 0, "an image has at least one pixel")
    precondition(channels == 1 || channels == 3, "an image is grey or RGB")
    guard let format = format ?? Format(path: path) else {
      throw FileError(
        path: path, reason: "cannot write: its name ends in none of .tif, .tiff, .png")
    }
    guard width <= (1 << 30) / (channels * sampleType.size), height <= Int(Int32.max) else {
      throw FileError(
        path: path, reason: "cannot write: \(width)x\(height) pixels are too many")
    }
    let file = try AtomicFile(path: path)
    let layout = ImageLayout(
      width: width, height: height, channels: channels, sampleType: sampleType)
    switch format {
    case .tiff: encoder = try TIFFEncoder(file, layout, isBig: isBig)
    case .png: encoder = try PNGEncoder(file, layout)
    }
    (self.path, self.file, self.sampleType) = (path, file, sampleType)
    (self.width, self.height, self.channels) = (width, height, channels)
  }

  /// Appends whole rows, channels interleaved.
  ///
  /// - Precondition: `Sample` is the type that the file was opened for, the samples are whole rows,
  ///   and no more of them than the image has.
  package func write<Sample: ImageSample>(_ samples: UnsafeBufferPointer<Sample>) throws {
    precondition(Sample.sampleType == sampleType, "samples of another type than the file's")
    let samplesPerRow = width * channels
    precondition(samples.count % samplesPerRow == 0, "not whole rows")
    let count = samples.count / samplesPerRow
    precondition(rowCount + count <= height, "more rows than the image has")
    guard let base = samples.baseAddress else { return }
    try encoder.append(UnsafeRawPointer(base), rows: count)
    rowCount += count
  }

  /// Appends whole rows.
  package func write<Sample: ImageSample>(_ samples: [Sample]) throws {
    try samples.withUnsafeBufferPointer { try write($0) }
  }

  /// Appends the rows of `band`, which is as wide as the image.
  package func write<Sample: ImageSample>(_ band: Raster<Sample>) throws {
    precondition(band.width == width && band.channels == channels, "rows of another image")
    try write(band.samples)
  }

  /// Ends the file and gives it its name.
  /// - Precondition: every row is written.
  package func commit() throws {
    precondition(rowCount == height, "\(height - rowCount) rows are missing")
    try encoder.finish()
    try file.commit()
  }

  /// Writes an image that is there as a whole.
  package static func write<Sample: ImageSample>(
    _ image: Raster<Sample>, to path: String, format: Format? = nil
  ) throws {
    let writer = try RowWriter(
      path: path, format: format, width: image.width, height: image.height,
      channels: image.channels, sampleType: Sample.sampleType)
    try writer.write(image)
    try writer.commit()
  }
}

private protocol RowEncoder: AnyObject {
  func append(_ rows: UnsafeRawPointer, rows count: Int) throws
  func finish() throws
}

private final class TIFFEncoder: RowEncoder {
  private let file: AtomicFile
  private let layout: ImageLayout
  private let handle: OpaquePointer
  private let strip: RawMemory
  private let rowsPerStrip: Int
  private var rowsInStrip = 0
  private var stripIndex = 0

  init(_ file: AtomicFile, _ layout: ImageLayout, isBig: Bool?) throws {
    rowsPerStrip = min(layout.height, max(1, (512 << 10) / layout.rowBytes))
    let strips = (layout.height + rowsPerStrip - 1) / rowsPerStrip
    // 30 and 31 bits. What does not pack grows by less than a thousandth; every strip has its
    // place and size in a table.
    let bytes = layout.rowBytes * layout.height
    let largest = bytes + bytes / 1000 + strips * 64 + 4096
    var description = sparrow_tiff_layout()
    description.width = UInt32(layout.width)
    description.height = UInt32(layout.height)
    description.rows_per_strip = UInt32(rowsPerStrip)
    description.channels = UInt16(layout.channels)
    description.bits = UInt16(layout.sampleType.size * 8)
    description.is_float = layout.sampleType == .float32
    description.is_big = isBig ?? (largest > Int(UInt32.max))
    let strip = try RawMemory(byteCount: rowsPerStrip * layout.rowBytes, path: file.path)
    handle = try withCodecMessage { message in
      guard let handle = sparrow_tiff_create(file.descriptor, &description, message) else {
        throw FileError(path: file.path, reason: "TIFF: \(String(cString: message))")
      }
      return handle
    }
    (self.file, self.layout, self.strip) = (file, layout, strip)
  }

  deinit { sparrow_tiff_close(handle) }

  private func attempt(_ body: (OpaquePointer, UnsafeMutablePointer<CChar>) -> Bool) throws {
    try withCodecMessage { message in
      guard body(handle, message) else {
        throw FileError(path: file.path, reason: "TIFF: \(String(cString: message))")
      }
    }
  }

  func append(_ rows: UnsafeRawPointer, rows count: Int) throws {
    var done = 0
    while done < count {
      let part = min(count - done, rowsPerStrip - rowsInStrip)
      memcpy(
        strip.base + rowsInStrip * layout.rowBytes, rows + done * layout.rowBytes,
        part * layout.rowBytes)
      done += part
      rowsInStrip += part
      if rowsInStrip == rowsPerStrip { try flush() }
    }
  }

  private func flush() throws {
    guard rowsInStrip > 0 else { return }
    let bytes = rowsInStrip * layout.rowBytes
    try attempt { sparrow_tiff_write_strip($0, UInt32(stripIndex), strip.base, bytes, $1) }
    stripIndex += 1
    rowsInStrip = 0
  }

  func finish() throws {
    try flush()
    try attempt { sparrow_tiff_finish($0, $1) }
  }
}

private final class PNGEncoder: RowEncoder {
  private let file: AtomicFile
  private let layout: ImageLayout
  private let handle: OpaquePointer

  init(_ file: AtomicFile, _ layout: ImageLayout) throws {
    guard layout.sampleType != .float32 else {
      throw FileError(
        path: file.path, reason: "cannot write: PNG holds no floating-point samples, TIFF does")
    }
    (self.file, self.layout) = (file, layout)
    handle = try withCodecMessage { message in
      guard
        let handle = sparrow_png_create(
          file.descriptor, UInt32(layout.width), UInt32(layout.height), UInt32(layout.channels),
          UInt32(layout.sampleType.size * 8), message)
      else { throw FileError(path: file.path, reason: "PNG: \(String(cString: message))") }
      return handle
    }
  }

  deinit { sparrow_png_abandon(handle) }

  private func attempt(_ body: (OpaquePointer, UnsafeMutablePointer<CChar>) -> Bool) throws {
    try withCodecMessage { message in
      guard body(handle, message) else {
        throw FileError(path: file.path, reason: "PNG: \(String(cString: message))")
      }
    }
  }

  func append(_ rows: UnsafeRawPointer, rows count: Int) throws {
    for row in 0..<count {
      try attempt { sparrow_png_write_row($0, rows + row * layout.rowBytes, $1) }
    }
  }

  func finish() throws { try attempt { sparrow_png_finish($0, $1) } }
}
