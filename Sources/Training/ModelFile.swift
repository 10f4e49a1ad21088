import Compute
import Crypto
import Foundation
import Imaging
import Networks

/// What a model file says of the model besides its weights.
package struct ModelDescription: Codable, Hashable, Sendable {
  package var training: TrainingConfiguration
  package var normalisation: Normalisation
  package var imageWidth: Int
  package var imageHeight: Int
  package var imageChannels: Int
  /// Epochs trained.
  package var epochsDone: Int
  /// The data it was trained on, as named on the command line.
  package var data: String

  package init(
    training: TrainingConfiguration, normalisation: Normalisation, imageWidth: Int,
    imageHeight: Int, imageChannels: Int, epochsDone: Int, data: String
  ) {
    self.training = training
    self.normalisation = normalisation
    self.imageWidth = imageWidth
    self.imageHeight = imageHeight
    self.imageChannels = imageChannels
    self.epochsDone = epochsDone
    self.data = data
  }
}

/// A model as a safetensors file: the tensors `encoder.0.weight` `[inputs, outputs]`,
/// `encoder.0.bias`, ..., `decoder.0.weight`, ..., and the description as JSON in the metadata
/// under `sparrow.model`. No date and no host's name: equal models are equal files.
///
/// The metadata's `sparrow.sha256` is the SHA-256, in hexadecimal, of the description's text
/// followed by the tensors' bytes: a flipped bit in a weight would otherwise go unnoticed. A file
/// without it is read as well, so that other programs can make models.
package struct ModelFile: Sendable {
  package var description: ModelDescription
  /// In the order of `AutoencoderConfiguration.parameterLayout`.
  package var parameters: [Float]

  private static let formatKey = "sparrow.format"
  private static let modelKey = "sparrow.model"
  private static let checksumKey = "sparrow.sha256"
  /// Of the first format are models of before there were codes.
  private static let formats = ["autoencoder 1", "autoencoder 2"]
  private static let format = "autoencoder 2"

  package init(description: ModelDescription, parameters: [Float]) {
    self.description = description
    self.parameters = parameters
  }

  package func write(to path: String) throws {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    let entries = description.training.network.parameterLayout.slots.map { slot in
      Safetensors.Entry(
        name: slot.name, shape: slot.shape.dimensions,
        values: Array(parameters[slot.offset..<slot.offset + slot.shape.count]))
    }
    let json = String(decoding: try encoder.encode(description), as: UTF8.self)
    let metadata = [
      Self.formatKey: Self.format, Self.modelKey: json,
      Self.checksumKey: Self.checksum(json, entries),
    ]
    try Safetensors(metadata: metadata, entries: entries).write(to: path)
  }

  /// - Throws: `FileError` where the file is damaged or is not one of Sparrow's models.
  package init(path: String) throws {
    let file = try Safetensors(path: path)
    guard let format = file.metadata[Self.formatKey], let json = file.metadata[Self.modelKey] else {
      throw FileError(path: path, reason: "a safetensors file, but not a model of Sparrow's")
    }
    guard Self.formats.contains(format) else {
      throw FileError(
        path: path, reason: "of the format \"\(format)\"; this version reads \"\(Self.format)\"")
    }
    do {
      description = try JSONDecoder().decode(ModelDescription.self, from: Data(json.utf8))
    } catch {
      throw FileError(path: path, reason: "the model's description cannot be read")
    }
    let network = description.training.network
    if let problem = network.problem {
      throw FileError(path: path, reason: "the model's network: \(problem)")
    }
    let sides = [description.imageWidth, description.imageHeight, description.imageChannels]
    guard sides.allSatisfy({ $0 > 0 && $0 <= 1 << 20 }), sides.reduce(1, *) == network.inputs else {
      throw FileError(path: path, reason: "images of \(sides) for \(network.inputs) inputs")
    }
    let layout = network.parameterLayout
    parameters = [Float](repeating: 0, count: layout.count)
    for slot in layout.slots {
      guard let entry = file[slot.name], entry.shape == slot.shape.dimensions else {
        throw FileError(
          path: path, reason: "no tensor \"\(slot.name)\" of shape \(slot.shape)")
      }
      parameters.replaceSubrange(slot.offset..<slot.offset + slot.shape.count, with: entry.values)
    }
    guard file.entries.count == layout.slots.count else {
      throw FileError(path: path, reason: "has tensors that its network does not")
    }
    if let checksum = file.metadata[Self.checksumKey],
      checksum != Self.checksum(json, file.entries)
    {
      throw FileError(
        path: path, reason: "damaged or changed by another program: the checksum differs")
    }
    guard parameters.allSatisfy(\.isFinite) else {
      throw FileError(path: path, reason: "has weights that are not finite")
    }
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
