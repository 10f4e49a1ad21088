import CImageCodecs
import Foundation

/// Images in files: PNG and JPEG are read, PNG is written.
package enum ImageFile {
  /// The formats that are read, told apart by their first bytes and never by the name.
  package enum Format: String, Sendable {
    case png = "PNG"
    case jpeg = "JPEG"

    /// Nil where `bytes`, the start of a file, are neither.
    package init?(startingWith bytes: some Collection<UInt8>) {
      if bytes.starts(with: [0x89, 0x50, 0x4E, 0x47, 0x0D, 0x0A, 0x1A, 0x0A]) {
        self = .png
      } else if bytes.starts(with: [0xFF, 0xD8, 0xFF]) {
        self = .jpeg
      } else {
        return nil
      }
    }
  }

  /// Larger images are refused before anything is allocated for them: 2^28 pixels.
  package static let maximumPixelCount = 1 << 28
  /// The largest file that is read at all: 2 GiB.
  package static let maximumFileSize = 1 << 31
  /// Deflate cannot pack better than about 1032:1, so a PNG that promises more is a lie.
  static let maximumDeflateRatio: UInt64 = 1032

  /// Reads a PNG or JPEG file as 8-bit grey or RGB.
  ///
  /// PNG: every colour type and bit depth; grey of any depth becomes 8-bit grey, a palette RGB,
  /// 16 bits are scaled to 8 (`round(v / 257)`), and alpha is dropped without blending.
  /// JPEG: grey or three components; CMYK is an error, and so is damage that libjpeg would paint
  /// over. The image is upright, as Exif's orientation has it.
  ///
  /// - Throws: `FileError` with the path and the codec's words.
  package static func read(_ path: String) throws -> Image {
    try decode(InputFile.bytes(of: path, maximum: maximumFileSize), path: path)
  }

  /// Whether the file starts like a PNG or JPEG; nil where it does not.
  package static func format(of path: String) throws -> Format? {
    let file = try InputFile(path: path)
    var start = [UInt8](repeating: 0, count: 8)
    let count = try start.withUnsafeMutableBytes { try file.read(into: $0) }
    return Format(startingWith: start[..<count])
  }

  /// Decodes a file's content; `path` only names it in errors.
  package static func decode(_ bytes: [UInt8], path: String) throws -> Image {
    switch Format(startingWith: bytes) {
    case .png:
      try decode(
        bytes, path: path, format: .png, open: sparrow_png_open, decode: sparrow_png_decode,
        close: sparrow_png_close)
    case .jpeg:
      try decode(
        bytes, path: path, format: .jpeg, open: sparrow_jpeg_open, decode: sparrow_jpeg_decode,
        close: sparrow_jpeg_close)
    case nil:
      throw FileError(path: path, reason: "neither a PNG nor a JPEG image")
    }
  }

  private typealias Message = UnsafeMutablePointer<CChar>

  private static func decode(
    _ bytes: [UInt8], path: String, format: Format,
    open: (
      UnsafePointer<UInt8>?, Int, UnsafeMutablePointer<sparrow_image_info>?, Message?
    ) -> OpaquePointer?,
    decode: (OpaquePointer?, UnsafeMutablePointer<UInt8>?, Message?) -> Bool,
    close: (OpaquePointer?) -> Void
  ) throws -> Image {
    try withCodecMessage { message in
      try bytes.withUnsafeBufferPointer { source in
        func failure(_ reason: String) -> FileError {
          FileError(path: path, reason: "\(format.rawValue): \(reason)")
        }
        var info = sparrow_image_info()
        guard let reader = open(source.baseAddress, source.count, &info, message) else {
          throw failure(String(cString: message))
        }
        defer { close(reader) }
        // Decoding gives back what it is read from.
        let orientation = Orientation(info)
        // Both factors fit 32 bits, so neither product can overflow 64.
        let width = Int(info.width)
        let height = Int(info.height)
        guard width > 0, height > 0, width <= maximumPixelCount / height else {
          throw failure("\(width)x\(height) is more than \(maximumPixelCount) pixels")
        }
        guard
          max(info.deflated_bytes / maximumDeflateRatio, info.minimum_bytes) <= UInt64(source.count)
        else {
          throw failure("\(width)x\(height) pixels cannot come from \(source.count) bytes")
        }
        let channels = Int(info.channels)
        let count = width * height * channels
        let samples = try [UInt8](unsafeUninitializedCapacity: count) { target, initialized in
          guard decode(reader, target.baseAddress, message) else {
            throw failure(String(cString: message))
          }
          initialized = count
        }
        return Image(width: width, height: height, channels: channels, samples: samples)
          .upright(orientation)
      }
    }
  }

  /// Writes an 8-bit PNG, whole or not at all. The same image gives the same bytes.
  ///
  /// - Throws: `FileError` where the path cannot be written.
  package static func writePNG(_ image: Image, to path: String) throws {
    try withCodecMessage { message in
      var bytes: UnsafeMutablePointer<UInt8>?
      var size = 0
      let width = UInt32(clamping: image.width)
      let height = UInt32(clamping: image.height)
      guard
        sparrow_png_encode(
          image.samples, width, height, UInt32(image.channels), &bytes, &size, message)
      else {
        throw FileError(path: path, reason: "PNG: \(String(cString: message))")
      }
      defer { free(bytes) }
      try AtomicFile.write(UnsafeRawBufferPointer(start: bytes, count: size), to: path)
    }
  }
}

extension Orientation {
  /// As a PNG or JPEG says of which nothing has been decoded.
  init(_ info: sparrow_image_info) {
    let exif = UnsafeBufferPointer(start: info.exif, count: info.exif_size)
    self = Orientation(exif: exif) ?? .topLeft
  }
}

extension Image {
  /// The image that these samples, as stored, are looked at as.
  fileprivate func upright(_ orientation: Orientation) -> Image {
    guard orientation != .topLeft else { return self }
    let turned = [UInt8](unsafeUninitializedCapacity: samples.count) { target, initialized in
      samples.withUnsafeBytes { source in
        guard let source = source.baseAddress, let target = target.baseAddress else { return }
        for row in 0..<height {
          orientation.place(
            source + row * width * channels, row: row, width: width, height: height,
            pixelBytes: channels, into: target)
        }
      }
      initialized = samples.count
    }
    return orientation.swapsAxes
      ? Image(width: height, height: width, channels: channels, samples: turned)
      : Image(width: width, height: height, channels: channels, samples: turned)
  }
}
