import Foundation

/// How an image is looked at, in the numbers of tag 274 of TIFF 6.0 and Exif 2.32: what the first
/// row and the first column of the stored samples are of the upright image.
package enum Orientation: UInt16, CaseIterable, Sendable {
  case topLeft = 1
  case topRight, bottomRight, bottomLeft, leftTop, rightTop, rightBottom, leftBottom

  /// Whether stored rows are columns of the upright image.
  package var swapsAxes: Bool { rawValue >= Self.leftTop.rawValue }

  /// Whether the first stored row comes after the others in the upright image.
  var reversesRows: Bool { self == .bottomRight || self == .bottomLeft }

  /// Where the pixels of a stored row lie in the upright image, as numbers of its pixels: that of the
  /// first one, and how far it is to the next.
  func line(_ row: Int, width: Int, height: Int) -> (start: Int, step: Int) {
    switch self {
    case .topLeft: (row * width, 1)
    case .topRight: (row * width + width - 1, -1)
    case .bottomRight: ((height - 1 - row) * width + width - 1, -1)
    case .bottomLeft: ((height - 1 - row) * width, 1)
    case .leftTop: (row, height)
    case .rightTop: (height - 1 - row, height)
    case .rightBottom: ((width - 1) * height + height - 1 - row, -height)
    case .leftBottom: ((width - 1) * height + row, -height)
    }
  }

  /// Copies a stored row of an image of `width` by `height` pixels to its place in the upright one.
  func place(
    _ source: UnsafeRawPointer, row: Int, width: Int, height: Int, pixelBytes: Int,
    into target: UnsafeMutableRawPointer
  ) {
    let (start, step) = line(row, width: width, height: height)
    for x in 0..<width {
      memcpy(target + (start + x * step) * pixelBytes, source + x * pixelBytes, pixelBytes)
    }
  }

  /// As an Exif block says: the content of a JPEG's APP1 segment or of a PNG's chunk eXIf. Nil where
  /// it says nothing, or nothing that the standard knows.
  package init?(exif bytes: some Collection<UInt8>) {
    var bytes = Array(bytes)
    if bytes.starts(with: [0x45, 0x78, 0x69, 0x66, 0, 0]) { bytes.removeFirst(6) }
    let isBig = bytes.starts(with: [0x4D, 0x4D])
    guard isBig || bytes.starts(with: [0x49, 0x49]) else { return nil }
    func number(_ offset: Int, _ count: Int) -> Int? {
      guard offset >= 0, offset <= bytes.count - count else { return nil }
      let digits = bytes[offset..<offset + count]
      return (isBig ? Array(digits) : digits.reversed()).reduce(0) { $0 << 8 | Int($1) }
    }
    guard number(2, 2) == 42, let directory = number(4, 4), let count = number(directory, 2) else {
      return nil
    }
    for entry in 0..<count {
      let place = directory + 2 + 12 * entry
      guard let tag = number(place, 2) else { return nil }
      guard tag == 274 else { continue }
      // One 16-bit number.
      guard number(place + 2, 2) == 3, number(place + 4, 4) == 1, let value = number(place + 8, 2)
      else { return nil }
      self.init(rawValue: UInt16(value))
      return
    }
    return nil
  }
}

/// The rows of a turned image without those in between: mirrored, or in the reverse order.
final class MirroredRows: RowSource {
  var layout: ImageLayout { source.layout }
  private let source: any RowSource
  private let reversesRows, reversesPixels: Bool

  /// - Precondition: the orientation keeps rows rows.
  init(_ source: any RowSource, _ orientation: Orientation) {
    precondition(!orientation.swapsAxes, "rows stay rows")
    self.source = source
    reversesRows = orientation.reversesRows
    reversesPixels = orientation == .topRight || orientation == .bottomRight
  }

  func read(_ rows: Range<Int>, into target: UnsafeMutableRawPointer) throws {
    let (height, rowBytes) = (layout.height, layout.rowBytes)
    let stored = reversesRows ? height - rows.upperBound..<height - rows.lowerBound : rows
    try source.read(stored, into: target)
    if reversesRows { Self.reverse(target, count: rows.count, each: rowBytes) }
    guard reversesPixels else { return }
    for row in 0..<rows.count {
      Self.reverse(
        target + row * rowBytes, count: layout.width, each: rowBytes / layout.width)
    }
  }

  private static func reverse(_ base: UnsafeMutableRawPointer, count: Int, each size: Int) {
    withUnsafeTemporaryAllocation(byteCount: size, alignment: 16) { spare in
      guard let spare = spare.baseAddress else { return }
      for i in 0..<count / 2 {
        let (left, right) = (base + i * size, base + (count - 1 - i) * size)
        memcpy(spare, left, size)
        memcpy(left, right, size)
        memcpy(right, spare, size)
      }
    }
  }
}

extension Orientation {
  /// The rows of the upright image.
  ///
  /// - Parameters:
  ///   - goesBack: whether rows may be had in any order without decoding others again.
  ///   - most: how many bytes of samples the file can hold.
  /// - Throws: `FileError` where the image has to be held as a whole and has more than 2^28 pixels,
  ///   or more than the file can hold, or is damaged.
  func upright(
    _ source: any RowSource, goesBack: Bool, most: Int = .max, path: String
  ) throws -> any RowSource {
    guard self != .topLeft else { return source }
    let stored = source.layout
    let (width, height) = (stored.width, stored.height)
    let fits = height <= ImageFile.maximumPixelCount / width
    guard swapsAxes || reversesRows && !goesBack && fits else { return MirroredRows(source, self) }
    guard fits else {
      throw FileError(
        path: path,
        reason: "\(width)x\(height), to be turned, is more than \(ImageFile.maximumPixelCount) "
          + "pixels at once")
    }
    var layout = stored
    if swapsAxes { (layout.width, layout.height) = (height, width) }
    guard layout.rowBytes <= ImageLayout.maximumRowBytes else {
      throw FileError(path: path, reason: "its rows of \(layout.width) pixels are too long")
    }
    let rowBytes = stored.rowBytes
    // 30 and 32 bits.
    guard rowBytes * height <= most else {
      throw FileError(
        path: path, reason: "\(width)x\(height) pixels cannot come from a file of its size")
    }
    let memory = try RawMemory(byteCount: rowBytes * height, path: path)
    let band = min(height, max(1, (1 << 20) / rowBytes))
    let rows = try RawMemory(byteCount: band * rowBytes, path: path)
    for first in stride(from: 0, to: height, by: band) {
      let count = min(band, height - first)
      try source.read(first..<first + count, into: rows.base)
      for row in 0..<count {
        place(
          rows.base + row * rowBytes, row: first + row, width: width, height: height,
          pixelBytes: rowBytes / width, into: memory.base)
      }
    }
    return WholeImage(layout: layout, memory: memory)
  }
}
