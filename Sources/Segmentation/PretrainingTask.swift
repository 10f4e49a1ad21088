import Compute
import Networks
import Training

/// Crops to be restored, for each step the same whenever it is asked for.
package protocol CorruptedCrops {
  /// - Parameters:
  ///   - inputs: receives `[count, size, size, channels]`, normalised, with what was taken away; as
  ///     many as it holds.
  ///   - targets: receives the same crops as they were.
  func fill(step: Int, inputs: inout [Float], targets: inout [Float])
}

/// Minimises alpha ||x - xhat||^2 + beta ||z||_0 over crops that are restored from what a corruption
/// left of them.
///
/// A sample is a position of the code with the square of pixels it stands for: both terms are sums
/// over the batch by the number of positions, so that alpha, beta and a target L0 mean the same for
/// crops of any size.
final class PretrainingTask<B: Backend>: TrainingTask {
  /// ||x - xhat||^2 of each crop, then ||z||_0 of each.
  let figureCount: Int
  private let crops: any CorruptedCrops
  private let alpha: Double
  private let backend: B
  private let target: B.Floats
  private let positionsOfCrop: Int
  // Made at the first step: by then the backend has said whether its own, larger memory can be had.
  private lazy var inputs = [Float](repeating: 0, count: target.count)
  private lazy var targets = inputs

  init(
    _ crops: any CorruptedCrops, alpha: Double, _ training: ConvolutionalTraining, on backend: B
  ) throws {
    self.crops = crops
    self.alpha = alpha
    self.backend = backend
    figureCount = 2 * training.batchSize
    let side = training.cropSize / training.network.alignment
    positionsOfCrop = side * side
    let pixels = training.cropSize * training.cropSize * training.network.inputs
    target = try backend.allocate([training.batchSize, pixels], of: Float.self)
  }

  func prepare(step: Int, _ workspace: ConvolutionalWorkspace<B>) throws {
    crops.fill(step: step, inputs: &inputs, targets: &targets)
    try backend.upload(inputs, into: workspace.input.tensor)
    try backend.upload(targets, into: target)
  }

  func differentiate(_ workspace: ConvolutionalWorkspace<B>, figures: B.Floats) throws {
    guard let gradient = workspace.outputGradient else { return }
    let batch = workspace.batch
    try backend.reconstructionLoss(
      reconstruction: workspace.output.tensor.view(at: 0, shape: target.shape), target: target,
      activation: .identity,
      code: workspace.code.view(at: 0, shape: [batch, workspace.code.count / batch]),
      scale: Float(2 * alpha / Double(workspace.positions)),
      gradient: gradient.view(at: 0, shape: target.shape),
      rowError: figures.view(at: 0, shape: [batch]),
      rowL0: figures.view(at: batch, shape: [batch]))
    latestL0 = figures.view(at: batch, shape: [batch])
    latestGateL0 = workspace.gateL0
  }

  private var latestL0, latestGateL0: B.Floats?

  func finish(step: Int, _ control: CodeControl<B>, _ network: ConvolutionalNetwork<B>) throws {
    // A hard concrete code's own count is for each position, the others' for each crop.
    let isGated = control.code == .hardConcrete
    guard let l0 = isGated ? latestGateL0 : latestL0 else { return }
    try control.end(
      step: step, l0: l0, scale: isGated ? 1 : Double(positionsOfCrop),
      threshold: network.code.threshold, on: backend)
  }
}
