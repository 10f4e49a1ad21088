import Compute
import Datasets
import Foundation
import Networks
import RandomNumbers

/// The figures of one epoch of training, as the parameters moved through it.
package struct EpochMetrics: Codable, Sendable {
  /// Counted from 1.
  package let epoch: Int
  /// alpha * mean ||x - xhat||^2 + beta * mean ||z||_0
  package let loss: Double
  /// alpha * mean ||x - xhat||^2
  package let reconstruction: Double
  /// The weight of ||z||_0 at the epoch's end.
  package let beta: Double
  /// Mean over images and pixels of (x - xhat)^2.
  package let mse: Double
  /// Mean number of non-zero code entries.
  package let l0: Double
  /// Latents that did not fire in the whole epoch; nil where they are not watched.
  package let dead: Int?
  package let seconds: Double
  package let samplesPerSecond: Double

  package init(
    epoch: Int, loss: Double, reconstruction: Double, beta: Double, mse: Double, l0: Double,
    dead: Int?, seconds: Double, samplesPerSecond: Double
  ) {
    self.epoch = epoch
    self.loss = loss
    self.reconstruction = reconstruction
    self.beta = beta
    self.dead = dead
    self.mse = mse
    self.l0 = l0
    self.seconds = seconds
    self.samplesPerSecond = samplesPerSecond
  }
}

/// Where a run stands.
package struct TrainingProgress: Sendable {
  package let epoch: Int
  package let epochs: Int
  package let step: Int
  package let steps: Int
  /// alpha * mean ||x - xhat||^2 of the last step whose figures have arrived, nil before the first.
  package let loss: Double?
  package let samplesPerSecond: Double
  /// Seconds left, from the speed so far.
  package let remaining: Double
}

package enum TrainingEvent: Sendable {
  case progress(TrainingProgress)
  case epoch(EpochMetrics)
  /// Something that the user should know and that does not stop the run, as one line.
  case warning(String)
}

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
    step = try TrainingStep(
      configuration,
      stepsPerEpoch: (images.count + configuration.batchSize - 1) / configuration.batchSize,
      data: images.statistics(for: configuration, normalisation: normalisation), on: backend)
    self.images = try ResidentImages(
      images, normalisation: normalisation, mean: step.network.inputMean, on: backend)
    order = try backend.allocate([images.count], of: UInt32.self)
    rowError = try backend.allocate([images.count], of: Float.self)
    rowL0 = try backend.allocate([images.count], of: Float.self)
    lastGoodParameters = try backend.download(step.network.arena.values)
  }

  private var stepsPerEpoch: Int {
    (images.count + configuration.batchSize - 1) / configuration.batchSize
  }

  /// Trains all epochs.
  ///
  /// - Throws: `TrainingError.diverged` at the first step whose loss is not finite; the last good
  ///   parameters are then in `lastGoodParameters`.
  package func run(_ report: (TrainingEvent) throws -> Void) throws {
    let start = ContinuousClock.now
    for epoch in 1...max(1, configuration.epochs) where epoch <= configuration.epochs {
      let metrics = try runEpoch(epoch, since: start, report)
      // The last step's loss is from before its update, which may have overflowed.
      let parameters = try step.parameters()
      guard parameters.allSatisfy(\.isFinite) else {
        throw TrainingError.diverged(epoch: epoch, step: stepsPerEpoch, keptEpoch: lastGoodEpoch)
      }
      history.append(metrics)
      lastGoodParameters = parameters
      lastGoodEpoch = epoch
      try report(.epoch(metrics))
    }
    try warnOfMissedTarget(report)
    // What is evaluated next is what is kept.
    try backend.upload(lastGoodParameters, into: step.network.arena.values)
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
    _ epoch: Int, since start: ContinuousClock.Instant, _ report: (TrainingEvent) throws -> Void
  ) throws -> EpochMetrics {
    let epochStart = ContinuousClock.now
    try backend.upload(
      SplitMix64.epochOrder(epoch, seed: configuration.seed, count: images.count), into: order)

    try step.measureBandwidth(images: images, order: order, rows: rows(ofStep: 0))
    let steps = stepsPerEpoch
    var pending: [(step: Int, download: any PendingDownload, rows: Int)] = []
    var latestLoss: Double?
    for index in 0..<steps {
      let rows = rows(ofStep: index)
      try step.run(
        images: images, order: order, rows: rows, rowError: rowError.rows(rows),
        rowL0: rowL0.rows(rows))
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
      let elapsed = start.secondsSince()
      let total = Double(configuration.epochs) * Double(images.count)
      try report(
        .progress(
          TrainingProgress(
            epoch: epoch, epochs: configuration.epochs, step: oldest.step + 1, steps: steps,
            loss: latestLoss, samplesPerSecond: done / elapsed,
            remaining: max(0, total - done) / (done / elapsed))))
    }
    return try metrics(epoch: epoch, steps: steps, since: epochStart)
  }

  private func rows(ofStep index: Int) -> Range<Int> {
    let first = index * configuration.batchSize
    return first..<min(first + configuration.batchSize, images.count)
  }

  private func metrics(
    epoch: Int, steps: Int, since start: ContinuousClock.Instant
  ) throws -> EpochMetrics {
    let errors = try backend.download(rowError)
    let counts = try backend.download(rowL0)
    let seconds = start.secondsSince()
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

extension ContinuousClock.Instant {
  /// Seconds from here to now.
  package func secondsSince() -> Double { (ContinuousClock.now - self) / .seconds(1) }
}
