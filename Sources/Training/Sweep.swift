import Compute
import Datasets
import Foundation
import Imaging
import Networks
import RandomNumbers

/// Trains several models in one pass: every batch is formed once and serves all of them.
///
/// Each model comes out with the bits that it would have if it were trained alone.
package final class Sweep<B: Backend> {
  package let configurations: [TrainingConfiguration]
  private let backend: B
  private let images: ResidentImages<B>
  private var members: [Member]
  private let order: B.Indices
  /// Epochs that are done.
  package private(set) var epochsDone = 0
  /// Steps done of the epoch in progress.
  package private(set) var stepsIntoEpoch = 0
  /// Seconds of the sweep, and of the epoch in progress, before this object went on with it.
  private var (earlierSeconds, earlierSecondsOfEpoch) = (0.0, 0.0)
  private let start = ContinuousClock.now
  private var epochStart = ContinuousClock.now

  /// How many steps there are from one that `verify` is called with to the next; none when nil.
  package var verificationInterval: Int?
  /// Called with steps as they were done, and the place of their model's configuration.
  package var verify: (Int, StepRecord) throws -> Void = { _, _ in }

  private struct Member {
    let step: TrainingStep<B>
    let rowError, rowL0: B.Floats
    var history: [EpochMetrics] = []
  }

  /// The figures of the epochs done, of each model.
  package var histories: [[EpochMetrics]] { members.map(\.history) }

  /// - Precondition: the configurations differ in their codes and what follows from them alone:
  ///   batch, epochs, seed and centring are the same.
  package init(
    _ configurations: [TrainingConfiguration], images: ImageSet, normalisation: Normalisation,
    on backend: B
  ) throws {
    guard let first = configurations.first else { preconditionFailure("a sweep has models") }
    precondition(
      configurations.allSatisfy {
        $0.batchSize == first.batchSize && $0.epochs == first.epochs && $0.seed == first.seed
          && $0.network.centredInput == first.network.centredInput
      }, "the models of a sweep share their batches")
    guard first.batchSize <= images.count else {
      throw TrainingError.batchLargerThanSet(batch: first.batchSize, count: images.count)
    }
    self.configurations = configurations
    self.backend = backend
    let input = try backend.allocate([first.batchSize, images.featureCount], of: Float.self)
    let steps = first.stepsPerEpoch(images: images.count)
    members = try configurations.map { configuration in
      Member(
        step: try TrainingStep(
          configuration, stepsPerEpoch: steps,
          data: images.statistics(for: configuration, normalisation: normalisation), input: input,
          on: backend),
        rowError: try backend.allocate([images.count], of: Float.self),
        rowL0: try backend.allocate([images.count], of: Float.self))
    }
    self.images = try ResidentImages(
      images, normalisation: normalisation, mean: members[0].step.network.inputMean, on: backend)
    order = try backend.allocate([images.count], of: UInt32.self)
  }

  private var stepsPerEpoch: Int { configurations[0].stepsPerEpoch(images: images.count) }

  /// Trains the next epoch of all models, or what is left of it.
  ///
  /// - Parameters:
  ///   - keeper: saves the sweep; it is not saved when nil.
  ///   - progress: receives steps done and steps in all of this epoch.
  ///   - report: receives the figures of each model at the epoch's end, before the sweep is saved.
  /// - Throws: `SweepDivergence` where a loss or a parameter is not finite; `RunInterrupted` where
  ///   the sweep was asked to stop.
  package func runEpoch(
    keeper: RunKeeper<[RunState]>? = nil, progress: (Int, Int) throws -> Void = { _, _ in },
    report: ([EpochMetrics]) throws -> Void = { _ in }
  ) throws {
    epochStart = .now
    let epoch = epochsDone + 1
    let batchSize = configurations[0].batchSize
    let indices = SplitMix64.epochOrder(
      epoch, seed: configurations[0].seed, count: images.count)
    try images.upload(indices, into: order, on: backend)
    func rows(_ index: Int) -> Range<Int> {
      index * batchSize..<min((index + 1) * batchSize, images.count)
    }
    if stepsIntoEpoch == 0 {
      earlierSecondsOfEpoch = 0
      for member in members {
        try member.step.measureBandwidth(images: images, order: order, rows: rows(0))
      }
    }
    for index in stepsIntoEpoch..<stepsPerEpoch {
      let range = rows(index)
      try members[0].step.gather(images: images, order: order, rows: range)
      for place in members.indices { try trainMember(place, range, indices) }
      stepsIntoEpoch += 1
      if stepsIntoEpoch < stepsPerEpoch { try keep(keeper) }
      // Bounds the queue, and lets progress mean what is done.
      if (index + 1).isMultiple(of: 16) {
        try backend.finish()
        try progress(index + 1, stepsPerEpoch)
      }
    }
    let seconds = earlierSecondsOfEpoch + epochStart.secondsSince()
    let figures = try members.indices.map { try metrics(of: $0, epoch: epoch, seconds: seconds) }
    for (index, metrics) in figures.enumerated() { members[index].history.append(metrics) }
    (epochsDone, stepsIntoEpoch) = (epoch, 0)
    try report(figures)
    try keep(keeper)
  }

  /// A step of one model on the batch that was formed.
  private func trainMember(_ place: Int, _ rows: Range<Int>, _ indices: [UInt32]) throws {
    let step = members[place].step
    let (rowError, rowL0) = (members[place].rowError.rows(rows), members[place].rowL0.rows(rows))
    let record = try step.record(
      every: verificationInterval, epoch: epochsDone + 1, stepInEpoch: stepsIntoEpoch + 1,
      images: indices[rows], rowError: rowError, rowL0: rowL0
    ) { try step.train(count: rows.count, rowError: rowError, rowL0: rowL0) }
    if let record { try verify(place, record) }
  }

  private func keep(_ keeper: RunKeeper<[RunState]>?) throws {
    try keeper?.keep(
      RunMoment(
        step: epochsDone * stepsPerEpoch + stepsIntoEpoch,
        epoch: stepsIntoEpoch == 0 ? epochsDone : nil,
        isEnd: epochsDone == configurations[0].epochs), state: states)
  }

  private func metrics(of index: Int, epoch: Int, seconds: Double) throws -> EpochMetrics {
    let member = members[index]
    let errors = try backend.download(member.rowError).reduce(0.0) { $0 + Double($1) }
    let active = try backend.download(member.rowL0).reduce(0.0) { $0 + Double($1) }
    guard errors.isFinite, try member.step.finiteParameters() != nil else {
      throw SweepDivergence(model: index, epoch: epoch)
    }
    return try member.step.metrics(
      epoch: epoch, squaredError: errors, active: active, images: images.count, seconds: seconds)
  }

  /// The state of each model between two steps.
  ///
  /// - Throws: `SweepDivergence` where one is no longer finite and not worth keeping.
  package func states() throws -> [RunState] {
    let rows = 0..<stepsIntoEpoch * configurations[0].batchSize
    let seconds = earlierSeconds + start.secondsSince()
    let secondsIntoEpoch =
      stepsIntoEpoch == 0 ? 0 : earlierSecondsOfEpoch + epochStart.secondsSince()
    return try members.enumerated().map { index, member in
      let training = try member.step.state()
      let errors = rows.isEmpty ? [] : try backend.download(member.rowError.rows(rows))
      guard training.isFinite, errors.allSatisfy(\.isFinite) else {
        throw SweepDivergence(model: index, epoch: epochsDone + (stepsIntoEpoch > 0 ? 1 : 0))
      }
      return RunState(
        epochsDone: epochsDone, stepsIntoEpoch: stepsIntoEpoch, training: training, kept: nil,
        rowError: errors, rowL0: rows.isEmpty ? [] : try backend.download(member.rowL0.rows(rows)),
        history: member.history, seconds: seconds, secondsIntoEpoch: secondsIntoEpoch)
    }
  }

  /// Goes on from `states`, those of a sweep with the same configurations and images.
  ///
  /// - Throws: `TrainingError.unsuitableData` where they are of another sweep.
  package func restore(_ states: [RunState]) throws {
    guard states.count == members.count,
      zip(states, configurations).allSatisfy({ $0.isOf($1, images: images.count) }),
      states.allSatisfy({
        $0.epochsDone == states[0].epochsDone && $0.stepsIntoEpoch == states[0].stepsIntoEpoch
      })
    else { throw TrainingError.unsuitableData("the checkpoint is not of this sweep") }
    let rows = 0..<states[0].rowError.count
    for (index, state) in states.enumerated() {
      try members[index].step.restore(state.training)
      members[index].history = state.history
      guard !rows.isEmpty else { continue }
      try backend.upload(state.rowError, into: members[index].rowError.rows(rows))
      try backend.upload(state.rowL0, into: members[index].rowL0.rows(rows))
    }
    (epochsDone, stepsIntoEpoch) = (states[0].epochsDone, states[0].stepsIntoEpoch)
    (earlierSeconds, earlierSecondsOfEpoch) = (states[0].seconds, states[0].secondsIntoEpoch)
  }

  /// Each model's parameters as they are to be kept.
  ///
  /// - Throws: `SweepDivergence` where one is not finite.
  package func parameters() throws -> [[Float]] { try members.indices.map(parameters(of:)) }

  private func parameters(of index: Int) throws -> [Float] {
    guard let parameters = try members[index].step.finiteParameters() else {
      throw SweepDivergence(model: index, epoch: epochsDone)
    }
    return parameters
  }

  /// The model's figures over a set, with the parameters that are kept.
  package func evaluate(
    _ index: Int, on set: ImageSet, normalisation: Normalisation
  ) throws -> EvaluationReport {
    let configuration = configurations[index]
    let network = try Autoencoder(
      configuration.network, parameters: try members[index].step.parameters(), on: backend)
    return try Evaluator(network, batchSize: min(256, set.count)).evaluate(
      set, normalisation: normalisation)
  }
}

/// The loss or a parameter of one of a sweep's models became NaN or infinite.
package struct SweepDivergence: Error {
  /// The place of its configuration.
  package let model: Int
  package let epoch: Int
}

extension SplitMix64 {
  /// The order in which an epoch, counted from 1, goes through `count` images: a stream for each, so
  /// that it does not depend on the epochs before.
  static func epochOrder(_ epoch: Int, seed: UInt64, count: Int) -> [UInt32] {
    var generator = SplitMix64(seed: seed, stream: 1 << 32 + UInt64(epoch))
    return generator.shuffledIndices(count: count)
  }
}
