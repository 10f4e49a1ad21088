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
