import Crypto
import Foundation
import Imaging

/// Tensors that say what they are: the metadata's `sparrow.format` names the kind of file with a
/// version, `sparrow.model` holds a description as JSON, and `sparrow.sha256` is the SHA-256, in
/// hexadecimal, of the description's text followed by the tensors' bytes; in a sealed file each
/// tensor's bytes follow its name, type and shape.
extension Safetensors {
  private static let formatKey = "sparrow.format"
  private static let descriptionKey = "sparrow.model"
  private static let checksumKey = "sparrow.sha256"

  package init(
    format: String, description: some Encodable, entries: [Entry], isSealed: Bool = false
  ) throws {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    let json = String(decoding: try encoder.encode(description), as: UTF8.self)
    self.init(metadata: [Self.formatKey: format, Self.descriptionKey: json], entries: entries)
    writeChecksum(isSealed: isSealed)
  }

  /// Makes the checksum that of the content as it now is.
  package mutating func writeChecksum(isSealed: Bool = false) {
    metadata[Self.checksumKey] = Self.checksum(descriptionText ?? "", entries, isSealed)
  }

  package var format: String? { metadata[Self.formatKey] }
  package var descriptionText: String? { metadata[Self.descriptionKey] }

  package func description<Description: Decodable>(
    as type: Description.Type
  ) throws -> Description {
    try JSONDecoder().decode(type, from: Data((descriptionText ?? "").utf8))
  }

  /// Whether the checksum is that of the content; nil where the file has none.
  package func isUndamaged(isSealed: Bool = false) -> Bool? {
    metadata[Self.checksumKey].map {
      $0 == Self.checksum(descriptionText ?? "", entries, isSealed)
    }
  }

  private static func checksum(_ json: String, _ entries: [Entry], _ isSealed: Bool) -> String {
    var hash = SHA256()
    hash.update(data: Array(json.utf8))
    for entry in entries {
      if isSealed {
        let head = "\n\(entry.name) \(entry.elements.type.rawValue) \(entry.shape)\n"
        hash.update(data: Array(head.utf8))
      }
      entry.elements.withBytes { hash.update(bufferPointer: $0) }
    }
    return hash.finalize().hexadecimal
  }
}
