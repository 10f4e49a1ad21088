import Foundation
import Imaging

/// The IDX format of LeCun's MNIST page: two zero bytes, the element type (0x08: unsigned byte),
/// the rank, then one big-endian 32-bit size for each dimension, then the elements, the last
/// dimension fastest. The file may be packed by gzip.
package enum IDX {
  private static let unsignedByte: UInt8 = 0x08

  /// Images of rank 3, `[count, height, width]`, or rank 4, `[count, height, width, channels]` with
  /// 1 or 3 channels; and, where `labelsPath` is given, as many labels of rank 1.
  ///
  /// Pixels are unpacked straight into the result. Nothing is allocated for a header that promises
  /// more than the file can hold, which is its size, or 1032 times that of a gzip file; nor for more
  /// than the machine's memory.
  ///
  /// - Throws: `FileError`, one line with the file and the offset.
  package static func readImages(_ imagesPath: String, labels labelsPath: String? = nil) throws
    -> ImageSet
  {
    let reader = try UnpackingReader(path: imagesPath)
    let sizes = try readHeader(reader, kind: "images", ranks: [3, 4])
    let channels = sizes.count == 4 ? sizes[3] : 1
    guard channels == 1 || channels == 3 else {
      let reason = "\(channels) channels, only 1 and 3 are read"
      throw FileError(path: imagesPath, offset: 16, reason: reason)
    }
    // Labels first: their count is checked before the large file is unpacked.
    let labels = try labelsPath.map { try readLabels($0) }
    if let labels, let labelsPath, labels.count != sizes[0] {
      throw FileError(
        path: labelsPath, offset: 4,
        reason: "\(labels.count) labels, but \(imagesPath) holds \(sizes[0]) images")
    }
    let pixels = try readPayload(reader, sizes: sizes)
    return ImageSet(
      count: sizes[0], width: sizes[2], height: sizes[1], channels: channels, pixels: pixels,
      labels: labels)
  }

  /// Labels of rank 1.
  package static func readLabels(_ path: String) throws -> [UInt8] {
    let reader = try UnpackingReader(path: path)
    return try readPayload(reader, sizes: readHeader(reader, kind: "labels", ranks: [1]))
  }

  private static func readHeader(_ reader: UnpackingReader, kind: String, ranks: [Int]) throws
    -> [Int]
  {
    func failure(_ offset: Int, _ reason: String) -> FileError {
      FileError(path: reader.path, offset: offset, reason: reason)
    }
    let magic = try reader.readArray(upTo: 4)
    guard magic.count == 4 else {
      throw failure(magic.count, "the file ends within the IDX header")
    }
    guard magic[0] == 0, magic[1] == 0 else {
      let found = hexadecimal(magic[0...1])
      throw failure(0, "not an IDX file: it starts with \(found) instead of 00 00")
    }
    guard magic[2] == unsignedByte else {
      let found = hexadecimal(magic[2...2])
      throw failure(2, "element type \(found), only 08 (unsigned byte) is read")
    }
    let rank = Int(magic[3])
    guard ranks.contains(rank) else {
      let wanted = ranks.map(String.init).joined(separator: " or ")
      throw failure(3, "rank \(rank), \(kind) have rank \(wanted)")
    }
    let bytes = try reader.readArray(upTo: 4 * rank)
    guard bytes.count == 4 * rank else {
      throw failure(4 + bytes.count, "the file ends within the IDX header")
    }
    return try (0..<rank).map { axis in
      let size = bytes[4 * axis..<4 * axis + 4].reduce(0) { $0 << 8 | Int($1) }
      guard size > 0 else { throw failure(4 + 4 * axis, "dimension \(axis) is 0") }
      return size
    }
  }

  private static func readPayload(_ reader: UnpackingReader, sizes: [Int]) throws -> [UInt8] {
    let start = reader.position
    func failure(_ offset: Int, _ reason: String) -> FileError {
      FileError(path: reader.path, offset: offset, reason: reason)
    }
    let shape = sizes.map(String.init).joined(separator: "x")
    guard let count = checkedProduct(sizes), count <= reader.maximumContentSize else {
      let reason = "the header promises \(shape) bytes, more than a file of this size can hold"
      throw failure(4, reason)
    }
    if !reader.isPacked, count > reader.fileSize - start {
      let reason = "truncated: the header promises \(shape) = \(count) bytes after byte \(start)"
      throw failure(reader.fileSize, reason)
    }
    try checkFitsMemory(count, path: reader.path)
    let payload = try [UInt8](unsafeUninitializedCapacity: count) { buffer, initialized in
      let target = UnsafeMutableRawBufferPointer(start: buffer.baseAddress, count: count)
      guard try reader.read(into: target) == count else {
        let reason = "truncated: the header promises \(shape) = \(count) bytes after byte \(start)"
        throw failure(reader.position, reason)
      }
      initialized = count
    }
    guard try reader.isAtEnd() else {
      throw failure(start + count, "bytes follow the \(shape) that the header promises")
    }
    return payload
  }

  private static func hexadecimal(_ bytes: some Sequence<UInt8>) -> String {
    bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined(separator: " ")
  }
}
