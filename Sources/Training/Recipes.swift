import Networks

extension TrainingConfiguration {
  /// What measured best for a network and its code: learning rate, schedule, optimizer, and what
  /// keeps latents alive. The figures are in `Benchmarks`.
  ///
  /// - Parameter targetL0: for the codes that have no K.
  package static func recommended(
    for network: AutoencoderConfiguration, epochs: Int, batchSize: Int = 256,
    targetL0: Double? = nil
  ) -> TrainingConfiguration {
    var result = TrainingConfiguration(network: network, epochs: epochs, batchSize: batchSize)
    let length = Double(epochs)
    switch network.code {
    case .relu: return result
    case .topK(let k), .batchTopK(let k):
      if network.isDictionary {
        result.optimizer = OptimizerConfiguration(.adam(beta2: 0.99))
        result.schedule = LearningRateSchedule(.linear, decayStart: length / 2)
        result.balance = LatentBalance()
        if 64 * k > network.latents {
          result.learningRate = 3e-3
          result.annealing = AnnealedCount(
            from: min(network.latents, 2 * k), to: k, over: 0.3, shape: .exponential)
        } else {
          // With few active latents, random directions hardly get a share of the images.
          result.learningRate = 1e-2
          result.schedule.decayStart = 0.7 * length
          result.annealing = AnnealedCount(
            from: min(network.latents, k + k / 2), to: k, over: 0.15, shape: .exponential)
          result.startsFromData = true
          result.encoderStart = 0.5
          result.encoderRate = 0.12
          result.balance = LatentBalance(increment: 0.003)
        }
      } else {
        result.learningRate = 1.2e-2
        result.optimizer = OptimizerConfiguration(.adam(beta2: 0.99))
        result.schedule = LearningRateSchedule(.cosine, warmup: 0.04 * length)
        result.annealing = AnnealedCount(
          from: network.latents, to: k, over: 0.1, shape: .exponential)
        result.balance = LatentBalance(
          threshold: 0.1, rescue: .init(increment: 0.004, threshold: 0.02))
        result.centresLayers = true
      }
    case .jumpReLU, .hardConcrete, .l1:
      result.learningRate = network.isDictionary ? 3e-3 : 8e-3
      result.schedule = LearningRateSchedule(.cosine, warmup: length / 5)
      if let targetL0 {
        result.beta = 1e-4
        result.targetL0 = TargetL0(targetL0)
      }
    }
    return result
  }
}
