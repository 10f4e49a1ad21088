import Compute
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

  // MARK: Writing

  /// - Parameter tensors: flat arrays with their layouts; names are not repeated.
  package static func write(
    _ description: some Encodable, format: String,
    tensors: [(layout: ParameterLayout, values: [Float])], to path: String
  ) throws {
    let entries = tensors.flatMap { layout, values in
      layout.slots.map { slot in
        Safetensors.Entry(
          name: slot.name, shape: slot.shape.dimensions,
          values: Array(values[slot.offset..<slot.offset + slot.shape.count]))
      }
    }
    try Safetensors(format: format, description: description, entries: entries).write(to: path)
  }

  // MARK: Reading

  /// - Parameters:
  ///   - formats: those that the caller reads, the newest last.
  ///   - kind: what such a file is, for messages.
  /// - Throws: `FileError` where the file is damaged or of another kind.
  package init(path: String, formats: [String], kind: String) throws {
    // Of any type, so that a checkpoint is refused for what it is.
    file = try Safetensors(path: path, types: Set(Safetensors.ElementType.allCases))
    self.path = path
    guard let format = file.format, let json = file.descriptionText else {
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
      return try file.description(as: type)
    } catch {
      throw FileError(path: path, reason: "the model's description cannot be read")
    }
  }

  /// The tensors of each layout as flat arrays.
  ///
  /// - Throws: `FileError` where one is missing, has another shape or is not finite, where the file
  ///   has others, or where the checksum differs.
  package func tensors(_ layouts: [ParameterLayout]) throws -> [[Float]] {
    let arrays = try layouts.map { layout in
      var values = [Float](repeating: 0, count: layout.count)
      for slot in layout.slots {
        guard let entry = file[slot.name], entry.shape == slot.shape.dimensions,
          let elements = entry.floats
        else {
          throw FileError(
            path: path, reason: "no tensor \"\(slot.name)\" of shape \(slot.shape)")
        }
        values.replaceSubrange(slot.offset..<slot.offset + slot.shape.count, with: elements)
      }
      return values
    }
    guard file.entries.count == layouts.reduce(0, { $0 + $1.slots.count }) else {
      throw FileError(path: path, reason: "has tensors that its network does not")
    }
    guard file.isUndamaged() ?? true else {
      throw FileError(
        path: path, reason: "damaged or changed by another program: the checksum differs")
    }
    guard arrays.allSatisfy({ $0.allSatisfy(\.isFinite) }) else {
      throw FileError(path: path, reason: "has weights that are not finite")
    }
    return arrays
  }
}
