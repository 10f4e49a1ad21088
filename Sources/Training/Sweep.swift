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
  private let members: [Member]
  private let order: B.Indices
  /// Epochs that are done.
  package private(set) var epochsDone = 0

  private struct Member {
    let step: TrainingStep<B>
    let rowError, rowL0: B.Floats
  }

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
    let steps = (images.count + first.batchSize - 1) / first.batchSize
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

  private var stepsPerEpoch: Int {
    (images.count + configurations[0].batchSize - 1) / configurations[0].batchSize
  }

  /// Trains the next epoch of all models.
  ///
  /// - Parameter progress: receives steps done and steps in all of this epoch.
  /// - Returns: the figures of each model.
  /// - Throws: `SweepDivergence` where a loss or a parameter is not finite.
  package func runEpoch(_ progress: (Int, Int) throws -> Void) throws -> [EpochMetrics] {
    let start = ContinuousClock.now
    let epoch = epochsDone + 1
    let batchSize = configurations[0].batchSize
    try backend.upload(
      SplitMix64.epochOrder(epoch, seed: configurations[0].seed, count: images.count), into: order)
    func rows(_ index: Int) -> Range<Int> {
      index * batchSize..<min((index + 1) * batchSize, images.count)
    }
    for member in members {
      try member.step.measureBandwidth(images: images, order: order, rows: rows(0))
    }
    for index in 0..<stepsPerEpoch {
      let range = rows(index)
      try members[0].step.gather(images: images, order: order, rows: range)
      for member in members {
        try member.step.train(
          count: range.count, rowError: member.rowError.rows(range),
          rowL0: member.rowL0.rows(range))
      }
      // Bounds the queue, and lets progress mean what is done.
      if (index + 1).isMultiple(of: 16) {
        try backend.finish()
        try progress(index + 1, stepsPerEpoch)
      }
    }
    epochsDone = epoch
    let seconds = start.secondsSince()
    return try members.indices.map { try metrics(of: $0, epoch: epoch, seconds: seconds) }
  }

  private func metrics(of index: Int, epoch: Int, seconds: Double) throws -> EpochMetrics {
    let member = members[index]
    let errors = try backend.download(member.rowError).reduce(0.0) { $0 + Double($1) }
    let active = try backend.download(member.rowL0).reduce(0.0) { $0 + Double($1) }
    guard errors.isFinite else { throw SweepDivergence(model: index, epoch: epoch) }
    _ = try parameters(of: index)
    return try member.step.metrics(
      epoch: epoch, squaredError: errors, active: active, images: images.count, seconds: seconds)
  }

  /// The state of each model after the epochs done.
  package func states() throws -> [TrainingState] { try members.map { try $0.step.state() } }

  /// Goes on after `epochsDone` epochs from the states they ended with.
  package func restore(_ states: [TrainingState], epochsDone: Int) throws {
    guard states.count == members.count else {
      throw TrainingError.unsuitableData("\(states.count) states for \(members.count) models")
    }
    for (member, state) in zip(members, states) { try member.step.restore(state) }
    self.epochsDone = epochsDone
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
