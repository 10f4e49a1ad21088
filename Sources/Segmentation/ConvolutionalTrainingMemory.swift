import Networks
import Training

extension TrainingMemory {
  /// Of the training of a convolutional network; samples are crops.
  ///
  /// - Parameter taskOfCrop: what is kept for each crop besides the network's maps, in bytes.
  init(_ training: ConvolutionalTraining, taskOfCrop: Int) {
    let (network, size) = (training.network, training.cropSize)
    let arena = 4 * network.parameterLayout.count
    let statistics = 2 * 4 * network.statisticsLayout.count
    self.init(
      fixed: training.optimizer.arenaCount * arena + statistics,
      ofSample: 4
        * ConvolutionalMemory.elementCount(
          network, batch: 1, height: size, width: size, trains: true) + taskOfCrop,
      largestFixed: arena,
      largestOfSample: 4
        * ConvolutionalMemory.largestElementCount(network, batch: 1, height: size, width: size))
  }
}

extension PretrainingSettings {
  package var memory: TrainingMemory {
    // The crops as they were, and twice two figures of each.
    TrainingMemory(
      training, taskOfCrop: 4 * training.cropSize * training.cropSize * training.network.inputs + 16
    )
  }
}

extension SegmentationSettings {
  package var memory: TrainingMemory {
    // The labels.
    TrainingMemory(training, taskOfCrop: training.cropSize * training.cropSize)
  }
}
