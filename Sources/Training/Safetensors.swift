import Compute
import Foundation
import Imaging

/// A safetensors file: an 8-byte little-endian header length, a JSON header, then the tensors.
///
/// A file is data: reading one executes nothing, and every offset is checked against the file
/// before anything of its size is allocated.
package struct Safetensors: Sendable {
  package struct Entry: Sendable, Equatable {
    package let name: String
    package let shape: [Int]
    package let elements: Elements

    package init(name: String, shape: [Int], elements: Elements) {
      self.name = name
      self.shape = shape
      self.elements = elements
    }

    package init(name: String, shape: [Int], values: [Float]) {
      self.init(name: name, shape: shape, elements: .f32(values))
    }

    /// The elements of a tensor of single precision; nil of another type.
    package var floats: [Float]? {
      if case .f32(let values) = elements { return values }
      return nil
    }
  }

  package var metadata: [String: String]
  /// In the order of the data.
  package var entries: [Entry]

  package init(metadata: [String: String], entries: [Entry]) {
    self.metadata = metadata
    self.entries = entries
  }

  package subscript(_ name: String) -> Entry? { entries.first { $0.name == name } }

  // MARK: Writing

  private struct Header: Codable {
    let dtype: String
    let shape: [Int]
    let dataOffsets: [Int]

    private enum CodingKeys: String, CodingKey {
      case dtype, shape
      case dataOffsets = "data_offsets"
    }
  }

  /// What comes before the tensors; equal contents give equal bytes.
  private func header() throws -> [UInt8] {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    var fields = [
      "\"__metadata__\":" + String(decoding: try encoder.encode(metadata), as: UTF8.self)
    ]
    var offset = 0
    for entry in entries {
      let elements = entry.elements
      precondition(entry.shape.reduce(1, *) == elements.count, "\(entry.name) has gaps")
      let end = offset + elements.byteCount
      let name = String(decoding: try encoder.encode(entry.name), as: UTF8.self)
      let header = Header(
        dtype: elements.type.rawValue, shape: entry.shape, dataOffsets: [offset, end])
      fields.append("\(name):" + String(decoding: try encoder.encode(header), as: UTF8.self))
      offset = end
    }
    var header = [UInt8]("{\(fields.joined(separator: ","))}".utf8)
    // Spaces, so that the data starts at a multiple of 8.
    header += [UInt8](repeating: 0x20, count: (8 - header.count % 8) % 8)

    return withUnsafeBytes(of: UInt64(header.count).littleEndian) { Array($0) } + header
  }

  /// Appends the whole file's bytes to `file`, without forming them in memory first.
  package func write(to file: AtomicFile) throws {
    try file.write(try header())
    for entry in entries { try entry.elements.withBytes { try file.write($0) } }
  }

  package func write(to path: String) throws {
    let file = try AtomicFile(path: path)
    try write(to: file)
    try file.commit()
  }

  // MARK: Reading

  /// The longest header that is read; larger ones are refused, as the format's own library does.
  private static let longestHeader = 100_000_000

  /// - Parameter types: those that tensors may have.
  /// - Throws: `FileError` where the file is not a whole, consistent safetensors file of such
  ///   tensors.
  package init(path: String, types: Set<ElementType> = [.f32]) throws {
    // Opened first for the reason where it cannot be, such as a folder or a pipe under that name.
    _ = try InputFile(path: path)
    let bytes: Data
    do {
      bytes = try Data(contentsOf: URL(fileURLWithPath: path), options: .mappedIfSafe)
    } catch {
      throw FileError(path: path, reason: "cannot read the file")
    }
    try self.init(bytes, path: path, types: types)
  }

  /// - Parameter path: for messages.
  package init(_ bytes: Data, path: String, types: Set<ElementType> = [.f32]) throws {
    func fail(_ reason: String, at offset: Int? = nil) -> FileError {
      FileError(path: path, offset: offset, reason: reason)
    }
    let bytes = bytes.startIndex == 0 ? bytes : Data(bytes)
    guard bytes.count >= 8 else { throw fail("not a safetensors file: only \(bytes.count) bytes") }
    let length = bytes.prefix(8).enumerated().reduce(UInt64(0)) {
      $0 | UInt64($1.element) << UInt64(8 * $1.offset)
    }
    guard length >= 2, length <= Self.longestHeader, Int(length) <= bytes.count - 8 else {
      throw fail("not a safetensors file, or a truncated one: a header of \(length) bytes", at: 0)
    }
    let start = 8 + Int(length)
    guard bytes[8] == UInt8(ascii: "{") else { throw fail("not a safetensors header", at: 8) }
    let fields: [String: Field]
    do {
      fields = try JSONDecoder().decode([String: Field].self, from: bytes[8..<start])
    } catch {
      throw fail("the header is not the JSON of a safetensors file", at: 8)
    }

    metadata = [:]
    var headers: [(name: String, header: Header)] = []
    for (name, field) in fields {
      switch field {
      case .metadata(let values) where name == "__metadata__": metadata = values
      case .tensor(let header) where name != "__metadata__": headers.append((name, header))
      default: throw fail("the header's entry \"\(name)\" is not a tensor", at: 8)
      }
    }
    headers.sort {
      ($0.header.dataOffsets.first ?? 0, $0.name) < ($1.header.dataOffsets.first ?? 0, $1.name)
    }

    entries = []
    var position = 0
    for (name, header) in headers {
      guard let type = ElementType(rawValue: header.dtype), types.contains(type) else {
        let known = types.map(\.rawValue).sorted().joined(separator: ", ")
        throw fail("tensor \"\(name)\" is of type \(header.dtype), not \(known)", at: 8)
      }
      var count = 1
      for dimension in header.shape {
        let (product, overflow) = count.multipliedReportingOverflow(by: dimension)
        guard dimension >= 0, !overflow, product <= Int.max / 16 else {
          throw fail("tensor \"\(name)\" has the shape \(header.shape)", at: 8)
        }
        count = product
      }
      guard header.dataOffsets.count == 2, header.dataOffsets[0] == position,
        header.dataOffsets[1] >= position, header.dataOffsets[1] - position == type.size * count
      else {
        throw fail(
          "tensor \"\(name)\" of shape \(header.shape) cannot be at \(header.dataOffsets)",
          at: start + position)
      }
      guard header.dataOffsets[1] <= bytes.count - start else {
        let missing = header.dataOffsets[1] - (bytes.count - start)
        throw fail(
          "truncated: \(missing) bytes are missing of tensor \"\(name)\"", at: bytes.count)
      }
      entries.append(
        Entry(
          name: name, shape: header.shape,
          elements: Elements(type, count: count, in: bytes, at: start + position)))
      position += type.size * count
    }
    guard position == bytes.count - start else {
      throw fail(
        "\(bytes.count - start - position) bytes after the last tensor", at: start + position)
    }
  }

  private enum Field: Decodable {
    case metadata([String: String])
    case tensor(Header)

    init(from decoder: any Decoder) throws {
      let container = try decoder.singleValueContainer()
      if let header = try? container.decode(Header.self) {
        self = .tensor(header)
      } else {
        self = .metadata(try container.decode([String: String].self))
      }
    }
  }
}
