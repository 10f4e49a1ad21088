import ArgumentParser
import Compute
import Datasets
import Foundation
import Imaging
import OpenCLRuntime
import Training

/// One run of training on a backend: from its start or from a checkpoint to the files it leaves.
struct TrainJob: KeptTraining {
  var description: CheckpointDescription
  let dataset: Dataset
  let folder: RunFolder
  let session: RunSession
  let interval: CheckpointInterval?
  let verifyEvery: Int?
  let onDeviceFailure: OnDeviceFailure
  /// Where the run goes on; from its start when nil.
  var resuming: RunState?
  /// Whether it is to have another number of epochs than its checkpoint says.
  var isNewLength = false

  var configuration: TrainingConfiguration { description.model.training }
  var operations: Set<String>? { configuration.operations }

  var startingPlace: String? {
    resuming.map { $0.progress(of: configuration) }
  }

  mutating func returnToLastCheckpoint() throws {
    let checkpoint = try session.store.newest(Checkpoint.init(path:))
    resuming = checkpoint.run
    description.device = checkpoint.description.device
    description.program = checkpoint.description.program
  }

  var advice: String {
    session.store.isEmpty || session.isLost
      ? ""
      : "; 'sparrow train --resume \(shellQuoted(folder.path))' goes on from the last checkpoint"
  }

  var memoryNeed: MemoryNeed {
    MemoryNeed(
      memory: TrainingMemory(configuration, images: dataset.train.count),
      batch: configuration.batchSize, fixedParts: "images, parameters and moments")
  }

  func run<B: Backend>(on backend: B) throws {
    let trainer = try Trainer(
      configuration, images: dataset.train, normalisation: .unit, on: backend)
    let keeper = try prepare(trainer)
    StopSignals.listen()
    defer { StopSignals.stopListening() }
    do {
      try train(trainer, keeper)
    } catch {
      Console.clearLine()
      switch error {
      case is RunInterrupted where trainer.lastGoodEpoch > 0: try save(trainer)
      case TrainingError.diverged: try save(trainer)
      case is OpenCLError:
        // Where it is not known to be whole, the last checkpoint stays.
        if let state = trainer.stateAfterFailure() { try? keeper.save(state) }
      default: break
      }
      // What is being written is what is gone on from, and is not to be left unfinished.
      try? keeper.finish()
      throw runEnd(error, after: place(of: trainer), advice: advice)
    }
    StopSignals.stopListening()
    try finish(trainer)
  }

  private func place<B: Backend>(of trainer: Trainer<B>) -> String {
    trainer.stepsIntoEpoch > 0
      ? "step \(trainer.stepsIntoEpoch) of epoch \(trainer.lastGoodEpoch + 1)"
      : "epoch \(trainer.lastGoodEpoch)"
  }

  /// Takes the folder, and brings trainer and folder to where the run goes on.
  private func prepare<B: Backend>(_ trainer: Trainer<B>) throws -> RunKeeper<RunState> {
    if !session.isOpen {
      try folder.refuseExistingRun()
      try session.open(making: true)
      // Another process may have been there in between.
      try folder.refuseExistingRun()
    } else {
      try session.check()
      try folder.write(resuming?.history ?? [])
    }
    let origin = RunOrigin(trainer.step.backend)
    if let resuming {
      try trainer.restore(resuming)
      // Before any step, for a run that is killed before its next checkpoint.
      if isNewLength { try session.save(Checkpoint(description: description, run: resuming)) }
      RunOrigin(device: description.device, program: description.program).noteChange(to: origin)
    }
    Console.note(
      configuration.summary(parameters: trainer.step.network.arena.layout.parameterCount))
    var description = description
    (description.device, description.program) = (origin.device, origin.program)
    let saved = description
    return RunKeeper(
      store: session.store, interval: interval, requestedStop: { StopSignals.signal },
      contents: { try Checkpoint(description: saved, run: $0).contents() })
  }

  private func train<B: Backend>(_ trainer: Trainer<B>, _ keeper: RunKeeper<RunState>) throws {
    let verification = StepVerification(every: verifyEvery, for: trainer.step.backend)
    if let verification {
      trainer.verificationInterval = verification.interval
      trainer.verify =
        StepVerifier(
          configuration, images: dataset.train, normalisation: .unit, device: trainer.step.backend,
          verification: verification
        ).verify
    }
    let display = TrainingDisplay(epochs: configuration.epochs, done: trainer.lastGoodEpoch)
    var lastSaved = ContinuousClock.now
    try trainer.run(keeper: keeper) { event in
      display.show(event)
      if case .warning(let line) = event { Console.note("Warning: \(line)") }
      guard case .epoch(let metrics) = event else { return }
      try session.check()
      try folder.append(metrics)
      // A long run that is cut off leaves a model of a minute ago at most.
      if lastSaved.secondsSince() > 60 {
        try save(trainer)
        lastSaved = .now
      }
    }
    verification?.noteResult()
  }

  /// Writes the results of a run that is done.
  private func finish<B: Backend>(_ trainer: Trainer<B>) throws {
    try save(trainer)
    let evaluator = try Evaluator(
      trainer.step.network, batchSize: min(256, dataset.test.count))
    let report = try evaluator.evaluate(dataset.test, normalisation: .unit)
    guard report.mse.isFinite else {
      throw Problem(
        "training diverged: the weights are finite, but the errors of the test images are not; "
          + "\(folder.model) is of no use (try a smaller --learning-rate)")
    }
    try session.check()
    try ImageFile.writePNG(
      reconstructions(of: dataset.test, count: 64, evaluator: evaluator, normalisation: .unit),
      to: folder.picture)
    session.store.removePrevious()
    try Console.result(summary(of: report))
    try Console.result("Written: \(folder.model), metrics.csv, reconstructions.png")
  }

  private func save<B: Backend>(_ trainer: Trainer<B>) throws {
    var model = description.model
    model.epochsDone = trainer.lastGoodEpoch
    try session.check()
    try folder.write(ModelFile(description: model, parameters: trainer.lastGoodParameters))
  }
}
