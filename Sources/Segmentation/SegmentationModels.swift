import Compute
import Imaging
import Networks
import Training

/// What a pretrained front end's file says of it besides its weights.
package struct PretrainedDescription: Codable, Sendable {
  package var training: ConvolutionalTraining
  package var alpha: Double
  package var corruption: Corruption
  package var normalisation: PercentileNormalisation
  package var stepsDone: Int
  /// How many images it was trained on.
  package var images: Int

  package init(
    training: ConvolutionalTraining, alpha: Double, corruption: Corruption,
    normalisation: PercentileNormalisation, stepsDone: Int, images: Int
  ) {
    self.training = training
    self.alpha = alpha
    self.corruption = corruption
    self.normalisation = normalisation
    self.stepsDone = stepsDone
    self.images = images
  }
}

/// What a segmenter's file says of it besides its weights.
package struct SegmenterDescription: Codable, Sendable {
  package var training: ConvolutionalTraining
  package var segmenting: SegmenterTraining
  package var normalisation: PercentileNormalisation
  package var classes: ClassMap
  package var stepsDone: Int
  /// How many labelled images it was trained on.
  package var images: Int

  package init(
    training: ConvolutionalTraining, segmenting: SegmenterTraining,
    normalisation: PercentileNormalisation, classes: ClassMap, stepsDone: Int, images: Int
  ) {
    self.training = training
    self.segmenting = segmenting
    self.normalisation = normalisation
    self.classes = classes
    self.stepsDone = stepsDone
    self.images = images
  }
}

/// What a description of a model with a convolutional network has.
package protocol ConvolutionalDescription: Codable, Sendable {
  /// The name of such files, with a version.
  static var format: String { get }
  /// What such a file is, for messages.
  static var kind: String { get }
  /// Of the training that made it.
  var stepsDone: Int { get }
  var training: ConvolutionalTraining { get }
  var normalisation: PercentileNormalisation { get }
  /// What is wrong with it, in one line.
  var problem: String? { get }
}

extension ConvolutionalDescription {
  /// Why the images cannot be the network's, in one line.
  var normalisationProblem: String? {
    let (channels, inputs) = (normalisation.channels, training.network.inputs)
    return channels == inputs
      ? nil : "a normalisation of \(channels) channels for \(inputs) inputs"
  }
}

extension PretrainedDescription: ConvolutionalDescription {
  /// Of the terms of the loss.
  package static var weights: ClosedRange<Float> { 0...1e10 }
  package static var format: String { "convolutional autoencoder 1" }
  package static var kind: String { "a pretrained front end" }
  package var problem: String? {
    guard training.network.outputs == training.network.inputs else {
      return "\(training.network.outputs) outputs for \(training.network.inputs) channels"
    }
    guard alpha >= 0, alpha <= Double(Self.weights.upperBound) else { return "alpha is \(alpha)" }
    guard stepsDone >= 0, images >= 0 else { return "\(stepsDone) steps, \(images) images" }
    return corruption.problem
  }
}

extension SegmenterDescription: ConvolutionalDescription {
  package static var format: String { "segmentation 1" }
  package static var kind: String { "a segmentation model" }
  package var problem: String? {
    guard training.network.outputs == classes.count else {
      return "\(training.network.outputs) outputs for \(classes.count) classes"
    }
    guard segmenting.classWeights.count == classes.count,
      segmenting.classWeights.allSatisfy({ $0 >= 0 && $0.isFinite })
    else { return "class weights \(segmenting.classWeights)" }
    guard (0...1).contains(segmenting.adaptation) else {
      return "an adaptation of \(segmenting.adaptation)"
    }
    if let problem = segmenting.loss.problem ?? segmenting.augmentation.problem { return problem }
    if let outlines = segmenting.outlines {
      if let problem = outlines.problem { return problem }
      if classes.count != 2 { return "outlines by brightness between \(classes.count) classes" }
    }
    return stepsDone >= 0 && images >= 0 ? nil : "\(stepsDone) steps, \(images) images"
  }
}

/// A model with a convolutional network as a `ParameterFile`: the tensors of
/// `ConvolutionalConfiguration.parameterLayout` and `statisticsLayout`, and a description.
package struct ConvolutionalModel<Description: ConvolutionalDescription>: Sendable {
  package var description: Description
  package var parameters: [Float]
  package var statistics: [Float]

  package init(description: Description, parameters: [Float], statistics: [Float]) {
    self.description = description
    self.parameters = parameters
    self.statistics = statistics
  }

  package var network: ConvolutionalConfiguration { description.training.network }

  package func write(to path: String) throws {
    try ParameterFile.write(
      description, format: Description.format,
      tensors: [(network.parameterLayout, parameters), (network.statisticsLayout, statistics)],
      to: path)
  }

  /// - Throws: `FileError` where the file is damaged or holds something else.
  package init(path: String) throws {
    let file = try ParameterFile(
      path: path, formats: [Description.format], kind: Description.kind)
    description = try file.description(as: Description.self)
    let network = description.training.network
    if let problem = network.problem ?? description.problem {
      throw FileError(path: path, reason: "the model's network: \(problem)")
    }
    if let problem = description.training.problem {
      throw FileError(path: path, reason: "the model's training: \(problem)")
    }
    if let problem = description.normalisationProblem {
      throw FileError(path: path, reason: problem)
    }
    let tensors = try file.tensors([network.parameterLayout, network.statisticsLayout])
    (parameters, statistics) = (tensors[0], tensors[1])
  }

  package func folded<B: Backend>(on backend: B) throws -> FoldedNetwork<B> {
    try FoldedNetwork(
      network, parameters: parameters, statistics: statistics, on: backend)
  }
}

package typealias PretrainedModel = ConvolutionalModel<PretrainedDescription>
package typealias SegmenterModel = ConvolutionalModel<SegmenterDescription>

extension ConvolutionalConfiguration {
  /// Initial parameters of which those of encoder and code are a pretrained model's; those of the
  /// decoder as well where that has skips, so that its layers have the same shapes.
  ///
  /// - Throws: where the model has another encoder.
  func adoptFrontEnd(
    of model: PretrainedModel, parameters: inout [Float], statistics: inout [Float]
  ) throws {
    let other = model.network
    guard other.inputs == inputs, other.baseChannels == baseChannels, other.levels == levels,
      other.latents == latents
    else {
      throw TrainingError.unsuitableData(
        "the pretrained model has \(other.summary), the network to be trained \(summary)")
    }
    func isAdopted(_ slot: ParameterSlot) -> Bool {
      if slot.name.hasPrefix("code.gate") || slot.name == Code.threshold {
        return other.code == code
      }
      if slot.name.hasPrefix("encoder.") || slot.name.hasPrefix("code.") { return true }
      return slot.name.hasPrefix("decoder.") && other.hasSkips
    }
    func adopt(
      _ values: inout [Float], _ layout: ParameterLayout, from source: [Float],
      _ sourceLayout: ParameterLayout
    ) {
      let places = Dictionary(sourceLayout.slots.map { ($0.name, $0) }) { first, _ in first }
      for slot in layout.slots where isAdopted(slot) {
        guard let from = places[slot.name], from.shape == slot.shape else { continue }
        values.replaceSubrange(
          slot.offset..<slot.offset + slot.shape.count,
          with: source[from.offset..<from.offset + from.shape.count])
      }
    }
    adopt(&parameters, parameterLayout, from: model.parameters, other.parameterLayout)
    adopt(&statistics, statisticsLayout, from: model.statistics, other.statisticsLayout)
  }

  /// For example `1 channel in, 16-32-64-128 channels, code topk:16 of 128`.
  package var summary: String {
    let widths = (0..<levels).map { "\(channels(atLevel: $0))" }.joined(separator: "-")
    return "\(inputs) channel\(inputs == 1 ? "" : "s") in, \(widths) channels, "
      + "code \(code) of \(latents)"
  }
}
