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
    let moments =
      switch configuration.optimizer.method {
      case .adam: 2
      case .sgd: 1
      }
    let copies = 2 + moments + (configuration.optimizer.averageDecay == nil ? 0 : 1)
    let workspace = network.workspaceMemory(
      arithmetic: configuration.chosenArithmetic, largestCount: configuration.annealing?.start)
    let pixels = images * network.inputs
    fixed = copies * arena + pixels + 12 * images + 12 * network.latents + workspace.fixed
    ofSample = workspace.ofSample
    largestFixed = max(arena, pixels)
    largestOfSample = workspace.largestOfSample
  }

  package func total(batch: Int) -> Int { fixed + batch * ofSample }

  /// The largest batch that a device with so much memory has room for, 0 where not even one sample
  /// fits.
  package func largestBatch(memory: Int, largestBuffer: Int) -> Int {
    guard largestFixed <= largestBuffer, fixed < memory else { return 0 }
    return min((memory - fixed) / ofSample, largestBuffer / largestOfSample)
  }
}
