import Compute
import Networks

/// One step of training, in order: gather, forward, loss, backward, gradients, update.
///
/// Nothing here waits for the device or moves a pixel from the host.
package final class TrainingStep<B: Backend> {
  package let backend: B
  package let configuration: TrainingConfiguration
  package let network: Autoencoder<B>
  package let optimizer: AdamOptimizer<B>
  private let workspace: Workspace<B>

  package init(_ configuration: TrainingConfiguration, on backend: B) throws {
    self.backend = backend
    self.configuration = configuration
    network = try Autoencoder(
      configuration.network,
      parameters: configuration.network.initialParameters(seed: configuration.seed), on: backend)
    optimizer = try AdamOptimizer(network.arena, on: backend)
    workspace = try Workspace(
      configuration.network, batch: configuration.batchSize, on: backend)
  }

  /// Trains on the images `order[rows]`.
  ///
  /// - Parameters:
  ///   - rowError: receives ||x - xhat||^2 of each row, `[rows]`.
  ///   - rowL0: receives ||z||_0 of each row, `[rows]`.
  package func run(
    images: ResidentImages<B>, order: B.Indices, rows: Range<Int>, rowError: B.Floats,
    rowL0: B.Floats
  ) throws {
    let batch = workspace.prefix(rows.count)
    try images.gather(order: order, start: rows.lowerBound, into: batch.input, on: backend)
    try network.differentiate(
      batch, scale: Float(2 * configuration.alpha / Double(rows.count)), rowError: rowError,
      rowL0: rowL0)
    try optimizer.step(
      network.arena, learningRate: configuration.learningRate, on: backend)
  }
}
