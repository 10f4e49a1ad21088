import Foundation
import Imaging

/// A file from which work goes on: tensors with a description and a checksum, as
/// `Safetensors.init(format:description:entries:)` lays them out.
///
/// Unlike a model's, its checksum is not optional: what is continued from must be what was written.
package struct StateFile: Sendable {
  package let path: String
  private let file: Safetensors
  package var entries: [Safetensors.Entry] { file.entries }

  package static func contents(
    format: String, description: some Encodable, entries: [Safetensors.Entry]
  ) throws -> Safetensors {
    try Safetensors(
      format: format, description: description, entries: entries, isSealed: true)
  }

  /// - Parameters:
  ///   - format: the one that is read, a name and a version such as `checkpoint 1`.
  ///   - kind: what such a file is, for messages.
  /// - Throws: `FileError` where the file is absent, damaged, of another kind or version.
  package init(path: String, format: String, kind: String) throws {
    self.path = path
    file = try Safetensors(path: path, types: Set(Safetensors.ElementType.allCases))
    guard let found = file.format, file.descriptionText != nil else {
      throw FileError(path: path, reason: "a safetensors file, but not \(kind)")
    }
    guard found == format else {
      let isOtherVersion = Self.name(of: found) == Self.name(of: format)
      throw FileError(
        path: path,
        reason: isOtherVersion
          ? "of the format \"\(found)\", written by another version of Sparrow; this one reads "
            + "\"\(format)\""
          : "of the format \"\(found)\", not \(kind)")
    }
    guard file.isUndamaged(isSealed: true) == true else {
      throw FileError(path: path, reason: "damaged: the checksum differs")
    }
  }

  private static func name(of format: String) -> Substring {
    format.prefix { !$0.isNumber }
  }

  package subscript(_ name: String) -> Safetensors.Entry? { file[name] }

  package func description<Description: Decodable>(
    as type: Description.Type
  ) throws -> Description {
    do {
      return try file.description(as: type)
    } catch {
      throw FileError(path: path, reason: "its description cannot be read")
    }
  }
}
