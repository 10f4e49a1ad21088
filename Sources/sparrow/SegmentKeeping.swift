import ArgumentParser
import Compute
import Foundation
import Imaging
import ReferenceBackend
import Segmentation
import Training

/// The saving, stopping and going on of a run that trains a convolutional network.
struct SegmentKeeping<Settings: ConvolutionalSettings> {
  let settings: Settings
  let content: String
  let folder: SegmentRun
  let session: RunSession
  let trust: SegmentTrustOptions
  let verb: String
  /// Where the run goes on; from its start when nil.
  var resuming: ConvolutionalCheckpoint<Settings>?

  /// Takes the folder and trains, saving as it is wished.
  ///
  /// - Parameter train: is given where the run goes on, what saves it, and what verifies its steps.
  /// - Throws: exit status 128 and the signal's number where one has stopped the run.
  func run<Model>(
    log: StepLog, on backend: some Backend,
    _ train: (
      ConvolutionalState?, RunKeeper<ConvolutionalState>, StepVerification<ReferenceBackend>?
    ) throws -> Model
  ) throws -> Model {
    if !session.isOpen {
      try session.open(making: true)
      // Another process may have been there in between.
      try folder.refuseExisting()
    }
    let origin = RunOrigin(backend)
    if let resuming {
      log.state = resuming.state.log
      let description = resuming.description
      RunOrigin(device: description.device, program: description.program).noteChange(to: origin)
    }
    let description = ConvolutionalCheckpoint<Settings>.Description(
      settings: settings, content: content, device: origin.device, program: origin.program)
    let keeper = RunKeeper<ConvolutionalState>(
      store: session.store, interval: trust.interval, requestedStop: { StopSignals.signal },
      contents: { try ConvolutionalCheckpoint(description: description, state: $0).contents() })
    var steps = 0
    keeper.willSave = { state in
      state.log = log.state
      steps = state.training.stepCount
    }
    StopSignals.listen()
    defer { StopSignals.stopListening() }
    do {
      let verification = StepVerification(every: trust.verifyEvery, for: backend)
      let model = try train(resuming?.state, keeper, verification)
      verification?.noteResult()
      try session.check()
      return model
    } catch {
      // What is being written is what is gone on from, and is not to be left unfinished.
      try? keeper.finish()
      throw runEnd(error, after: "step \(steps)", advice: advice)
    }
  }

  /// How to go on, for the end of a message.
  var advice: String {
    session.store.isEmpty || session.isLost
      ? ""
      : "; 'sparrow segment \(verb) --resume \(shellQuoted(folder.path))' goes on from the last "
        + "checkpoint"
  }

  /// After the results are written.
  func finish() { session.store.removePrevious() }
}

/// The training of a convolutional network on a backend.
protocol SegmentJob: KeptTraining {
  associatedtype Settings: ConvolutionalSettings
  var keeping: SegmentKeeping<Settings> { get set }
}

extension SegmentJob {
  var session: RunSession { keeping.session }
  var onDeviceFailure: OnDeviceFailure { keeping.trust.onDeviceFailure }
  var startingPlace: String? {
    keeping.resuming.map { "step \($0.state.training.stepCount)" }
  }
  var advice: String { keeping.advice }
  var memoryNeed: MemoryNeed {
    let settings = keeping.settings
    return MemoryNeed(
      memory: settings.memory, batch: settings.training.batchSize,
      fixedParts: "parameters and moments", advice: "; try a smaller --crop")
  }

  mutating func returnToLastCheckpoint() throws {
    keeping.resuming = try session.store.newest(ConvolutionalCheckpoint<Settings>.init(path:))
  }
}

extension SegmentTrustOptions {
  /// The run that `--resume` names, as its last checkpoint has it; nil where it is done, which is
  /// then said.
  func load<Settings: ConvolutionalSettings>(
    _ folder: SegmentRun, _ session: RunSession, as settings: Settings.Type
  ) throws -> ConvolutionalCheckpoint<Settings>? {
    let files = FileManager.default
    try requireRun(folder.path)
    try session.open()
    if files.fileExists(atPath: folder.model), files.fileExists(atPath: folder.picturePath) {
      do {
        // Runs of other verbs leave files of the same names.
        let model = try ConvolutionalModel<Settings.Model>(path: folder.model)
        if folder.hasMetrics(upTo: model.description.stepsDone) {
          try Console.result(
            "Finished: \(folder.path) has all of its steps; nothing is left to do")
          return nil
        }
      } catch let error as FileError {
        // What is damaged is written anew from the checkpoint, where there is one.
        if session.store.isEmpty { throw error }
      }
    }
    guard !session.store.isEmpty else {
      throw FileError(path: folder.path, reason: "holds no checkpoint to resume from")
    }
    let checkpoint = try session.store.newest(ConvolutionalCheckpoint<Settings>.init(path:))
    Console.note(
      "Resuming after step \(checkpoint.state.training.stepCount), "
        + "\(duration(checkpoint.state.seconds)) of training")
    return checkpoint
  }

  func requireContent(_ images: [LabelledImage], _ content: String, _ path: String) throws {
    guard contentSHA256(of: images) == content else {
      throw Problem("\(path): not the images that the run was trained on: their content differs")
    }
  }
}

/// - Throws: as the parser does where an argument is missing.
func required(_ value: String?, _ flag: String) throws -> String {
  guard let value else {
    throw ValidationError(
      "Missing expected argument '--\(flag) <\(flag == "output" ? "run" : flag)>'")
  }
  return value
}

/// The path from anywhere.
func absolutePath(_ path: String) -> String {
  URL(fileURLWithPath: path).standardizedFileURL.path
}
