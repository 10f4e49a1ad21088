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
  /// A line for each ten steps: the step, as many means as there are `sums`, seconds. Not in a
  /// description, whose length is bounded, but a tensor: see `ConvolutionalCheckpoint`.
  package var rows: [[Double]] = []
  /// Over the steps since the last line.
  package var sums: [Double] = []
  package var count = 0

  package init() {}

  /// How many numbers a line has.
  var columns: Int { sums.count + 2 }

  private enum CodingKeys: String, CodingKey { case sums, count, csv }

  /// Descriptions of the first version have the lines as text, the names before them.
  package init(from decoder: any Decoder) throws {
    let values = try decoder.container(keyedBy: CodingKeys.self)
    sums = try values.decode([Double].self, forKey: .sums)
    count = try values.decode(Int.self, forKey: .count)
    let text = try values.decodeIfPresent(String.self, forKey: .csv) ?? ""
    rows = try text.split(separator: "\n").dropFirst().map { line in
      try line.split(separator: ",").map { field in
        guard let number = Double(field) else {
          throw DecodingError.dataCorruptedError(
            forKey: .csv, in: values, debugDescription: "no number: \(field)")
        }
        return number
      }
    }
  }

  package func encode(to encoder: any Encoder) throws {
    var values = encoder.container(keyedBy: CodingKeys.self)
    try values.encode(sums, forKey: .sums)
    try values.encode(count, forKey: .count)
  }
}

/// What a run of training is told, as its checkpoints have it.
package protocol ConvolutionalSettings: Codable, Sendable {
  /// The names of such checkpoints that are read, each with a version, the one that is written last.
  static var formats: [String] { get }
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
  package static var formats: [String] { ["pretraining checkpoint 1", "pretraining checkpoint 2"] }
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
  package static var formats: [String] {
    ["segmentation checkpoint 1", "segmentation checkpoint 2"]
  }
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
/// running `statistics`, and `log` with a row for each line of the log.
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
    let rows = state.log.rows
    let log = Safetensors.Entry(
      name: Self.log, shape: [rows.count, state.log.columns],
      elements: .f64(rows.flatMap { $0 }))
    return try StateFile.contents(
      format: Settings.formats.last ?? "", description: description,
      entries: [log]
        + state.training.entries(description.settings.training.network.parameterLayout))
  }

  private static var log: String { "log" }

  /// The description's log with the lines of the tensor, which the first version has not.
  private static func log(_ file: StateFile, _ described: StepLogState) throws -> StepLogState {
    var result = described
    var isFitting = true
    if let entry = file[log] {
      let columns = described.columns
      if case .f64(let values) = entry.elements, entry.shape == [values.count / columns, columns] {
        result.rows = stride(from: 0, to: values.count, by: columns).map {
          Array(values[$0..<$0 + columns])
        }
      } else {
        isFitting = false
      }
    }
    guard isFitting, result.rows.allSatisfy({ $0.count == result.columns }) else {
      throw FileError(path: file.path, reason: "no fitting log of the run")
    }
    return result
  }

  /// - Throws: `FileError` where the file is damaged or something else.
  package init(path: String) throws {
    let file = try StateFile(path: path, formats: Settings.formats, kind: Settings.kind)
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
        stepCount: description.stepCount, file.entries.filter { $0.name != Self.log },
        layout: settings.training.network.parameterLayout, path: path),
      seconds: description.seconds)
    description.log = try Self.log(file, description.log)
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
