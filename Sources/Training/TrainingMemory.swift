import Compute
import Networks

/// The device memory that a training run takes, in bytes; what single operations take beside it, a
/// few packed panels of a product, is not counted.
package struct TrainingMemory: Sendable {
  /// Whatever the batch: images, parameters, gradients, moments.
  package let fixed: Int
  package let ofSample: Int
  /// The largest tensor that does not depend on the batch, and of one that does what each sample
  /// takes.
  package let largestFixed, largestOfSample: Int

  /// - Parameter images: in the training set.
  package init(_ configuration: TrainingConfiguration, images: Int) {
    let network = configuration.network
    let arena = 4 * network.parameterLayout.count
    let workspace = network.workspaceMemory(
      arithmetic: configuration.chosenArithmetic, largestCount: configuration.annealing?.start)
    let pixels = images * network.inputs
    fixed =
      configuration.optimizer.arenaCount * arena + pixels + 12 * images + 12 * network.latents
      + workspace.fixed
    ofSample = workspace.ofSample
    largestFixed = max(arena, pixels)
    largestOfSample = workspace.largestOfSample
  }

  /// Of a sweep, whose models share the images and the batch.
  ///
  /// - Precondition: there is a model.
  package init(sweep configurations: [TrainingConfiguration], images: Int) {
    let parts = configurations.map { TrainingMemory($0, images: images) }
    let shared = (parts.count - 1) * configurations[0].network.inputs
    self.init(
      fixed: parts.map(\.fixed).reduce(0, +) - shared * images - 4 * (parts.count - 1) * images,
      ofSample: parts.map(\.ofSample).reduce(0, +) - 4 * shared,
      largestFixed: parts.map(\.largestFixed).max() ?? 0,
      largestOfSample: parts.map(\.largestOfSample).max() ?? 0)
  }

  package init(fixed: Int, ofSample: Int, largestFixed: Int, largestOfSample: Int) {
    (self.fixed, self.ofSample) = (fixed, ofSample)
    (self.largestFixed, self.largestOfSample) = (largestFixed, largestOfSample)
  }

  package func total(batch: Int) -> Int { fixed + batch * ofSample }

  /// The largest batch that a device with so much memory has room for, 0 where not even one sample
  /// fits.
  package func largestBatch(memory: Int, largestBuffer: Int) -> Int {
    guard largestFixed <= largestBuffer, fixed < memory else { return 0 }
    return min((memory - fixed) / ofSample, largestBuffer / largestOfSample)
  }
}

extension OptimizerConfiguration {
  /// How many arrays as large as the parameters there are: they themselves, their gradients, and what
  /// the optimizer keeps.
  package var arenaCount: Int {
    let moments =
      switch method {
      case .adam: 2
      case .sgd: 1
      }
    return 2 + moments + (averageDecay == nil ? 0 : 1)
  }
}
