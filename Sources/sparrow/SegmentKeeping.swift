import ArgumentParser
import Compute
import Foundation
import Imaging
import OpenCLRuntime
import ReferenceBackend
import Segmentation
import Training

/// The saving, stopping and going on of a run that trains a convolutional network.
struct SegmentKeeping<Settings: ConvolutionalSettings> {
  let settings: Settings
  let content: String
  let folder: SegmentRun
  let session: RunSession
  let trust: TrustOptions
  let verb: String
  /// Where the run goes on; from its start when nil.
  var resuming: ConvolutionalState?

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
      try Folder.make(folder.path)
      try session.open()
      // Another process may have been there in between.
      try folder.refuseExisting()
    }
    if let resuming { log.state = resuming.log }
    let description = ConvolutionalCheckpoint<Settings>.Description(
      settings: settings, content: content, device: backend.name, program: Sparrow.version)
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
      let model = try train(resuming, keeper, verification)
      verification?.noteResult()
      try session.check()
      return model
    } catch let interruption as RunInterrupted {
      Console.clearLine()
      Console.note(
        "Stopped by \(StopSignals.name(interruption.signal)) after step \(steps)"
          + "\(advice.isEmpty ? "" : ". Saved\(advice)")")
      throw ExitCode(128 + interruption.signal)
    } catch let error as FileError {
      Console.clearLine()
      throw Problem("\(error)\(advice)")
    } catch let error as TrainingError {
      Console.clearLine()
      if case .mismatch = error { throw Problem("\(error)\(advice)") }
      throw error
    }
  }

  /// How to go on, for the end of a message.
  var advice: String {
    session.store.isEmpty || session.isLost
      ? ""
      : "; 'sparrow segment \(verb) --resume \(folder.path)' goes on from the last checkpoint"
  }

  /// After the results are written.
  func finish() { session.store.removePrevious() }
}

/// The training of a convolutional network on a backend.
protocol SegmentJob: BackendTask where Result == Void {
  associatedtype Settings: ConvolutionalSettings
  var keeping: SegmentKeeping<Settings> { get set }
}

extension DeviceOptions {
  /// Runs the job on the chosen device, and where that fails and it is wished, on the reference.
  func train(_ job: some SegmentJob) throws {
    do {
      try run(job)
    } catch let error as OpenCLError where job.keeping.trust.onDeviceFailure == .reference {
      var next = job
      try next.keeping.returnToLastCheckpoint()
      error.noteGoingOn(
        next.keeping.resuming.map { "after step \($0.training.stepCount)" } ?? "from the start")
      try next.run(on: ReferenceBackend())
    } catch let error as OpenCLError
      where error.isShortageOfMemory || job.keeping.session.isOpen
    {
      throw error.problem(advice: job.keeping.advice)
    }
  }
}

extension SegmentKeeping {
  fileprivate mutating func returnToLastCheckpoint() throws {
    guard session.isOpen, !session.store.isEmpty else { return }
    resuming = try session.store.newest(ConvolutionalCheckpoint<Settings>.init(path:)).state
  }
}

extension TrustOptions {
  /// The run that `--resume` names, as its last checkpoint has it; nil where it is done, which is
  /// then said.
  func load<Settings: ConvolutionalSettings>(
    _ folder: SegmentRun, _ session: RunSession, as settings: Settings.Type
  ) throws -> ConvolutionalCheckpoint<Settings>? {
    let files = FileManager.default
    guard files.fileExists(atPath: folder.path) else {
      throw FileError(path: folder.path, reason: "no such run to resume")
    }
    try session.open()
    let isComplete = [folder.model, folder.metrics, folder.picturePath].allSatisfy {
      files.fileExists(atPath: $0)
    }
    if isComplete {
      try Console.result("Finished: \(folder.path) has all of its steps; nothing is left to do")
      return nil
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
