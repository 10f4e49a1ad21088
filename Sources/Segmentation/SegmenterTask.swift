import Compute
import Networks
import Training

/// Crops with labels, for each step the same whenever it is asked for.
package protocol LabelledCrops {
  /// - Parameters:
  ///   - inputs: receives `[count, size, size, channels]`, normalised; as many as it holds.
  ///   - labels: receives `[count, size, size]`, class indices or `SegmentationLoss.ignored`.
  func fill(step: Int, inputs: inout [Float], labels: inout [UInt8])
}

/// Minimises the loss of a segmentation over labelled crops.
final class SegmenterTask<B: Backend>: TrainingTask {
  /// Cross-entropy, dice, labelled positions.
  let figureCount = 3
  /// What the next steps' batches are taken from.
  private(set) var crops: any LabelledCrops
  private(set) var classWeights: [Float]
  private let settings: SegmentationLoss
  private let backend: B
  private let labels: B.Bytes
  private let weights: B.Floats
  // Made at the first step: by then the backend has said whether its own, larger memory can be had.
  private lazy var hostInputs = [Float](repeating: 0, count: labels.count * channels)
  private lazy var hostLabels = [UInt8](repeating: 0, count: labels.count)
  private let channels: Int

  init(
    _ crops: any LabelledCrops, loss: SegmentationLoss, classWeights: [Float],
    _ training: ConvolutionalTraining, on backend: B
  ) throws {
    self.crops = crops
    self.classWeights = classWeights
    settings = loss
    self.backend = backend
    let positions = training.batchSize * training.cropSize * training.cropSize
    labels = try backend.allocate([positions], of: UInt8.self)
    weights = try backend.allocate([classWeights.count], of: Float.self)
    try backend.upload(classWeights, into: weights)
    channels = training.network.inputs
  }

  /// Goes on with other crops, and with other weights of as many classes.
  func change(to crops: any LabelledCrops, classWeights: [Float]) throws {
    try backend.upload(classWeights, into: weights)
    (self.crops, self.classWeights) = (crops, classWeights)
  }

  func prepare(step: Int, _ workspace: ConvolutionalWorkspace<B>) throws {
    crops.fill(step: step, inputs: &hostInputs, labels: &hostLabels)
    try backend.upload(hostInputs, into: workspace.input.tensor)
    try backend.upload(hostLabels, into: labels)
  }

  func differentiate(_ workspace: ConvolutionalWorkspace<B>, figures: B.Floats) throws {
    guard let gradient = workspace.outputGradient else { return }
    try backend.segmentationLoss(
      workspace.output.matrix, labels: labels, classWeights: weights, settings: settings,
      gradient: gradient, figures: figures)
  }

  func finish(step: Int, _ control: CodeControl<B>, _ network: ConvolutionalNetwork<B>) throws {
    // Labels say what is wanted of the code; its penalty has had its say in the pretraining.
    if case .batchTopK = control.code, !network.isFrontEndFrozen {
      try control.end(
        step: step, l0: control.step.penalty, threshold: network.code.threshold, on: backend)
    }
  }
}
