/// What keeps the latents of a code evenly in use.
///
/// The rules of `Backend` hold.
package protocol BalanceOperations: BackendMemory {
  /// Takes in how often each latent fired in a batch, and raises the biases of those that hardly do:
  ///
  ///     totals_j    += counts_j
  ///     frequency_j  = decay frequency_j + (1 - decay) counts_j / batch
  ///     bias_j      += increment where frequency_j, as it is now, is below threshold
  ///     counts_j     = 0
  ///
  /// Shapes: all `[L]`, all updated in place.
  func balanceLatents(
    counts: Indices, totals: Indices, frequency: Floats, bias: Floats, settings: LatentBalanceStep)
    throws
}

/// The constants of `balanceLatents` in one step.
package struct LatentBalanceStep: Hashable, Sendable {
  package var batch: Int
  package var decay: Float
  package var threshold: Float
  package var increment: Float

  package init(batch: Int, decay: Float, threshold: Float, increment: Float) {
    self.batch = batch
    self.decay = decay
    self.threshold = threshold
    self.increment = increment
  }
}

extension LatentBalanceStep {
  /// What a count is multiplied by: (1 - decay) / batch.
  package var gain: Float { Float((1 - Double(decay)) / Double(max(1, batch))) }
}
