import Datasets
import Imaging
import Networks

/// All that a training run carries from one step to the next: with the configuration and the images
/// it determines the rest of the run to the bit.
package struct RunState: Sendable {
  package var epochsDone: Int
  /// Steps done of the epoch after those.
  package var stepsIntoEpoch: Int
  package var training: TrainingState
  /// The parameters after the last whole epoch, where steps have been done since; a sweep has none.
  package var kept: [Float]?
  /// ||x - xhat||^2 and ||z||_0 of the images that the epoch has gone through, in its order.
  package var rowError, rowL0: [Float]
  /// The epochs done.
  package var history: [EpochMetrics]
  /// Of the whole run so far.
  package var seconds: Double
  package var secondsIntoEpoch: Double

  /// Whether it can be one of a run with these settings on so many images.
  func isOf(_ configuration: TrainingConfiguration, images: Int) -> Bool {
    let steps = configuration.stepsPerEpoch(images: images)
    let rows = min(stepsIntoEpoch, steps) * configuration.batchSize
    return epochsDone <= configuration.epochs && history.count == epochsDone
      && stepsIntoEpoch < steps && rowError.count == rows && rowL0.count == rows
      && training.stepCount == epochsDone * steps + stepsIntoEpoch
  }
}

/// What a checkpoint says of its run besides the state.
package struct CheckpointDescription: Codable, Sendable {
  /// With the epochs that are done.
  package var model: ModelDescription
  /// What `--data` named, with absolute paths.
  package var source: String
  /// Of the images: `Dataset.contentSHA256`.
  package var content: String
  /// What the run was on last, with the version of its driver, which old checkpoints lack.
  package var device: String
  /// The version of Sparrow that wrote it.
  package var program: String
  package var stepsIntoEpoch: Int
  package var stepCount: Int
  package var seconds: Double
  package var secondsIntoEpoch: Double

  package init(
    model: ModelDescription, source: String, content: String, device: String, program: String
  ) {
    self.model = model
    self.source = source
    self.content = content
    self.device = device
    self.program = program
    (stepsIntoEpoch, stepCount, seconds, secondsIntoEpoch) = (0, 0, 0, 0)
  }
}

/// A training run as a `StateFile`.
package struct Checkpoint: Sendable {
  package var description: CheckpointDescription
  package var run: RunState

  package static let format = "checkpoint 1"

  package init(description: CheckpointDescription, run: RunState) {
    self.description = description
    self.run = run
    self.description.model.epochsDone = run.epochsDone
    self.description.stepsIntoEpoch = run.stepsIntoEpoch
    self.description.stepCount = run.training.stepCount
    self.description.seconds = run.seconds
    self.description.secondsIntoEpoch = run.secondsIntoEpoch
  }

  package func contents() throws -> Safetensors {
    try StateFile.contents(
      format: Self.format, description: description,
      entries: run.entries(description.model.training.network.parameterLayout))
  }

  /// - Throws: `FileError` where the file is damaged or something else.
  package init(path: String) throws {
    let file = try StateFile(path: path, formats: [Self.format], kind: "a checkpoint")
    description = try file.description(as: CheckpointDescription.self)
    let training = description.model.training
    if let problem = training.runProblem ?? description.model.problem {
      throw FileError(path: path, reason: "the run's configuration: \(problem)")
    }
    run = try RunState(
      position: RunPosition(
        epochsDone: description.model.epochsDone, stepsIntoEpoch: description.stepsIntoEpoch,
        stepCount: description.stepCount, seconds: description.seconds,
        secondsIntoEpoch: description.secondsIntoEpoch),
      file.entries, layout: training.network.parameterLayout, path: path)
  }
}

extension TrainingConfiguration {
  /// The last batch of an epoch may be a short one.
  func stepsPerEpoch(images: Int) -> Int { (images + batchSize - 1) / batchSize }

  /// What keeps a run of it from being gone on with, in words; nil where nothing does.
  var runProblem: String? {
    problem ?? (batchSize > 0 && epochs > 0 ? nil : "batch or epochs are not above 0")
  }
}

/// Where a run's state stands: what is said of it in a description, beside its tensors.
package struct RunPosition: Codable, Sendable, Equatable {
  package let epochsDone, stepsIntoEpoch, stepCount: Int
  package let seconds, secondsIntoEpoch: Double
}

/// A run's state in a file: the tensors of `TrainingState`, `kept/...` with the parameters after the
/// last whole epoch, `row_error` and `row_l0` of the epoch in progress, `history` with a row for each
/// epoch done.
extension RunState {
  package var position: RunPosition {
    RunPosition(
      epochsDone: epochsDone, stepsIntoEpoch: stepsIntoEpoch, stepCount: training.stepCount,
      seconds: seconds, secondsIntoEpoch: secondsIntoEpoch)
  }

  func entries(_ layout: ParameterLayout) -> [Safetensors.Entry] {
    var state = training
    if let kept { state.tensors.append(("kept", kept)) }
    var entries = [
      Safetensors.Entry(
        name: "history", shape: [history.count, EpochMetrics.columns],
        elements: .f64(history.flatMap(\.row)))
    ]
    entries += state.entries(layout)
    if stepsIntoEpoch > 0 {
      entries.append(.init(name: "row_error", shape: [rowError.count], values: rowError))
      entries.append(.init(name: "row_l0", shape: [rowL0.count], values: rowL0))
    }
    return entries
  }

  /// - Throws: `FileError` where a tensor is missing or the position makes no sense.
  init(
    position: RunPosition, _ entries: [Safetensors.Entry], layout: ParameterLayout, path: String
  ) throws {
    guard [position.seconds, position.secondsIntoEpoch].allSatisfy({ $0 >= 0 && $0.isFinite })
    else {
      throw FileError(
        path: path,
        reason: "a time of \(position.seconds) s, \(position.secondsIntoEpoch) s of an epoch")
    }
    let figures = entries.first { $0.name == "history" }
    guard let figures, case .f64(let rows) = figures.elements,
      figures.shape == [position.epochsDone, EpochMetrics.columns], position.stepsIntoEpoch >= 0
    else { throw FileError(path: path, reason: "no fitting history of the run") }
    var state = try TrainingState(
      stepCount: position.stepCount, entries.filter { $0.name != "history" }, layout: layout,
      path: path)
    func take(_ name: String) -> [Float]? {
      guard let index = state.tensors.firstIndex(where: { $0.name == name }) else { return nil }
      return state.tensors.remove(at: index).values
    }
    let (kept, rowError, rowL0) = (take("kept"), take("row_error"), take("row_l0"))
    self.init(
      epochsDone: position.epochsDone, stepsIntoEpoch: position.stepsIntoEpoch, training: state,
      kept: kept, rowError: rowError ?? [], rowL0: rowL0 ?? [],
      history: (0..<position.epochsDone).map { epoch in
        EpochMetrics(
          epoch: epoch + 1,
          row: rows[epoch * EpochMetrics.columns..<(epoch + 1) * EpochMetrics.columns])
      }, seconds: position.seconds, secondsIntoEpoch: position.secondsIntoEpoch)
  }
}

extension EpochMetrics {
  /// Loss, reconstruction, beta, mse, l0, dead latents or -1, seconds, samples a second.
  static let columns = 8

  fileprivate var row: [Double] {
    [loss, reconstruction, beta, mse, l0, Double(dead ?? -1), seconds, samplesPerSecond]
  }

  fileprivate init(epoch: Int, row: ArraySlice<Double>) {
    let row = Array(row)
    self.init(
      epoch: epoch, loss: row[0], reconstruction: row[1], beta: row[2], mse: row[3], l0: row[4],
      dead: Int(exactly: row[5]).flatMap { $0 < 0 ? nil : $0 }, seconds: row[6],
      samplesPerSecond: row[7])
  }
}

extension TrainingConfiguration {
  /// Whether what a step does depends on how many epochs there will be, so that a run of so many
  /// cannot become one of more.
  package var dependsOnLength: Bool {
    schedule.kind != .constant || annealing != nil || balance != nil
      || (targetL0 != nil && network.code.hasPenalty)
  }
}
