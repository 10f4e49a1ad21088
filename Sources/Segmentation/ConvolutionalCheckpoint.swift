import Crypto
import Imaging
import Networks
import Training

/// All that the training of a convolutional network carries from one step to the next.
package struct ConvolutionalState: Sendable {
  package var training: TrainingState
  /// Of the whole run so far.
  package var seconds: Double
  package var log = StepLogState()

  package init(training: TrainingState, seconds: Double) {
    self.training = training
    self.seconds = seconds
  }
}

/// What has been logged of the steps so far.
package struct StepLogState: Codable, Sendable {
  package var csv = ""
  /// Over the steps since the last line.
  package var sums: [Double] = []
  package var count = 0

  package init() {}
}

/// What a run of training is told, as its checkpoints have it.
package protocol ConvolutionalSettings: Codable, Sendable {
  /// The name of such checkpoints, with a version.
  static var format: String { get }
  /// What such a file is, for messages.
  static var kind: String { get }
  /// What the run's model says of itself, with no steps done.
  associatedtype Model: ConvolutionalDescription
  var model: Model { get }
  var training: ConvolutionalTraining { get }
  /// What is wrong with them besides the training, in one line.
  var problem: String? { get }
  /// The device memory that the run takes, a batch of crops at a time.
  var memory: TrainingMemory { get }
}

package struct PretrainingSettings: ConvolutionalSettings {
  package static var format: String { "pretraining checkpoint 1" }
  package static var kind: String { "a checkpoint of pretraining" }
  /// With no steps done.
  package var model: PretrainedDescription
  /// The folder, as an absolute path.
  package var images: String

  package init(model: PretrainedDescription, images: String) {
    (self.model, self.images) = (model, images)
  }

  package var training: ConvolutionalTraining { model.training }
  package var problem: String? { model.problem ?? model.normalisationProblem }
}

package struct SegmentationSettings: ConvolutionalSettings {
  package static var format: String { "segmentation checkpoint 1" }
  package static var kind: String { "a checkpoint of a segmentation's training" }
  /// With no steps done.
  package var model: SegmenterDescription
  /// The folders, as absolute paths, and how many of the pairs are used.
  package var images, labels: String
  package var limit: Int?
  /// The folder of images without labels, as an absolute path.
  package var unlabelled: String?

  package init(
    model: SegmenterDescription, images: String, labels: String, limit: Int?,
    unlabelled: String? = nil
  ) {
    (self.model, self.images, self.labels, self.limit) = (model, images, labels, limit)
    self.unlabelled = unlabelled
  }

  package var training: ConvolutionalTraining { model.training }
  package var problem: String? {
    model.problem ?? model.normalisationProblem ?? model.segmenting.selfTraining?.problem
      ?? (limit ?? 1 >= 1 ? nil : "a limit of \(limit ?? 0) images")
      ?? (model.segmenting.classWeights.count == model.classes.count
        ? nil : "\(model.segmenting.classWeights.count) weights for \(model.classes.count) classes")
  }
}

/// The training of a convolutional network as a `StateFile`: the tensors of `TrainingState` with the
/// running `statistics`.
package struct ConvolutionalCheckpoint<Settings: ConvolutionalSettings>: Sendable {
  package struct Description: Codable, Sendable {
    package var settings: Settings
    /// Of the images: `contentSHA256(of:)`.
    package var content: String
    /// What the run was on last, with the version of its driver, which old checkpoints lack.
    package var device: String
    /// The version of Sparrow that wrote it.
    package var program: String
    package var stepCount = 0
    package var seconds = 0.0
    package var log = StepLogState()

    package init(settings: Settings, content: String, device: String, program: String) {
      self.settings = settings
      self.content = content
      self.device = device
      self.program = program
    }
  }

  package var description: Description
  package var state: ConvolutionalState

  package init(description: Description, state: ConvolutionalState) {
    self.description = description
    self.state = state
    self.description.stepCount = state.training.stepCount
    self.description.seconds = state.seconds
    self.description.log = state.log
  }

  package func contents() throws -> Safetensors {
    try StateFile.contents(
      format: Settings.format, description: description,
      entries: state.training.entries(description.settings.training.network.parameterLayout))
  }

  /// - Throws: `FileError` where the file is damaged or something else.
  package init(path: String) throws {
    let file = try StateFile(path: path, format: Settings.format, kind: Settings.kind)
    description = try file.description(as: Description.self)
    let settings = description.settings
    if let problem = settings.training.problem ?? settings.problem {
      throw FileError(path: path, reason: "the run's settings: \(problem)")
    }
    // Far more steps than any run has, and far from where counting on would overflow.
    guard (0...1 << 40).contains(description.stepCount),
      (0...description.stepCount).contains(description.log.count)
    else {
      throw FileError(
        path: path,
        reason: "a step count of \(description.stepCount), \(description.log.count) not yet logged")
    }
    guard description.seconds >= 0, description.seconds.isFinite else {
      throw FileError(path: path, reason: "a time of \(description.seconds) s")
    }
    state = ConvolutionalState(
      training: try TrainingState(
        stepCount: description.stepCount, file.entries,
        layout: settings.training.network.parameterLayout, path: path),
      seconds: description.seconds)
    state.log = description.log
  }
}

/// SHA-256 of names, shapes, samples and labels, as 64 hexadecimal digits in lower case: two sets of
/// the same sum train the same model.
package func contentSHA256(of images: [LabelledImage]) -> String {
  var sum = SHA256()
  for image in images {
    let shape = "\(image.image.width) \(image.image.height) \(image.image.channels)"
    sum.update(data: Array("\(image.name)\n\(shape) \(image.labels == nil)\n".utf8))
    image.image.samples.withUnsafeBytes { sum.update(bufferPointer: $0) }
    image.labels?.withUnsafeBytes { sum.update(bufferPointer: $0) }
  }
  return sum.finalize().hexadecimal
}
