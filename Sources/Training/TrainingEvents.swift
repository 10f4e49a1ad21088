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
