import Foundation
import Imaging

/// An element type of NPY files. Numbers lie little-endian in the file, as in memory on every
/// platform that Swift runs on.
package protocol NPYElement: BitwiseCopyable, Sendable {
  /// NumPy's name, such as `<f4`.
  static var npyDescription: String { get }
}

extension Float: NPYElement { package static var npyDescription: String { "<f4" } }
extension UInt8: NPYElement { package static var npyDescription: String { "|u1" } }
extension Int64: NPYElement { package static var npyDescription: String { "<i8" } }

/// An array as NumPy's `.npy` files hold it, in C order: the last axis is fastest.
package struct NPYArray<Element: NPYElement>: Sendable {
  package let shape: [Int]
  package let values: [Element]

  package init(shape: [Int], values: [Element]) {
    precondition(checkedProduct(shape) == values.count, "values do not fill the shape")
    self.shape = shape
    self.values = values
  }
}

extension NPYArray: Equatable where Element: Equatable {}

/// NumPy's NPY format: the magic `\x93NUMPY`, a version, the header's length, a Python dictionary
/// with `descr`, `fortran_order` and `shape`, padding, and the elements.
package enum NPY {
  static let magic: [UInt8] = [0x93] + Array("NUMPY".utf8)
  /// NumPy itself refuses longer ones by default.
  private static let maximumHeaderLength = 10_000

  /// What a file says of itself, to choose the element type before reading.
  package struct Header: Equatable, Sendable {
    /// NumPy's name, such as `<f4`.
    package let elementDescription: String
    package let isFortranOrder: Bool
    package let shape: [Int]

    package init(elementDescription: String, isFortranOrder: Bool, shape: [Int]) {
      self.elementDescription = elementDescription
      self.isFortranOrder = isFortranOrder
      self.shape = shape
    }
  }

  /// - Throws: `FileError` where the file is not NPY of version 1 or 2.
  package static func readHeader(_ path: String) throws -> Header {
    try readHeader(UnpackingReader(path: path))
  }

  /// Reads a whole array in C order (versions 1 and 2; `.npy.gz` too). Memory: the array, which is
  /// no larger than the file, or 1032 times a gzip file, can hold.
  ///
  /// - Throws: `FileError` where the file is truncated, has bytes at its end, another element type
  ///   or Fortran's order.
  package static func read<Element: NPYElement>(_ type: Element.Type, from path: String) throws
    -> NPYArray<Element>
  {
    let reader = try UnpackingReader(path: path)
    let header = try readHeader(reader)
    let start = reader.position
    func failure(_ reason: String) -> FileError {
      FileError(path: path, offset: reader.position, reason: reason)
    }
    guard header.elementDescription == Element.npyDescription else {
      let wanted = Element.npyDescription
      throw failure("element type '\(header.elementDescription)', expected '\(wanted)'")
    }
    // With fewer than two axes the orders agree, and NumPy may write either.
    guard !header.isFortranOrder || header.shape.count < 2 else {
      throw failure("the array is in Fortran's order, only C's order is read")
    }
    let shape = header.shape.map(String.init).joined(separator: "x")
    guard
      let count = checkedProduct(header.shape),
      let byteCount = checkedProduct([count, MemoryLayout<Element>.stride]),
      byteCount <= reader.maximumContentSize
    else {
      throw failure("the header promises \(shape) elements, more than the file can hold")
    }
    try checkFitsMemory(byteCount, path: path)
    var values: [Element] = []
    // Else the initializer would write into the empty array, which all threads share.
    if count > 0 {
      values = try [Element](unsafeUninitializedCapacity: count) { buffer, initialized in
        let target = UnsafeMutableRawBufferPointer(start: buffer.baseAddress, count: byteCount)
        guard try reader.read(into: target) == byteCount else {
          throw failure("truncated: the header promises \(byteCount) bytes after byte \(start)")
        }
        initialized = count
      }
    }
    guard try reader.isAtEnd() else {
      let offset = start + byteCount
      throw FileError(path: path, offset: offset, reason: "bytes follow the \(shape) elements")
    }
    return NPYArray(shape: header.shape, values: values)
  }

  private static func readHeader(_ reader: UnpackingReader) throws -> Header {
    func failure(_ offset: Int, _ reason: String) -> FileError {
      FileError(path: reader.path, offset: offset, reason: reason)
    }
    let preamble = try reader.readArray(upTo: 8)
    guard preamble.starts(with: magic), preamble.count == 8 else {
      throw failure(0, "not an NPY file")
    }
    guard preamble[6] == 1 || preamble[6] == 2, preamble[7] == 0 else {
      throw failure(6, "NPY version \(preamble[6]).\(preamble[7]), only 1.0 and 2.0 are read")
    }
    let lengthBytes = try reader.readArray(upTo: preamble[6] == 1 ? 2 : 4)
    let length = lengthBytes.reversed().reduce(0) { $0 << 8 | Int($1) }
    guard length <= maximumHeaderLength else {
      throw failure(8, "a header of \(length) bytes is more than \(maximumHeaderLength)")
    }
    let text = try reader.readArray(upTo: length)
    guard text.count == length else { throw failure(reader.position, "the header is truncated") }
    var parser = NPYHeaderParser(text: text)
    guard let header = parser.parse() else {
      let offset = reader.position - length + parser.position
      throw failure(offset, "the header is not the dictionary that NumPy writes")
    }
    return header
  }

  /// Version 1.0, padded so that the elements start at a multiple of 64 bytes. The row count takes
  /// the room of any other, so that the header can be rewritten in place.
  static func headerBytes(elementDescription: String, rowCount: Int, rowShape: [Int]) -> [UInt8] {
    let sizes = ([rowCount] + rowShape).map(String.init).joined(separator: ", ")
    let shape = rowShape.isEmpty ? "(\(sizes),)" : "(\(sizes))"
    var text =
      "{'descr': '\(elementDescription)', 'fortran_order': False, 'shape': \(shape), }"
    // A row count has up to 19 digits.
    text += String(repeating: " ", count: 19 - String(rowCount).count)
    let unpadded = magic.count + 4 + text.utf8.count + 1
    text += String(repeating: " ", count: (64 - unpadded % 64) % 64) + "\n"
    let length = UInt16(text.utf8.count)
    return magic + [1, 0, UInt8(length & 0xFF), UInt8(length >> 8)] + Array(text.utf8)
  }
}

/// The Python literal in an NPY header: a dictionary of exactly the three keys.
private struct NPYHeaderParser {
  let text: [UInt8]
  private(set) var position = 0

  init(text: [UInt8]) { self.text = text }

  mutating func parse() -> NPY.Header? {
    var element: String?
    var isFortranOrder: Bool?
    var shape: [Int]?
    guard take("{") else { return nil }
    while !take("}") {
      guard let key = takeString(), take(":") else { return nil }
      switch key {
      case "descr" where element == nil:
        guard let value = takeString() else { return nil }
        element = value
      case "fortran_order" where isFortranOrder == nil:
        if take("True") {
          isFortranOrder = true
        } else if take("False") {
          isFortranOrder = false
        } else {
          return nil
        }
      case "shape" where shape == nil:
        guard let value = takeShape() else { return nil }
        shape = value
      default:
        return nil
      }
      guard take(",") || peek("}") else { return nil }
    }
    skipSpace()
    guard position == text.count, let element, let isFortranOrder, let shape else { return nil }
    return NPY.Header(elementDescription: element, isFortranOrder: isFortranOrder, shape: shape)
  }

  private mutating func takeShape() -> [Int]? {
    guard take("(") else { return nil }
    var sizes: [Int] = []
    while !take(")") {
      guard let size = takeNumber() else { return nil }
      sizes.append(size)
      guard take(",") || peek(")") else { return nil }
    }
    return sizes
  }

  private mutating func takeNumber() -> Int? {
    skipSpace()
    let digits = text[position...].prefix { (0x30...0x39).contains($0) }
    position += digits.count
    return Int(String(decoding: digits, as: UTF8.self))
  }

  private mutating func takeString() -> String? {
    skipSpace()
    guard position < text.count, text[position] == 0x27 || text[position] == 0x22 else {
      return nil
    }
    let quote = text[position]
    let content = text[(position + 1)...].prefix { $0 != quote }
    guard content.endIndex < text.count else { return nil }
    position = content.endIndex + 1
    return String(decoding: content, as: UTF8.self)
  }

  private mutating func peek(_ token: String) -> Bool {
    skipSpace()
    return text[position...].starts(with: token.utf8)
  }

  private mutating func take(_ token: String) -> Bool {
    guard peek(token) else { return false }
    position += token.utf8.count
    return true
  }

  private mutating func skipSpace() {
    while position < text.count, [0x20, 0x09, 0x0A, 0x0D].contains(text[position]) {
      position += 1
    }
  }
}
