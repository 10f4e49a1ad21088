import Foundation

/// An image in a file, read by bands of rows: TIFF, PNG or JPEG, with the depth that it has.
///
/// - TIFF: 8-bit and 16-bit unsigned and 32-bit floating-point samples (signed ones are an error);
///   grey, RGB, and 8-bit palettes, which become RGB. Grey with 0 as white is turned round. Alpha is
///   dropped without blending; other extra samples are an error. Strips or tiles,
///   interleaved or planar, uncompressed, LZW, deflate, PackBits, JPEG, LZMA or Zstandard as far as
///   libtiff has them; BigTIFF; any number of pages.
/// - PNG: as `ImageFile.read` does, but 16 bits stay 16.
/// - JPEG: as `ImageFile.read` does.
///
/// Images are upright, as an orientation tag, or Exif's, has it. Memory: the rows asked for, and
/// besides them one row of strips or tiles; in a PNG, and where a TIFF strip is larger than 8 MiB,
/// the latest 32 MiB or 256 rows, and such a strip as it is packed; an interlaced PNG, a JPEG and
/// what has to be turned by a right angle, or upside down in a PNG or a large strip, as a whole (at
/// most 2^28 pixels). What is kept takes at most 256 MiB, and a row, strip or tile 1 GiB; before it
/// is allocated, what a header promises is held against what a file of this size can unpack to:
/// 1032 times as many bytes for deflate, 512 samples of a channel a byte for JPEG, 2^15 bytes for
/// Zstandard and LZMA. What libtiff asks for at once is at most 64 MiB and 16 times the file, what
/// libjpeg keeps of a progressive image 1 GiB; liblzma's dictionaries alone are as large as the
/// file says.
///
/// Rows may be asked for in any order. Upwards is cheap; in large strips and in PNG, going back by
/// more than what is kept decodes the image from its start again. Damage is an error that names the
/// path when the rows that it hits are asked for, and no pixel is ever made up. Not for use by two
/// threads at once.
package final class ImageReader {
  package enum Format: String, Sendable {
    case tiff = "TIFF"
    case png = "PNG"
    case jpeg = "JPEG"

    /// Nil where `bytes`, the start of a file, are none of these.
    package init?(startingWith bytes: some Collection<UInt8>) {
      let tiff: [[UInt8]] = [
        [0x49, 0x49, 0x2A, 0], [0x49, 0x49, 0x2B, 0], [0x4D, 0x4D, 0, 0x2A], [0x4D, 0x4D, 0, 0x2B],
      ]
      if tiff.contains(where: { bytes.starts(with: $0) }) {
        self = .tiff
        return
      }
      switch ImageFile.Format(startingWith: bytes) {
      case .png: self = .png
      case .jpeg: self = .jpeg
      case nil: return nil
      }
    }
  }

  package let path: String
  package let format: Format
  /// 1 but for TIFF.
  package let pageCount: Int
  /// The page that is read, from 0.
  package private(set) var page: Int
  private var source: any RowSource
  private let tiff: TIFFReader?
  private let pngHasAlpha: Bool
  /// Whether the page has alpha, which is dropped.
  package var hasAlpha: Bool { tiff?.hasAlpha ?? pngHasAlpha }
  /// Where samples are converted, and how many rows it holds.
  private var scratch: (memory: RawMemory, rows: Int)?

  /// In pixels, as are the rows.
  package var width: Int { source.layout.width }
  package var height: Int { source.layout.height }
  /// 1 (grey) or 3 (RGB).
  package var channels: Int { source.layout.channels }
  package var sampleType: SampleType { source.layout.sampleType }

  /// Opens a file and reads its header; `page` counts from 0.
  ///
  /// - Throws: `FileError` with the path where the file is not readable, not an image, damaged, or
  ///   of a kind that is not read, or has no such page.
  package init(path: String, page: Int = 0) throws {
    precondition(page >= 0, "pages count from 0")
    let file = try InputFile(path: path)
    var start = [UInt8](repeating: 0, count: 8)
    let count = try start.withUnsafeMutableBytes { try file.read(into: $0) }
    guard let format = Format(startingWith: start[..<count]) else {
      throw FileError(path: path, reason: "neither a TIFF nor a PNG nor a JPEG image")
    }
    let tiff = format == .tiff ? try TIFFReader(file) : nil
    let pageCount = tiff?.pageCount ?? 1
    guard page < pageCount else { throw Self.noSuchPage(page, of: pageCount, path: path) }
    switch format {
    case .png:
      let stream = try PNGRowStream(file)
      let rows: any RowSource =
        stream.isInterlaced ? try stream.whole() : try StreamedRows(stream)
      source = try stream.orientation.upright(
        rows, goesBack: stream.isInterlaced, path: path)
      pngHasAlpha = stream.hasAlpha
    default:
      pngHasAlpha = false
      source = try tiff?.rows(ofPage: page) ?? DecodedImage(ImageFile.read(path))
    }
    (self.path, self.format, self.pageCount, self.page, self.tiff) =
      (path, format, pageCount, page, tiff)
  }

  private static func noSuchPage(_ page: Int, of count: Int, path: String) -> FileError {
    let pages = count == 1 ? "1 page" : "\(count) pages"
    return FileError(path: path, reason: "no page \(page + 1), it has \(pages)")
  }

  /// Goes to another page, from 0, whose size and kind may differ.
  package func turn(to page: Int) throws {
    precondition(page >= 0, "pages count from 0")
    guard page < pageCount else { throw Self.noSuchPage(page, of: pageCount, path: path) }
    guard page != self.page, let tiff else { return }
    // Where the new page is not readable, the old one still is.
    do {
      source = try tiff.rows(ofPage: page)
    } catch {
      source = try tiff.rows(ofPage: self.page)
      throw error
    }
    self.page = page
    scratch = nil
  }

  /// The pages that are images of their own: those that a TIFF does not say to be smaller copies, or
  /// masks, of others; all where it says so of all. That a page cannot be read is for `turn` to say.
  package func imagePages() throws -> [Int] {
    guard pageCount > 1, let tiff else { return [0] }
    let pages = (0..<pageCount).filter { !tiff.isCopy($0) }
    source = try tiff.rows(ofPage: page)
    scratch = nil
    return pages.isEmpty ? Array(0..<pageCount) : pages
  }

  /// Goes to the one page that is an image.
  ///
  /// - Throws: `FileError` where several are.
  package func turnToOnlyImage() throws {
    let pages = try imagePages()
    guard pages.count == 1 else {
      throw FileError(path: path, reason: "has \(pages.count) pages where one is expected")
    }
    try turn(to: pages[0])
  }

  /// Fills `target` with `rows`, channels interleaved, values as stored.
  ///
  /// - Precondition: the rows are within the image, and `target` holds exactly
  ///   `rows.count * width * channels` samples.
  /// - Throws: `FileError` where the file is damaged there, or where its samples do not all fit
  ///   `Sample`: 8-bit fits all, 16-bit does not fit `UInt8`, floating-point fits only `Float`.
  package func read<Sample: ImageSample>(
    _ rows: Range<Int>, into target: UnsafeMutableBufferPointer<Sample>
  ) throws {
    precondition(rows.lowerBound >= 0 && rows.upperBound <= height, "rows outside the image")
    precondition(target.count == rows.count * width * channels, "the rows do not fill the buffer")
    try read(rows, as: Sample.sampleType, into: UnsafeMutableRawBufferPointer(target))
  }

  private func read(
    _ rows: Range<Int>, as type: SampleType, into target: UnsafeMutableRawBufferPointer
  ) throws {
    guard sampleType.fits(type) else {
      throw FileError(
        path: path, reason: "\(sampleType.words) samples where \(type.words) ones are wanted")
    }
    guard let base = target.baseAddress, !rows.isEmpty else { return }
    if type == sampleType {
      try source.read(rows, into: base)
      return
    }
    // Converted a few rows at a time, so that the rows do not take their memory twice.
    let rowBytes = source.layout.rowBytes
    let scratch = try self.scratch ?? Self.makeScratch(rowBytes: rowBytes, path: path)
    self.scratch = scratch
    let samplesPerRow = width * channels
    var row = rows.lowerBound
    while row < rows.upperBound {
      let part = row..<min(rows.upperBound, row + scratch.rows)
      try source.read(part, into: scratch.memory.base)
      sampleType.widen(
        scratch.memory.base, to: type,
        base + (row - rows.lowerBound) * samplesPerRow * type.size,
        count: part.count * samplesPerRow)
      row = part.upperBound
    }
  }

  private static func makeScratch(
    rowBytes: Int, path: String
  ) throws -> (memory: RawMemory, rows: Int) {
    let rows = max(1, (1 << 18) / rowBytes)
    return (try RawMemory(byteCount: rows * rowBytes, path: path), rows)
  }

  /// Rows with their values as stored, not scaled: 0 to 255, 0 to 65535, or what a float holds.
  /// - Throws: as `read(_:into:)`, and where there is no memory for them.
  package func rows<Sample: ImageSample>(
    _ rows: Range<Int>, as type: Sample.Type = Float.self
  ) throws -> Raster<Sample> {
    precondition(!rows.isEmpty, "at least one row")
    precondition(rows.lowerBound >= 0 && rows.upperBound <= height, "rows outside the image")
    let samplesPerRow = width * channels
    guard rows.count <= Self.maximumSampleCount / samplesPerRow else {
      throw FileError(
        path: path,
        reason: "\(rows.count) rows of \(width) pixels are too many to hold at once")
    }
    let count = rows.count * samplesPerRow
    let samples = try [Sample](unsafeUninitializedCapacity: count) { target, initialized in
      try read(rows, into: UnsafeMutableBufferPointer(rebasing: target[..<count]))
      initialized = count
    }
    return Raster(width: width, height: rows.count, channels: channels, samples: samples)
  }

  /// The most samples that `rows` returns at once.
  private static let maximumSampleCount = 1 << 31

  /// The page as a whole; at most 2^28 pixels.
  package func image<Sample: ImageSample>(as type: Sample.Type = Float.self) throws -> Raster<
    Sample
  > {
    guard width <= ImageFile.maximumPixelCount / height else {
      throw FileError(
        path: path,
        reason: "\(width)x\(height) is more than \(ImageFile.maximumPixelCount) pixels at once")
    }
    return try rows(0..<height, as: type)
  }
}
