import Compute
import Datasets
import Foundation
import Networks
import OpenCLBackend
import OpenCLRuntime
import ReferenceBackend
import TestSupport
import Testing
import Training

/// Every code, optimizer and arithmetic whose state differs; `average` and momentum among them.
enum ResumedRun: String, CaseIterable, Sendable {
  case relu, momentum, topK, batchTopK, jumpReLU, hardConcrete, l1, dictionary, sparse

  var configuration: TrainingConfiguration {
    func collapsed(_ code: Code, target: Double? = nil) -> TrainingConfiguration {
      let network = AutoencoderConfiguration(
        widths: [64, 24, 16, 24, 64], encoderLayers: 2, code: code, unitNormDecoder: code == .l1)
      return .recommended(for: network, epochs: 4, batchSize: 32, targetL0: target)
    }
    func dictionary(_ arithmetic: CodeArithmetic) -> TrainingConfiguration {
      var result = TrainingConfiguration.recommended(
        for: .dictionary(inputs: 64, latents: 40, code: .topK(3)), epochs: 4, batchSize: 32)
      result.arithmetic = arithmetic
      return result
    }
    var result =
      switch self {
      case .relu, .momentum: collapsed(.relu)
      case .topK: collapsed(.topK(4))
      case .batchTopK: collapsed(.batchTopK(4))
      case .jumpReLU: collapsed(.jumpReLU, target: 4)
      case .hardConcrete: collapsed(.hardConcrete, target: 4)
      case .l1: collapsed(.l1, target: 4)
      case .dictionary: dictionary(.dense)
      case .sparse: dictionary(.sparse)
      }
    result.seed = 11
    if self == .relu { result.optimizer.averageDecay = 0.9 }
    if self == .momentum {
      result.optimizer.method = .sgd(momentum: 0.9)
      result.optimizer.gradientLimit = 1
    }
    return result
  }
}

/// 290 images: nine whole batches and a short one.
let resumedImages = bars(290)
let resumedStepsPerEpoch = 10

func description(of configuration: TrainingConfiguration) -> CheckpointDescription {
  CheckpointDescription(
    model: ModelDescription(
      training: configuration, normalisation: .unit, imageWidth: 8, imageHeight: 8,
      imageChannels: 1, epochsDone: 0, data: "bars"),
    source: "bars", content: "", device: "", program: "test")
}

func trainer<B: Backend>(
  _ configuration: TrainingConfiguration, on backend: B, images: ImageSet = resumedImages
) throws -> Trainer<B> {
  try Trainer(configuration, images: images, normalisation: .unit, on: backend)
}

/// Saves into `folder`, and asks the run to stop after `step`.
func keeper(
  _ configuration: TrainingConfiguration, in folder: String, every: CheckpointInterval? = nil,
  stopping isAsked: @escaping () -> Bool = { false }
) -> RunKeeper<RunState> {
  let description = description(of: configuration)
  return RunKeeper(
    store: CheckpointStore(folder: folder), interval: every,
    requestedStop: { isAsked() ? SIGINT : nil },
    contents: { try Checkpoint(description: description, run: $0).contents() })
}

func load(_ folder: String) throws -> Checkpoint {
  try CheckpointStore(folder: folder).load(Checkpoint.init(path:)).checkpoint
}

/// What a run's figures are, but for its times.
func figures(_ history: [EpochMetrics]) -> [[UInt64]] {
  history.map {
    [$0.loss, $0.reconstruction, $0.beta, $0.mse, $0.l0, Double($0.dead ?? -1)].map(\.bitPattern)
  }
}

@Suite struct ResumeTests {
  /// Interrupted in mid-epoch, at an epoch's end, before its last step and more than once: the same
  /// parameters and figures to the bit, through a file and a new trainer each time.
  @Test(arguments: ResumedRun.allCases)
  func interruptedRunsEndWithTheSameBits(kind: ResumedRun) throws {
    let configuration = kind.configuration
    let whole = try trainer(configuration, on: ReferenceBackend())
    try whole.run { _ in }
    #expect(whole.history.count == 4)
    for stops in [[13], [20], [9, 19, 29], [1, 2, 17, 38]] {
      let folder = try TemporaryFolder()
      var last = try trainer(configuration, on: ReferenceBackend())
      for stop in stops {
        let current = last
        #expect(throws: RunInterrupted.self) {
          try current.run(
            keeper: keeper(configuration, in: folder.path) {
              current.step.optimizer.stepCount == stop
            }
          ) { _ in }
        }
        let checkpoint = try load(folder.path)
        #expect(checkpoint.run.training.stepCount == stop)
        #expect(checkpoint.run.epochsDone == stop / resumedStepsPerEpoch)
        last = try trainer(configuration, on: ReferenceBackend())
        try last.restore(checkpoint.run)
      }
      try last.run { _ in }
      #expect(
        last.lastGoodParameters.map(\.bitPattern) == whole.lastGoodParameters.map(\.bitPattern),
        "\(kind), stopped after \(stops)")
      #expect(figures(last.history) == figures(whole.history), "\(kind), stopped after \(stops)")
    }
  }

  /// Saving takes nothing from a run and adds nothing, and each of the checkpoints is good.
  @Test(arguments: [CheckpointInterval.steps(3), .epochs(1), .seconds(1e-9)])
  func savingChangesNothing(interval: CheckpointInterval) throws {
    let configuration = ResumedRun.jumpReLU.configuration
    let whole = try trainer(configuration, on: ReferenceBackend())
    try whole.run { _ in }
    let folder = try TemporaryFolder()
    let saved = try trainer(configuration, on: ReferenceBackend())
    try saved.run(keeper: keeper(configuration, in: folder.path, every: interval)) { _ in }
    #expect(saved.lastGoodParameters == whole.lastGoodParameters)
    let store = CheckpointStore(folder: folder.path)
    let (newest, old) = (
      try Checkpoint(path: store.current), try Checkpoint(path: store.previous)
    )
    // The end is always saved.
    #expect(newest.run.epochsDone == 4 && newest.run.stepsIntoEpoch == 0)
    let before = [CheckpointInterval.steps(3): 39, .epochs(1): 30][interval] ?? 39
    #expect(old.run.training.stepCount == before)
  }

  /// A run at a constant rate is the start of a longer one.
  @Test func aRunMayBeExtendedWhereNothingDependsOnItsLength() throws {
    var configuration = ResumedRun.momentum.configuration
    configuration.epochs = 6
    #expect(!configuration.dependsOnLength)
    let whole = try trainer(configuration, on: ReferenceBackend())
    try whole.run { _ in }
    let folder = try TemporaryFolder()
    configuration.epochs = 4
    let first = try trainer(configuration, on: ReferenceBackend())
    try first.run(keeper: keeper(configuration, in: folder.path, every: .epochs(1))) { _ in }
    configuration.epochs = 6
    let second = try trainer(configuration, on: ReferenceBackend())
    try second.restore(try load(folder.path).run)
    try second.run { _ in }
    #expect(second.lastGoodParameters == whole.lastGoodParameters)
    for kind in ResumedRun.allCases where ![.relu, .momentum].contains(kind) {
      #expect(kind.configuration.dependsOnLength, "\(kind)")
    }
  }

  @Test func aStateOfAnotherRunIsRefused() throws {
    let folder = try TemporaryFolder()
    let configuration = ResumedRun.topK.configuration
    let first = try trainer(configuration, on: ReferenceBackend())
    try first.run(keeper: keeper(configuration, in: folder.path, every: .epochs(1))) { _ in }
    let state = try load(folder.path).run
    func expectRefusal(_ state: RunState, _ configuration: TrainingConfiguration) throws {
      let other = try trainer(configuration, on: ReferenceBackend())
      #expect(throws: TrainingError.self) { try other.restore(state) }
    }
    var fewer = configuration
    fewer.epochs = 3
    try expectRefusal(state, fewer)
    try expectRefusal(state, ResumedRun.momentum.configuration)
    var other = state
    other.stepsIntoEpoch = 1
    try expectRefusal(other, configuration)
    other.stepsIntoEpoch = .max
    try expectRefusal(other, configuration)
    other = state
    other.training.tensors.removeAll { $0.name == "frequency" }
    try expectRefusal(other, configuration)
    other = state
    other.training.counts = []
    try expectRefusal(other, configuration)
  }

  /// A run that has gone astray does not overwrite the checkpoint of when it had not.
  @Test func whatIsNotFiniteIsNotSaved() throws {
    let folder = try TemporaryFolder()
    var configuration = ResumedRun.momentum.configuration
    configuration.optimizer.gradientLimit = nil
    configuration.learningRate = 1e20
    let run = try trainer(configuration, on: ReferenceBackend())
    #expect(throws: TrainingError.self) {
      try run.run(keeper: keeper(configuration, in: folder.path, every: .steps(1))) { _ in }
    }
    if !CheckpointStore(folder: folder.path).isEmpty {
      #expect(try load(folder.path).run.training.isFinite)
    }
    #expect(run.lastGoodEpoch == 0)
  }
}

/// What ends a run in a test.
private struct Ended: Error {}

@Suite struct FailureBetweenStepsTests {
  /// After the last step of an epoch, before its figures are in the history, there is no state to go on
  /// from, whether or not the batch divides the images; after any other there is.
  @Test(arguments: [32, 29])
  func anEpochsLastStepLeavesNoState(batch: Int) throws {
    var configuration = ResumedRun.relu.configuration
    configuration.batchSize = batch
    let whole = try trainer(configuration, on: ReferenceBackend())
    try whole.run { _ in }
    for (step, isLeft) in [(9, true), (10, false), (11, true), (20, false)] {
      let failing = try trainer(configuration, on: ReferenceBackend())
      failing.verificationInterval = 1
      failing.verify = { if $0.step == step { throw Ended() } }
      #expect(throws: Ended.self) { try failing.run { _ in } }
      let state = failing.stateAfterFailure()
      #expect((state != nil) == isLeft, "step \(step)")
      #expect((try failing.state() != nil) == isLeft, "step \(step)")
      guard let state else { continue }
      let folder = try TemporaryFolder()
      let keeper = keeper(configuration, in: folder.path)
      try keeper.save(state)
      try keeper.finish()
      let again = try trainer(configuration, on: ReferenceBackend())
      try again.restore(try load(folder.path).run)
      try again.run { _ in }
      #expect(again.lastGoodParameters == whole.lastGoodParameters, "step \(step)")
    }
  }
}

@Suite(.usesDevice) struct DeviceFailureTests {
  /// Any call of a run may fail: from the state after the failure, or else the last checkpoint, or
  /// the start, it ends with the bits of a run that nothing befell.
  @Test(arguments: [ResumedRun.jumpReLU, .sparse])
  func aRunSurvivesTheFailureOfAnyCall(kind: ResumedRun) throws {
    guard let device = try TestDevice.find() else { return }
    let configuration = kind.configuration
    func fresh() throws -> OpenCLBackend {
      try OpenCLBackend(device: device, tuning: .rule)
    }
    let whole = try trainer(configuration, on: fresh())
    let (_, calls) = try FaultInjection.countCalls { try whole.run { _ in } }
    #expect(calls > 400)
    var saved = 0
    for call in stride(from: 1, through: calls, by: calls / 23) {
      let folder = try TemporaryFolder()
      let keeper = keeper(configuration, in: folder.path, every: .steps(7))
      let backend = try fresh()
      let failing = try trainer(configuration, on: backend)
      FaultInjection.arm(failing: call)
      defer { FaultInjection.disarm() }
      // Saving makes calls of its own: the last failures come before the run's end.
      let error = #expect(throws: OpenCLError.self) { try failing.run(keeper: keeper) { _ in } }
      #expect(error?.symbol == "CL_OUT_OF_RESOURCES")
      FaultInjection.disarm()
      try keeper.finish()
      let state = failing.stateAfterFailure()
      if state != nil { saved += 1 }
      let again = try trainer(configuration, on: backend)
      let store = CheckpointStore(folder: folder.path)
      if let state {
        try again.restore(state)
      } else if !store.isEmpty {
        try again.restore(try load(folder.path).run)
      }
      try again.run { _ in }
      #expect(again.lastGoodParameters == whole.lastGoodParameters, "call \(call) of \(calls)")
      #expect(figures(again.history) == figures(whole.history), "call \(call) of \(calls)")
    }
    #expect(saved > 0)
  }

  /// A command that was aborted on the device may have ended midway: what it has left is not saved,
  /// also where nothing fails afterwards.
  @Test func noStateIsLeftByACommandThatWasAborted() throws {
    guard let device = try TestDevice.find() else { return }
    var configuration = ResumedRun.jumpReLU.configuration
    // So many steps that the host waits for figures in mid-epoch.
    configuration.batchSize = 4
    let backend = try OpenCLBackend(device: device, tuning: .rule)
    var count = 0
    for event in 1... {
      let failing = try trainer(configuration, on: backend)
      FaultInjection.arm(failingEvent: event)
      defer { FaultInjection.disarm() }
      do {
        try failing.run { _ in }
        break
      } catch let error as OpenCLError {
        #expect(error.detail?.contains("aborted on the device") == true)
      }
      let isSaved = failing.stateAfterFailure() != nil
      #expect(!isSaved, "event \(event)")
      count += 1
    }
    #expect(count >= 4)
    // What befell those before is none of another's: a call that is refused leaves a state.
    var states = 0
    for call in 1...5 {
      let refused = try trainer(configuration, on: backend)
      FaultInjection.arm(failing: call)
      defer { FaultInjection.disarm() }
      #expect(throws: OpenCLError.self) { try refused.run { _ in } }
      FaultInjection.disarm()
      if refused.stateAfterFailure() != nil { states += 1 }
    }
    #expect(states > 0)
  }

  /// What is reckoned is what is allocated, but for what single operations take.
  @Test(arguments: ResumedRun.allCases)
  func theMemoryOfARunIsKnown(kind: ResumedRun) throws {
    guard let device = try TestDevice.find() else { return }
    func allocated(_ batch: Int) throws -> (real: Int, reckoned: Int) {
      var configuration = kind.configuration
      configuration.batchSize = batch
      let backend = try OpenCLBackend(device: device)
      let before = backend.allocatedByteCount
      let trainer = try trainer(configuration, on: backend)
      let real = Int(backend.allocatedByteCount - before)
      let reckoned = TrainingMemory(configuration, images: resumedImages.count)
      withExtendedLifetime(trainer) {}
      return (real, reckoned.total(batch: batch))
    }
    let (small, large) = (try allocated(32), try allocated(160))
    #expect(large.real - small.real == large.reckoned - small.reckoned)
    #expect(abs(small.real - small.reckoned) < 2048, "\(small)")
  }

  @Test func theLargestBatchIsTheLargest() {
    let memory = TrainingMemory(ResumedRun.topK.configuration, images: 290)
    let room = memory.fixed + 1000 * memory.ofSample
    #expect(memory.largestBatch(memory: room, largestBuffer: 1 << 30) == 1000)
    #expect(memory.largestBatch(memory: room - 1, largestBuffer: 1 << 30) == 999)
    #expect(memory.largestBatch(memory: memory.fixed, largestBuffer: 1 << 30) == 0)
    let buffer = max(memory.largestFixed, 150 * memory.largestOfSample)
    #expect(
      memory.largestBatch(memory: room, largestBuffer: buffer)
        == min(1000, buffer / memory.largestOfSample))
  }
}
