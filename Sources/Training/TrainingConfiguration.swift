import Networks

/// Everything that a training run's result depends on besides the data and the device.
package struct TrainingConfiguration: Codable, Hashable, Sendable {
  package var network: AutoencoderConfiguration
  package var epochs: Int
  package var batchSize: Int
  package var learningRate: Double
  package var seed: UInt64
  /// The weight of ||x - xhat||^2 in the loss. The default, 1 / inputs, makes the loss the mean
  /// squared error over pixels.
  package var alpha: Double
  /// The weight of ||z||_0 in the loss. A ReLU code has no gradient of it: it is reported only.
  package var beta: Double

  package init(
    network: AutoencoderConfiguration, epochs: Int = 50, batchSize: Int = 256,
    learningRate: Double = 1e-3, seed: UInt64 = 0, alpha: Double? = nil, beta: Double = 0
  ) {
    self.network = network
    self.epochs = epochs
    self.batchSize = batchSize
    self.learningRate = learningRate
    self.seed = seed
    self.alpha = alpha ?? 1 / Double(network.inputs)
    self.beta = beta
  }
}

/// How stored bytes become the network's input: x = scale * byte + shift.
package struct Normalisation: Codable, Hashable, Sendable {
  package var scale: Float
  package var shift: Float

  package init(scale: Float, shift: Float) {
    self.scale = scale
    self.shift = shift
  }

  /// 0...255 to [0, 1]
  package static let unit = Normalisation(scale: 1 / 255, shift: 0)
}
