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

  /// What is wrong with it besides its training, in one line; the network has been checked.
  package var problem: String? {
    let sides = [imageWidth, imageHeight, imageChannels]
    guard sides.allSatisfy({ $0 > 0 && $0 <= 1 << 20 }), [1, 3].contains(imageChannels),
      sides.reduce(1, *) == training.network.inputs
    else { return "images of \(sides) for \(training.network.inputs) inputs" }
    guard normalisation.scale.isFinite, normalisation.scale != 0, normalisation.shift.isFinite
    else { return "a normalisation by \(normalisation.scale) and \(normalisation.shift)" }
    return epochsDone >= 0 ? nil : "\(epochsDone) epochs"
  }
}

/// A model as a `ParameterFile`: the tensors `encoder.0.weight`, `encoder.0.bias`, ...,
/// `decoder.0.weight`, ..., and the description. Weights are `[inputs, outputs]`, so that a layer is
/// `x W + b`; but both of a dictionary (`--latents`) are `[latents, inputs]`, whose row j is what latent
/// j looks for and what it stands for, so that its encoder is `(x - input.mean) W^T + b`. Beside them
/// are `input.mean` of a dictionary, and `code.threshold`, one for each latent of a JumpReLU or one for
/// all of a BatchTopK. `AutoencoderConfiguration` says what the network computes with them.
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
    if let problem = description.training.problem ?? description.problem {
      throw FileError(path: path, reason: "the model's description: \(problem)")
    }
    parameters = try file.tensors([network.parameterLayout])[0]
  }
}
