import CImageCodecs
import Foundation

/// One page of a TIFF file as its tags describe it, checked so that no size computed from it can
/// overflow or pass what is reasonable.
struct TIFFPage: Equatable {
  /// No row, strip, tile, nor row of tiles may take more: 1 GiB.
  static let maximumBytes = ImageLayout.maximumRowBytes

  let layout: ImageLayout
  /// Samples of a pixel within a strip or tile: those of all channels and the extra ones, or one
  /// where every sample has a plane of its own.
  let stride: Int
  let isPlanar: Bool
  let isTiled: Bool
  /// Of a tile; a strip is as wide as the image.
  let chunkWidth, chunkHeight: Int
  /// Of one row of a strip or tile as stored.
  let chunkRowBytes: Int
  let isInverted: Bool
  let hasPalette: Bool
  let hasAlpha: Bool
  /// As many times its size a strip or tile can unpack to.
  private let expansion: Int
  let orientation: Orientation

  /// Of a strip or tile as stored.
  var chunkBytes: Int { chunkRowBytes * chunkHeight }

  /// - Parameters:
  ///   - fileSize: no strip, tile nor row of tiles may promise more than the file can hold.
  ///   - pageCount: of the file.
  /// - Throws: `Refusal` where Sparrow does not read such a page.
  init(_ page: sparrow_tiff_page, fileSize: Int, pageCount: Int) throws {
    let (width, height) = (Int(page.width), Int(page.height))
    guard width > 0, height > 0 else { throw Refusal("\(width)x\(height) has no pixel") }
    guard page.depth <= 1 else {
      throw Refusal("a volume of \(page.depth) slices in one page is not read, only pages")
    }
    guard pageCount > 1 || !Self.hidesImages(page, fileSize: fileSize) else {
      throw Refusal(
        "the file holds more images than the one that it has as a page: save each as one")
    }
    guard Self.readable.contains(page.compression) else {
      let name = Self.names[page.compression].map { " (\($0))" } ?? ""
      throw Refusal("compression \(page.compression)\(name) is not read")
    }
    guard page.is_readable else {
      throw Refusal(
        "this libtiff is built without \(Self.names[page.compression] ?? "its compression")")
    }
    let sampleType = try Self.sampleType(page)
    let (samples, extra) = (Int(page.samples), Int(page.extra_count))
    let colours: Int
    switch page.photometric {
    case 0, 1: colours = 1
    case 2: colours = 3
    case 3:
      guard sampleType == .uint8 else {
        throw Refusal("a palette of \(sampleType.words) samples is not read")
      }
      colours = 1
    default:
      let name = Self.interpretations[page.photometric] ?? "interpretation \(page.photometric)"
      throw Refusal("\(name) is not read, only grey, RGB and palette")
    }
    guard samples >= colours else {
      throw Refusal("\(samples) samples a pixel are too few for its colours")
    }
    // Alpha is dropped, but what else is there may be a channel of its own.
    hasAlpha = samples == colours + 1 && extra == 1 && page.alpha_count == 1
    guard samples == colours || hasAlpha else {
      throw Refusal("\(samples) channels are neither grey nor RGB")
    }
    orientation = Orientation(rawValue: page.orientation) ?? .topLeft
    isInverted = page.photometric == 0
    guard !isInverted || sampleType != .float32 else {
      throw Refusal("floating-point samples with 0 as white are not read")
    }
    hasPalette = page.photometric == 3
    isPlanar = page.planar == 2 && samples > 1
    stride = isPlanar ? 1 : samples
    isTiled = page.is_tiled
    (chunkWidth, chunkHeight) = (Int(page.chunk_width), Int(page.chunk_height))
    guard chunkWidth > 0, chunkHeight > 0 else { throw Refusal("its strips or tiles are empty") }
    layout = ImageLayout(
      width: width, height: height, channels: hasPalette ? 3 : colours, sampleType: sampleType)
    // 32, 16 and 3 bits: neither product passes 51.
    chunkRowBytes = chunkWidth * stride * sampleType.size
    guard chunkRowBytes <= Self.maximumBytes, layout.rowBytes <= Self.maximumBytes else {
      throw Refusal("its rows of \(width) pixels are too long")
    }
    // 30 and 32 bits.
    guard UInt64(chunkRowBytes * chunkHeight) == page.chunk_bytes,
      isTiled || UInt64(chunkRowBytes) == page.row_bytes
    else { throw Refusal("the size of its strips or tiles contradicts its other tags") }
    expansion = Self.maximumExpansion(page.compression)
    guard chunkBytes / expansion <= fileSize else {
      throw Refusal(
        "\(isTiled ? "tiles" : "strips") of \(chunkBytes) bytes cannot come from a file of"
          + " \(fileSize)")
    }
    // As delivered, 30 and 32 bits. A few tiles may share what is packed.
    let rowOfTiles = layout.rowBytes * chunkHeight
    guard
      !isTiled || rowOfTiles <= Self.largeStrip
        || rowOfTiles / (hasPalette ? 3 : 1) / expansion <= fileSize
    else {
      throw Refusal(
        "a row of tiles of \(rowOfTiles) bytes cannot come from a file of \(fileSize)")
    }
    guard
      streamsRows
        || max(chunkRowBytes, layout.rowBytes) <= Self.maximumBytes / chunkHeight
    else {
      throw Refusal(
        "its \(isTiled ? "tiles" : "strips") of \(chunkHeight) rows are too large")
    }
  }

  /// As delivered, what strips or tiles can hold that lie in a file of some size without overlap.
  func mostBytes(fileSize: Int) -> Int {
    let (bytes, overflow) = fileSize.multipliedReportingOverflow(
      by: expansion * (hasPalette ? 3 : 1))
    return overflow ? .max : bytes
  }

  /// Whether its strips are so large that they are unpacked row by row.
  var streamsRows: Bool { !isTiled && !isPlanar && chunkBytes > Self.largeStrip }

  /// Whether images lie behind the page's that no page is of, as in ImageJ's stacks of over 4 GiB. What
  /// a description says may be left from a file that the page was taken from.
  private static func hidesImages(_ page: sparrow_tiff_page, fileSize: Int) -> Bool {
    let samples = Double(page.width) * Double(page.height) * Double(page.samples)
    let images = max(Double(page.described_images), Double(page.described_samples) / samples)
    guard images > 1, page.compression == 1, page.end > 0 else { return false }
    return samples * Double(page.bits) / 8 * (images - 1) <= Double(fileSize) - Double(page.end)
  }

  private static let largeStrip = 8 << 20

  private static func sampleType(_ page: sparrow_tiff_page) throws -> SampleType {
    switch (page.bits, page.format) {
    case (8, 1), (8, 4): return .uint8
    case (16, 1), (16, 4): return .uint16
    case (32, 3): return .float32
    default:
      let format =
        [1: "unsigned", 2: "signed", 3: "floating-point", 4: "untyped"][page.format] ?? "complex"
      throw Refusal(
        "\(page.bits)-bit \(format) samples are not read,"
          + " only 8 and 16 bits unsigned and 32 bits floating-point")
    }
  }

  private static let readable: Set<UInt16> = [1, 5, 7, 8, 32773, 32946, 34925, 50000]

  /// How many bytes a byte of a strip or tile can unpack to at most, by compression: those of a run
  /// of PackBits, the longest string of LZW's table, deflate's longest match in two bits; JPEG's
  /// blocks of 64 samples in a bit, subsampled; LZMA and Zstandard generously.
  private static func maximumExpansion(_ compression: UInt16) -> Int {
    switch compression {
    case 1: 1
    case 32773: 64
    case 5: 4096
    case 8, 32946: 1032
    case 7: 4096
    default: 1 << 15
    }
  }

  private static let names: [UInt16: String] = [
    1: "none", 2: "CCITT RLE", 3: "CCITT fax 3", 4: "CCITT fax 4", 5: "LZW", 6: "old JPEG",
    7: "JPEG", 8: "deflate", 32773: "PackBits", 32946: "deflate", 33003: "JPEG 2000",
    33005: "JPEG 2000", 34712: "JPEG 2000", 34887: "LERC", 34925: "LZMA", 50000: "Zstandard",
    50001: "WebP", 50002: "JPEG XL",
  ]

  private static let interpretations: [UInt16: String] = [
    4: "a transparency mask", 5: "CMYK", 6: "YCbCr outside JPEG", 8: "CIE L*a*b*",
    9: "ICC L*a*b*", 10: "ITU L*a*b*", 32803: "a colour filter array", 32844: "LogL",
    32845: "LogLuv", 34892: "linear raw",
  ]

  /// Why a page is not read.
  struct Refusal: Error {
    let reason: String

    init(_ reason: String) { self.reason = reason }
  }

  /// Turns `count` pixels of a strip or tile into what is delivered. `plane` is the channel that
  /// they hold, where each has its own; other channels of `target` stay as they are.
  func deliver(
    _ source: UnsafeRawPointer, _ target: UnsafeMutableRawPointer, count: Int, plane: Int,
    palette: [UInt8]
  ) {
    if hasPalette {
      let (from, to) = (source.as(UInt8.self), target.as(UInt8.self))
      for i in 0..<count {
        let entry = 3 * Int(from[i * stride])
        for c in 0..<3 { to[3 * i + c] = palette[entry + c] }
      }
      return
    }
    switch layout.sampleType {
    case .uint8: pick(source.as(UInt8.self), target.as(UInt8.self), count, plane)
    case .uint16: pick(source.as(UInt16.self), target.as(UInt16.self), count, plane)
    case .float32: pick(source.as(UInt32.self), target.as(UInt32.self), count, plane)
    }
    guard isInverted else { return }
    // The largest value minus each is each with its bits turned over.
    let samples = target.as(UInt8.self)
    for i in 0..<count * layout.sampleType.size { samples[i] = ~samples[i] }
  }

  private func pick<Bits>(
    _ source: UnsafePointer<Bits>, _ target: UnsafeMutablePointer<Bits>, _ count: Int, _ plane: Int
  ) {
    let channels = layout.channels
    if isPlanar {
      for i in 0..<count { target[channels * i + plane] = source[i] }
    } else if stride == channels {
      target.update(from: source, count: count * channels)
    } else {
      for i in 0..<count {
        for c in 0..<channels { target[channels * i + c] = source[stride * i + c] }
      }
    }
  }
}
