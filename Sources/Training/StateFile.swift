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
  ///   - formats: those that are read, a name and a version such as `checkpoint 1`, the newest last.
  ///   - kind: what such a file is, for messages.
  /// - Throws: `FileError` where the file is absent, damaged, of another kind or version.
  package init(path: String, formats: [String], kind: String) throws {
    self.path = path
    file = try Safetensors(path: path, types: Set(Safetensors.ElementType.allCases))
    guard let found = file.format, file.descriptionText != nil else {
      throw FileError(path: path, reason: "a safetensors file, but not \(kind)")
    }
    guard formats.contains(found) else {
      let format = formats.last ?? ""
      let isOtherVersion = Self.name(of: found) == Self.name(of: format)
      throw FileError(
        path: path,
        reason: isOtherVersion
          ? "of the format \"\(found)\", written by another version of Sparrow; this one reads "
            + "\"\(format)\""
          : "of the format \"\(found)\", not \(kind)\(Self.advice(on: found))")
    }
    guard file.isUndamaged(isSealed: true) == true else {
      throw FileError(path: path, reason: "damaged: the checksum differs")
    }
  }

  private static func name(of format: String) -> Substring {
    format.prefix { !$0.isNumber }
  }

  /// Which command goes on from a file of a format.
  private static func advice(on format: String) -> String {
    let commands = [
      "checkpoint ": "train --resume", "sweep ": "sweep",
      "pretraining checkpoint ": "segment pretrain --resume",
      "segmentation checkpoint ": "segment train --resume",
    ]
    return commands[String(name(of: format))].map { "; 'sparrow \($0)' goes on from it" } ?? ""
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
