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

/// A model as a `ParameterFile`: the tensors `encoder.0.weight` `[inputs, outputs]`,
/// `encoder.0.bias`, ..., `decoder.0.weight`, ..., and the description.
package struct ModelFile: Sendable {
  package var description: ModelDescription
  /// In the order of `AutoencoderConfiguration.parameterLayout`.
  package var parameters: [Float]

  /// Of the first format are models of before there were codes.
  private static let formats = ["autoencoder 1", "autoencoder 2"]
  private static let format = "autoencoder 2"

  package init(description: ModelDescription, parameters: [Float]) {
    self.description = description
    self.parameters = parameters
  }

  package func write(to path: String) throws {
    try ParameterFile.write(
      description, format: Self.format,
      tensors: [(description.training.network.parameterLayout, parameters)], to: path)
  }

  /// - Throws: `FileError` where the file is damaged or is not one of Sparrow's models.
  package init(path: String) throws {
    let file = try ParameterFile(path: path, formats: Self.formats, kind: "an autoencoder")
    description = try file.description(as: ModelDescription.self)
    let network = description.training.network
    if let problem = network.problem {
      throw FileError(path: path, reason: "the model's network: \(problem)")
    }
    let sides = [description.imageWidth, description.imageHeight, description.imageChannels]
    guard sides.allSatisfy({ $0 > 0 && $0 <= 1 << 20 }), sides.reduce(1, *) == network.inputs else {
      throw FileError(path: path, reason: "images of \(sides) for \(network.inputs) inputs")
    }
    parameters = try file.tensors([network.parameterLayout])[0]
  }
}
