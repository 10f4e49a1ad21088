import Compute
import Crypto
import Foundation
import Imaging
import Networks

/// Tensors with a description of what they are, as a safetensors file: the metadata's
/// `sparrow.format` names the kind of model, `sparrow.model` holds the description as JSON. No date
/// and no host's name: equal models are equal files.
///
/// The metadata's `sparrow.sha256` is the SHA-256, in hexadecimal, of the description's text
/// followed by the tensors' bytes: a flipped bit in a weight would otherwise go unnoticed. A file
/// without it is read as well, so that other programs can make models.
package struct ParameterFile: Sendable {
  package let path: String
  package let format: String
  /// JSON
  package let description: String
  private let file: Safetensors

  private static let formatKey = "sparrow.format"
  private static let modelKey = "sparrow.model"
  private static let checksumKey = "sparrow.sha256"

  // MARK: Writing

  /// - Parameter tensors: flat arrays with their layouts; names are not repeated.
  package static func write(
    _ description: some Encodable, format: String,
    tensors: [(layout: ParameterLayout, values: [Float])], to path: String
  ) throws {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    let entries = tensors.flatMap { layout, values in
      layout.slots.map { slot in
        Safetensors.Entry(
          name: slot.name, shape: slot.shape.dimensions,
          values: Array(values[slot.offset..<slot.offset + slot.shape.count]))
      }
    }
    let json = String(decoding: try encoder.encode(description), as: UTF8.self)
    let metadata = [
      formatKey: format, modelKey: json, checksumKey: checksum(json, entries),
    ]
    try Safetensors(metadata: metadata, entries: entries).write(to: path)
  }

  // MARK: Reading

  /// - Parameters:
  ///   - formats: those that the caller reads, the newest last.
  ///   - kind: what such a file is, for messages.
  /// - Throws: `FileError` where the file is damaged or of another kind.
  package init(path: String, formats: [String], kind: String) throws {
    file = try Safetensors(path: path)
    self.path = path
    guard let format = file.metadata[Self.formatKey], let json = file.metadata[Self.modelKey] else {
      throw FileError(path: path, reason: "a safetensors file, but not a model of Sparrow's")
    }
    guard formats.contains(format) else {
      throw FileError(
        path: path,
        reason: "of the format \"\(format)\"; \(kind) is of \"\(formats.last ?? "")\"")
    }
    self.format = format
    description = json
  }

  package func description<Description: Decodable>(
    as type: Description.Type
  ) throws -> Description {
    do {
      return try JSONDecoder().decode(type, from: Data(description.utf8))
    } catch {
      throw FileError(path: path, reason: "the model's description cannot be read")
    }
  }

  /// The tensors of each layout as flat arrays.
  ///
  /// - Throws: `FileError` where one is missing, has another shape or is not finite, where the file
  ///   has others, or where the checksum differs.
  package func tensors(_ layouts: [ParameterLayout]) throws -> [[Float]] {
    let entries = Dictionary(file.entries.map { ($0.name, $0) }) { first, _ in first }
    // All of them before anything is allocated: a description may promise any size.
    let found = try layouts.map { layout in
      try layout.slots.map { slot in
        guard let entry = entries[slot.name], entry.shape == slot.shape.dimensions else {
          throw FileError(
            path: path, reason: "no tensor \"\(slot.name)\" of shape \(slot.shape)")
        }
        return entry
      }
    }
    guard file.entries.count == layouts.reduce(0, { $0 + $1.slots.count }) else {
      throw FileError(path: path, reason: "has tensors that its network does not")
    }
    let arrays = zip(layouts, found).map { layout, entries in
      var values = [Float](repeating: 0, count: layout.count)
      for (slot, entry) in zip(layout.slots, entries) {
        values.replaceSubrange(slot.offset..<slot.offset + slot.shape.count, with: entry.values)
      }
      return values
    }
    if let checksum = file.metadata[Self.checksumKey],
      checksum != Self.checksum(description, file.entries)
    {
      throw FileError(
        path: path, reason: "damaged or changed by another program: the checksum differs")
    }
    guard arrays.allSatisfy({ $0.allSatisfy(\.isFinite) }) else {
      throw FileError(path: path, reason: "has weights that are not finite")
    }
    return arrays
  }

  private static func checksum(_ json: String, _ entries: [Safetensors.Entry]) -> String {
    var hash = SHA256()
    hash.update(data: Array(json.utf8))
    for entry in entries {
      #if _endian(little)
        entry.values.withUnsafeBytes { hash.update(bufferPointer: $0) }
      #else
        entry.values.map(\.bitPattern.littleEndian).withUnsafeBytes {
          hash.update(bufferPointer: $0)
        }
      #endif
    }
    return hash.finalize().map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
  }
}
