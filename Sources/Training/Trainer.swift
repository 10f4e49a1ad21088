import Compute
import Datasets
import Foundation
import Networks
import RandomNumbers

/// Trains over epochs: shuffles, steps, collects the figures, and keeps the last good parameters.
package final class Trainer<B: Backend> {
  package let step: TrainingStep<B>
  private let images: ResidentImages<B>
  private let configuration: TrainingConfiguration
  private let backend: B
  private let order: B.Indices
  /// One figure for each image of the epoch, in the epoch's order; read once at its end.
  private let rowError: B.Floats
  private let rowL0: B.Floats

  /// The parameters after the last epoch whose every loss was finite; the initial ones before.
  package private(set) var lastGoodParameters: [Float]
  package private(set) var lastGoodEpoch = 0
  package private(set) var history: [EpochMetrics] = []
  /// Steps done of the epoch in progress.
  package private(set) var stepsIntoEpoch = 0
  /// Seconds of the run before this trainer went on with it.
  private var earlierSeconds = 0.0
  /// Seconds of the epoch in progress before.
  private var earlierSecondsOfEpoch = 0.0
  private var start = ContinuousClock.now
  /// How many images the run had seen then.
  private var firstImage = 0
  private var epochStart = ContinuousClock.now
  /// Whether the device's memory is that between two steps, which can be continued from.
  private var isBetweenSteps = true
  /// The backend's `executionFailureCount` before this trainer wrote anything.
  private let earlierFailures: Int

  /// How many steps there are from one that `verify` is called with to the next; none when nil.
  package var verificationInterval: Int?
  /// Called with steps as they were done.
  package var verify: (StepRecord) throws -> Void = { _ in }

  /// How many steps the host runs ahead of the device, at most, in units of `stride` steps.
  private static var depth: Int { 3 }
  private static var stride: Int { 8 }

  package init(
    _ configuration: TrainingConfiguration, images: ImageSet, normalisation: Normalisation,
    on backend: B
  ) throws {
    guard configuration.batchSize <= images.count else {
      throw TrainingError.batchLargerThanSet(
        batch: configuration.batchSize, count: images.count)
    }
    guard images.featureCount == configuration.network.inputs else {
      throw TrainingError.unsuitableData(
        "images of \(images.featureCount) values for a network of "
          + "\(configuration.network.inputs) inputs")
    }
    self.configuration = configuration
    self.backend = backend
    earlierFailures = backend.executionFailureCount
    step = try TrainingStep(
      configuration,
      stepsPerEpoch: configuration.stepsPerEpoch(images: images.count),
      data: images.statistics(for: configuration, normalisation: normalisation), on: backend)
    self.images = try ResidentImages(
      images, normalisation: normalisation, mean: step.network.inputMean, on: backend)
    order = try backend.allocate([images.count], of: UInt32.self)
    rowError = try backend.allocate([images.count], of: Float.self)
    rowL0 = try backend.allocate([images.count], of: Float.self)
    lastGoodParameters = try backend.download(step.network.arena.values)
  }

  private var stepsPerEpoch: Int { configuration.stepsPerEpoch(images: images.count) }

  /// Trains all epochs, or those that are left after `restore`.
  ///
  /// - Parameter keeper: saves the run; it is not saved when nil.
  /// - Throws: `TrainingError.diverged` at the first step whose loss is not finite; the last good
  ///   parameters are then in `lastGoodParameters`. `RunInterrupted` where the run was asked to stop.
  package func run(
    keeper: RunKeeper<RunState>? = nil, _ report: (TrainingEvent) throws -> Void
  ) throws {
    start = .now
    firstImage = lastGoodEpoch * images.count + stepsIntoEpoch * configuration.batchSize
    while lastGoodEpoch < configuration.epochs {
      let epoch = lastGoodEpoch + 1
      let metrics = try runEpoch(epoch, keeper, report)
      guard let parameters = try step.finiteParameters() else {
        throw TrainingError.diverged(epoch: epoch, step: stepsPerEpoch, keptEpoch: lastGoodEpoch)
      }
      history.append(metrics)
      lastGoodParameters = parameters
      lastGoodEpoch = epoch
      (stepsIntoEpoch, isBetweenSteps) = (0, true)
      try report(.epoch(metrics))
      try keep(keeper)
    }
    try warnOfMissedTarget(report)
    // What is evaluated next is what is kept.
    try backend.upload(lastGoodParameters, into: step.network.arena.values)
  }

  private func keep(_ keeper: RunKeeper<RunState>?) throws {
    let isEpochsEnd = stepsIntoEpoch == 0
    try keeper?.keep(
      RunMoment(
        step: step.optimizer.stepCount, epoch: isEpochsEnd ? lastGoodEpoch : nil,
        isEnd: lastGoodEpoch == configuration.epochs), state: state)
  }

  private func warnOfMissedTarget(_ report: (TrainingEvent) throws -> Void) throws {
    guard let target = configuration.targetL0?.value, let last = history.last else { return }
    let (weight, isSaturated) = try step.penaltyWeight()
    guard isSaturated else { return }
    try report(
      .warning(
        "the control of beta came to its bound, \(Float(weight)), at an L0 of \(Float(last.l0)): "
          + "the target of \(Float(target)) was not met"))
  }

  private func runEpoch(
    _ epoch: Int, _ keeper: RunKeeper<RunState>?, _ report: (TrainingEvent) throws -> Void
  ) throws -> EpochMetrics {
    epochStart = .now
    let indices = SplitMix64.epochOrder(epoch, seed: configuration.seed, count: images.count)
    try images.upload(indices, into: order, on: backend)
    if stepsIntoEpoch == 0 {
      earlierSecondsOfEpoch = 0
      try step.measureBandwidth(images: images, order: order, rows: rows(ofStep: 0))
    }
    let steps = stepsPerEpoch
    var pending: [(step: Int, download: any PendingDownload, rows: Int)] = []
    var latestLoss: Double?
    for index in stepsIntoEpoch..<steps {
      let rows = rows(ofStep: index)
      try runStep(rows, indices)
      if index + 1 < steps { try keep(keeper) }
      guard (index + 1) % Self.stride == 0 else { continue }

      // A small download now and then bounds the queue and carries the loss for the display.
      pending.append((index, try backend.beginDownload(rowError.rows(rows)), rows.count))
      guard pending.count > Self.depth else { continue }
      let oldest = pending.removeFirst()
      let errors = try oldest.download.wait()
      let loss = errors.reduce(0.0) { $0 + Double($1) } * configuration.alpha / Double(oldest.rows)
      guard loss.isFinite else { throw try divergence(epoch: epoch, before: index + 1) }
      latestLoss = loss
      let done = Double((epoch - 1) * images.count + (oldest.step + 1) * configuration.batchSize)
      let speed = (done - Double(firstImage)) / start.secondsSince()
      let total = Double(configuration.epochs) * Double(images.count)
      try report(
        .progress(
          TrainingProgress(
            epoch: epoch, epochs: configuration.epochs, step: oldest.step + 1, steps: steps,
            loss: latestLoss, samplesPerSecond: speed, remaining: max(0, total - done) / speed)))
    }
    return try metrics(epoch: epoch, steps: steps)
  }

  private func runStep(_ rows: Range<Int>, _ indices: [UInt32]) throws {
    let record = try step.record(
      every: verificationInterval, epoch: lastGoodEpoch + 1, stepInEpoch: stepsIntoEpoch + 1,
      images: indices[rows], rowError: rowError.rows(rows), rowL0: rowL0.rows(rows)
    ) { try runStep(rows) }
    if let record { try verify(record) }
  }

  private func runStep(_ rows: Range<Int>) throws {
    isBetweenSteps = false
    try step.run(
      images: images, order: order, rows: rows, rowError: rowError.rows(rows),
      rowL0: rowL0.rows(rows))
    stepsIntoEpoch += 1
    isBetweenSteps = true
  }

  private func rows(ofStep index: Int) -> Range<Int> {
    let first = index * configuration.batchSize
    return first..<min(first + configuration.batchSize, images.count)
  }

  private func metrics(epoch: Int, steps: Int) throws -> EpochMetrics {
    isBetweenSteps = false
    let errors = try backend.download(rowError)
    let counts = try backend.download(rowL0)
    let seconds = earlierSecondsOfEpoch + epochStart.secondsSince()
    let squaredError = errors.reduce(0.0) { $0 + Double($1) }
    guard squaredError.isFinite else { throw try divergence(epoch: epoch, before: steps) }
    return try step.metrics(
      epoch: epoch, squaredError: squaredError,
      active: counts.reduce(0.0) { $0 + Double($1) }, images: images.count, seconds: seconds)
  }

  /// The error that names the first step of the epoch whose loss is not finite.
  private func divergence(epoch: Int, before end: Int) throws -> TrainingError {
    let errors = try backend.download(rowError)
    let step = (0..<end).first { index in
      errors[rows(ofStep: index)].contains { !$0.isFinite }
    }
    return .diverged(epoch: epoch, step: (step ?? end - 1) + 1, keptEpoch: lastGoodEpoch)
  }
}

// MARK: State

extension Trainer {
  /// All of the run between two steps; nil where it is no longer finite and not worth keeping, and
  /// after the last step of an epoch whose figures are not in the history yet.
  package func state() throws -> RunState? {
    guard stepsIntoEpoch < stepsPerEpoch else { return nil }
    let training = try step.state()
    let rows = 0..<rows(ofStep: stepsIntoEpoch).lowerBound
    let errors = rows.isEmpty ? [] : try backend.download(rowError.rows(rows))
    guard training.isFinite, errors.allSatisfy(\.isFinite) else { return nil }
    return RunState(
      epochsDone: lastGoodEpoch, stepsIntoEpoch: stepsIntoEpoch, training: training,
      kept: stepsIntoEpoch == 0 ? nil : lastGoodParameters, rowError: errors,
      rowL0: rows.isEmpty ? [] : try backend.download(rowL0.rows(rows)), history: history,
      seconds: earlierSeconds + start.secondsSince(),
      secondsIntoEpoch: stepsIntoEpoch == 0
        ? 0 : earlierSecondsOfEpoch + epochStart.secondsSince())
  }

  /// The state after the device has failed, where that is known to have left one: a call was refused
  /// between two steps, and all commands before it have ended well. After a command that may have
  /// ended midway there is none, since nothing tells what it has written.
  package func stateAfterFailure() -> RunState? {
    guard isBetweenSteps, (try? backend.finish()) != nil, let state = try? state(),
      backend.executionFailureCount == earlierFailures
    else { return nil }
    return state
  }

  /// Goes on from `run`, the state of a run with the same configuration and images.
  ///
  /// - Throws: `TrainingError.unsuitableData` where it is of another run.
  package func restore(_ run: RunState) throws {
    let rows = run.rowError.count
    guard run.isOf(configuration, images: images.count),
      run.kept.map({ $0.count == lastGoodParameters.count }) ?? (run.stepsIntoEpoch == 0)
    else { throw TrainingError.unsuitableData("the checkpoint is not of this run") }
    try step.restore(run.training)
    if rows > 0 {
      try backend.upload(run.rowError, into: rowError.rows(0..<rows))
      try backend.upload(run.rowL0, into: rowL0.rows(0..<rows))
    }
    lastGoodParameters = try run.kept ?? step.parameters()
    lastGoodEpoch = run.epochsDone
    stepsIntoEpoch = run.stepsIntoEpoch
    history = run.history
    (earlierSeconds, earlierSecondsOfEpoch) = (run.seconds, run.secondsIntoEpoch)
  }
}

extension ContinuousClock.Instant {
  /// Seconds from here to now.
  package func secondsSince() -> Double { (ContinuousClock.now - self) / .seconds(1) }
}
