import Foundation

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
