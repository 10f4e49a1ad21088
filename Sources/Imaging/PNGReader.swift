import CImageCodecs
import Foundation

/// PNG with its depth kept: by rows, or as a whole where it is interlaced.
final class PNGRowStream: RowStream {
  let layout: ImageLayout
  let isInterlaced: Bool
  let hasAlpha: Bool
  let orientation: Orientation
  var path: String { file.path }
  private let file: InputFile
  private var handle: OpaquePointer?

  init(_ file: InputFile) throws {
    self.file = file
    let (handle, info) = try Self.open(file)
    self.handle = handle
    isInterlaced = info.is_interlaced
    hasAlpha = info.has_alpha
    orientation = Orientation(info)
    layout = Self.layout(info)
  }

  private static func layout(_ info: sparrow_image_info) -> ImageLayout {
    ImageLayout(
      width: Int(info.width), height: Int(info.height), channels: Int(info.channels),
      sampleType: info.bits == 16 ? .uint16 : .uint8)
  }

  deinit { sparrow_png_close(handle) }

  private static func open(_ file: InputFile) throws -> (OpaquePointer, sparrow_image_info) {
    try withCodecMessage { message in
      var info = sparrow_image_info()
      guard
        let handle = sparrow_png_open_file(
          file.descriptor, UInt64(file.size), &info, message)
      else { throw FileError(path: file.path, reason: "PNG: \(String(cString: message))") }
      guard info.deflated_bytes / ImageFile.maximumDeflateRatio <= UInt64(file.size) else {
        sparrow_png_close(handle)
        throw FileError(
          path: file.path,
          reason: "PNG: \(info.width)x\(info.height) pixels cannot come from \(file.size) bytes")
      }
      // 31 and 3 bits.
      guard Int(info.width) * Int(info.channels) * 2 <= ImageLayout.maximumRowBytes else {
        sparrow_png_close(handle)
        throw FileError(
          path: file.path, reason: "PNG: its rows of \(info.width) pixels are too long")
      }
      sparrow_png_keep_depth(handle)
      return (handle, info)
    }
  }

  func rewind() throws {
    sparrow_png_close(handle)
    handle = nil
    let (handle, info) = try Self.open(file)
    self.handle = handle
    // Rows are written into memory for those that the header promised first.
    guard Self.layout(info) == layout, info.is_interlaced == isInterlaced else {
      throw FileError.changed(path: path)
    }
  }

  func next(into target: UnsafeMutableRawPointer) throws {
    try withCodecMessage { message in
      guard sparrow_png_next_row(handle, target, message) else {
        throw FileError(path: path, reason: "PNG: \(String(cString: message))")
      }
    }
  }

  /// Everything at once, interlaced or not.
  func whole() throws -> WholeImage {
    try rewind()
    guard layout.height <= ImageFile.maximumPixelCount / layout.width else {
      throw FileError(
        path: path,
        reason: "PNG: \(layout.width)x\(layout.height) interlaced is more than"
          + " \(ImageFile.maximumPixelCount) pixels")
    }
    let memory = try RawMemory(byteCount: layout.rowBytes * layout.height, path: path)
    try withCodecMessage { message in
      guard sparrow_png_decode(handle, memory.base.as(UInt8.self), message) else {
        throw FileError(path: path, reason: "PNG: \(String(cString: message))")
      }
    }
    return WholeImage(layout: layout, memory: memory)
  }
}
