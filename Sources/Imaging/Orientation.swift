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
      // One number of 16 bits, or of 32 as some programs write it.
      guard let type = number(place + 2, 2), type == 3 || type == 4, number(place + 4, 4) == 1,
        let value = number(place + 8, type == 3 ? 2 : 4), let value = UInt16(exactly: value)
      else { return nil }
      self.init(rawValue: value)
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

/// The rows of a turned image that can only be had from all of it: decoded when the first are asked
/// for.
final class TurnedRows: RowSource {
  let layout: ImageLayout
  private let source: any RowSource
  private let orientation: Orientation
  private let path: String
  private var whole: WholeImage?

  /// - Parameter most: how many bytes of samples the file can hold.
  /// - Throws: `FileError` where the image has more than 2^28 pixels, or more than the file can hold.
  init(_ source: any RowSource, _ orientation: Orientation, most: Int, path: String) throws {
    var layout = source.layout
    let (width, height) = (layout.width, layout.height)
    guard height <= ImageFile.maximumPixelCount / width else {
      throw FileError(
        path: path,
        reason: "\(width)x\(height), to be turned, is more than \(ImageFile.maximumPixelCount) "
          + "pixels at once")
    }
    // 30 and 32 bits.
    guard layout.rowBytes * height <= most else {
      throw FileError(
        path: path, reason: "\(width)x\(height) pixels cannot come from a file of its size")
    }
    if orientation.swapsAxes { (layout.width, layout.height) = (height, width) }
    guard layout.rowBytes <= ImageLayout.maximumRowBytes else {
      throw FileError(path: path, reason: "its rows of \(layout.width) pixels are too long")
    }
    (self.source, self.orientation, self.layout, self.path) = (source, orientation, layout, path)
  }

  func read(_ rows: Range<Int>, into target: UnsafeMutableRawPointer) throws {
    let whole = try self.whole ?? turned()
    self.whole = whole
    whole.read(rows, into: target)
  }

  private func turned() throws -> WholeImage {
    let (width, height) = (source.layout.width, source.layout.height)
    let rowBytes = source.layout.rowBytes
    let memory = try RawMemory(byteCount: rowBytes * height, path: path)
    let band = min(height, max(1, (1 << 20) / rowBytes))
    let rows = try RawMemory(byteCount: band * rowBytes, path: path)
    for first in stride(from: 0, to: height, by: band) {
      let count = min(band, height - first)
      try source.read(first..<first + count, into: rows.base)
      for row in 0..<count {
        orientation.place(
          rows.base + row * rowBytes, row: first + row, width: width, height: height,
          pixelBytes: rowBytes / width, into: memory.base)
      }
    }
    return WholeImage(layout: layout, memory: memory)
  }
}

extension Orientation {
  /// The rows of the upright image.
  ///
  /// - Parameters:
  ///   - goesBack: whether rows may be had in any order without decoding others again; where not, an
  ///     image whose rows come in the reverse order is held as a whole if it may be.
  ///   - most: how many bytes of samples the file can hold.
  /// - Throws: as `TurnedRows`.
  func upright(
    _ source: any RowSource, goesBack: Bool, most: Int = .max, path: String
  ) throws -> any RowSource {
    guard self != .topLeft else { return source }
    if swapsAxes { return try TurnedRows(source, self, most: most, path: path) }
    guard reversesRows, !goesBack,
      let turned = try? TurnedRows(source, self, most: most, path: path)
    else { return MirroredRows(source, self) }
    return turned
  }
}
