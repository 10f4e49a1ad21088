import Compute
import Foundation
import Imaging

/// A safetensors file: an 8-byte little-endian header length, a JSON header, then the tensors.
///
/// A file is data: reading one executes nothing, and every offset is checked against the file
/// before anything of its size is allocated. Memory: its tensors, and at most 64 MiB and forty times
/// its header, which has at most 16 MiB.
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
  ///
  /// - Throws: `FileError`, also where the header is longer than any that is read.
  package func write(to file: AtomicFile) throws {
    let header = try header()
    guard header.count - 8 <= Self.longestHeader else {
      throw FileError(
        path: file.path,
        reason: "cannot write: a header of \(header.count - 8) bytes, more than is read again")
    }
    try file.write(header)
    for entry in entries { try entry.elements.withBytes { try file.write($0) } }
  }

  package func write(to path: String) throws {
    let file = try AtomicFile(path: path)
    try write(to: file)
    try file.commit()
  }

  // MARK: Reading

  /// The longest header that is read, enough for a hundred thousand tensors: decoding its JSON takes
  /// up to thirty times its size.
  private static let longestHeader = 16 << 20

  /// - Parameter types: those that tensors may have.
  /// - Throws: `FileError` where the file is not a whole, consistent safetensors file of such
  ///   tensors.
  package init(path: String, types: Set<ElementType> = [.f32]) throws {
    let file = try InputFile(path: path)
    guard UInt64(file.size) <= ProcessInfo.processInfo.physicalMemory else {
      throw FileError(path: path, reason: "\(file.size >> 20) MiB do not fit in memory")
    }
    // Not mapped: a file that another program cut short meanwhile would end the process.
    try self.init(size: file.size, path: path, types: types) { try file.read(into: $0) }
  }

  /// - Parameter path: for messages.
  package init(_ bytes: Data, path: String, types: Set<ElementType> = [.f32]) throws {
    var rest = bytes
    try self.init(size: bytes.count, path: path, types: types) { buffer in
      let count = min(buffer.count, rest.count)
      rest.copyBytes(to: buffer, count: count)
      rest = rest.dropFirst(count)
      return count
    }
  }

  /// - Parameters:
  ///   - size: of the file in bytes.
  ///   - path: for messages.
  ///   - read: fills a buffer with the next bytes, and returns how many there were.
  package init(
    size: Int, path: String, types: Set<ElementType> = [.f32],
    read: (UnsafeMutableRawBufferPointer) throws -> Int
  ) throws {
    func fail(_ reason: String, at offset: Int? = nil) -> FileError {
      FileError(path: path, offset: offset, reason: reason)
    }
    func bytes(_ count: Int) throws -> [UInt8] {
      let bytes = try [UInt8](unsafeUninitializedCapacity: count) { buffer, filled in
        filled = try read(UnsafeMutableRawBufferPointer(buffer))
      }
      guard bytes.count == count else { throw FileError.changed(path: path) }
      return bytes
    }
    guard size >= 8 else { throw fail("not a safetensors file: only \(size) bytes") }
    let length = try bytes(8).reversed().reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
    guard length >= 2, length <= Self.longestHeader, Int(length) <= size - 8 else {
      throw fail("not a safetensors file, or a truncated one: a header of \(length) bytes", at: 0)
    }
    let start = 8 + Int(length)
    let text = try bytes(Int(length))
    guard text[0] == UInt8(ascii: "{") else { throw fail("not a safetensors header", at: 8) }
    let fields: [String: Field]
    do {
      fields = try JSONDecoder().decode([String: Field].self, from: Data(text))
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
    // A tensor without elements begins where the next one does.
    func place(_ header: (name: String, header: Header)) -> (Int, Int, String) {
      (header.header.dataOffsets.first ?? 0, header.header.dataOffsets.last ?? 0, header.name)
    }
    headers.sort { place($0) < place($1) }

    // All of them before anything of their size is allocated.
    var tensors: [(name: String, shape: [Int], type: ElementType, count: Int)] = []
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
      guard header.dataOffsets[1] <= size - start else {
        let missing = header.dataOffsets[1] - (size - start)
        throw fail("truncated: \(missing) bytes are missing of tensor \"\(name)\"", at: size)
      }
      tensors.append((name, header.shape, type, count))
      position += type.size * count
    }
    guard position == size - start else {
      throw fail("\(size - start - position) bytes after the last tensor", at: start + position)
    }
    // They lie one after the other.
    entries = try tensors.map { name, shape, type, count in
      guard let elements = try Elements(type, count: count, read: read) else {
        throw FileError.changed(path: path)
      }
      return Entry(name: name, shape: shape, elements: elements)
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
