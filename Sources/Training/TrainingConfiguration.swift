import Networks

/// Everything that a training run's result depends on besides the data and the device.
package struct TrainingConfiguration: Hashable, Sendable {
  package var network: AutoencoderConfiguration
  package var epochs: Int
  package var batchSize: Int
  package var learningRate: Double
  package var seed: UInt64
  /// The weight of ||x - xhat||^2 in the loss. The default, 1 / inputs, makes the loss the mean
  /// squared error over pixels.
  package var alpha: Double
  /// The weight of ||z||_0 in the loss; where `targetL0` is set, the weight it starts from. JumpReLU
  /// and hard concrete codes are trained by it, an L1 code by its surrogate; ReLU, TopK and
  /// BatchTopK have no gradient of it and report it only.
  package var beta: Double
  /// The mean L0 that a closed loop on beta steers to; none when nil.
  package var targetL0: TargetL0?
  /// The weight of the contractive penalty, lambda / batch * sum of ||dz/dh||_F^2 with h the input
  /// of the code's layer (Rifai et al. 2011; for stacked layers, each layer's own Jacobian).
  package var contractive: Double
  package var schedule: LearningRateSchedule
  package var optimizer: OptimizerConfiguration
  /// K over the steps, for codes that have a K; constant when nil.
  package var annealing: AnnealedCount?
  /// What is done for latents that hardly fire; nothing when nil.
  package var balance: LatentBalance?
  /// Whether a dictionary's rows start from training images rather than from random directions.
  package var startsFromData: Bool
  /// Whether the layers of a network that is no dictionary start centred on training images.
  package var centresLayers: Bool
  /// What a dictionary's encoder starts as, in terms of its decoder.
  package var encoderStart: Double
  /// What the learning rate of a dictionary's encoder is in terms of the others'.
  package var encoderRate: Double
  /// Nil: the faster one for the shape.
  package var arithmetic: CodeArithmetic?

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
    contractive = 0
    schedule = LearningRateSchedule()
    optimizer = OptimizerConfiguration()
    startsFromData = false
    centresLayers = false
    encoderStart = 1
    encoderRate = 1
  }

  /// What is wrong with it, as one line, or nil.
  package var problem: String? {
    if let problem = network.problem ?? optimizer.problem ?? schedule.problem(epochs: epochs) {
      return problem
    }
    if let problem = annealing?.problem ?? balance?.problem ?? targetL0?.problem { return problem }
    if epochs < 0 || epochs > Self.mostEpochs {
      return "a run of \(epochs) epochs; it has up to \(Self.mostEpochs)"
    }
    if batchSize < 1 || batchSize > 1 << 32 {
      return "batches of \(batchSize) images; they have from 1 to \(1 << 32)"
    }
    for (name, value) in [
      ("alpha", alpha), ("beta", beta), ("contractive", contractive),
      ("the learning rate", learningRate), ("the encoder's rate", encoderRate),
    ] {
      if !(value >= 0 && Float(value).isFinite) {
        return "\(name) is \(value); it is zero or more, and finite in single precision"
      }
    }
    // Its logarithm is taken.
    if beta > 0, !(beta.isNormal && Float(beta).isFinite) {
      return "beta is \(beta), too small or too large"
    }
    if !encoderStart.isFinite { return "an encoder that starts as \(encoderStart) of its decoder" }
    if arithmetic == .sparse, !network.allowsSparseArithmetic {
      return "sparse arithmetic for a network that has no TopK dictionary"
    }
    if let target = targetL0?.value, target > Double(network.latents) {
      return "a target L0 of \(target) cannot be met with \(network.latents) latents"
    }
    return nil
  }

  /// The epochs of the longest run.
  package static let mostEpochs = 1 << 32

  /// The arithmetic that will be used.
  package var chosenArithmetic: CodeArithmetic {
    arithmetic ?? network.fasterArithmetic
  }
}

extension TrainingConfiguration: Codable {
  private enum CodingKeys: String, CodingKey {
    case network, epochs, batchSize, learningRate, seed, alpha, beta, targetL0, contractive
    case schedule, optimizer, annealing, balance, startsFromData, centresLayers, encoderStart,
      encoderRate,
      arithmetic
  }

  /// Models of before there were codes have the first seven alone.
  package init(from decoder: any Decoder) throws {
    let values = try decoder.container(keyedBy: CodingKeys.self)
    self.init(
      network: try values.decode(AutoencoderConfiguration.self, forKey: .network),
      epochs: try values.decode(Int.self, forKey: .epochs),
      batchSize: try values.decode(Int.self, forKey: .batchSize),
      learningRate: try values.decode(Double.self, forKey: .learningRate),
      seed: try values.decode(UInt64.self, forKey: .seed),
      alpha: try values.decode(Double.self, forKey: .alpha),
      beta: try values.decode(Double.self, forKey: .beta))
    targetL0 = try values.decodeIfPresent(TargetL0.self, forKey: .targetL0)
    contractive = try values.decodeIfPresent(Double.self, forKey: .contractive) ?? 0
    schedule =
      try values.decodeIfPresent(LearningRateSchedule.self, forKey: .schedule)
      ?? LearningRateSchedule()
    optimizer =
      try values.decodeIfPresent(OptimizerConfiguration.self, forKey: .optimizer)
      ?? OptimizerConfiguration()
    annealing = try values.decodeIfPresent(AnnealedCount.self, forKey: .annealing)
    balance = try values.decodeIfPresent(LatentBalance.self, forKey: .balance)
    startsFromData = try values.decodeIfPresent(Bool.self, forKey: .startsFromData) ?? false
    centresLayers = try values.decodeIfPresent(Bool.self, forKey: .centresLayers) ?? false
    encoderStart = try values.decodeIfPresent(Double.self, forKey: .encoderStart) ?? 1
    encoderRate = try values.decodeIfPresent(Double.self, forKey: .encoderRate) ?? 1
    arithmetic = try values.decodeIfPresent(CodeArithmetic.self, forKey: .arithmetic)
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

extension TrainingConfiguration {
  /// The operations that training and evaluation may call, by the names that the list of cases has
  /// for them.
  package var operations: Set<String> {
    // Evaluation takes what is faster, whatever training was told to take.
    let arithmetics: Set = [chosenArithmetic, network.fasterArithmetic]
    var names: Set = ["fill", "gather", "reconstructionLoss", "countNonzero"]
    if optimizer.gradientLimit != nil { names.insert("clipNorm") }
    if optimizer.averageDecay != nil { names.insert("accumulateAverage") }
    switch optimizer.method {
    case .adam: names.insert("adam")
    case .sgd: names.insert("momentumStep")
    }
    if network.code != .relu { names.insert("balanceLatents") }
    if contractive > 0 { names.insert("addContractiveGradient") }
    if network.isDictionary { names.formUnion(["matmul B^T", "columnSums"]) }
    if arithmetics.contains(.dense) {
      names.formUnion(["denseForward", "densePass", "denseGradients"])
      names.formUnion(network.code.operations)
      if network.code != .relu { names.insert("denseBackward") }
      // Layers whose weights do not stay in a core's cache are products of their own.
      let weights = zip(network.widths, network.widths.dropFirst()).map(*)
      if network.isDictionary || weights.contains(where: { $0 > 1 << 16 }) {
        names.formUnion([
          "denseBackward", "matmul", "matmul A^T", "matmul B^T", "columnSums",
        ])
      }
    }
    if arithmetics.contains(.sparse) {
      names.formUnion(["sparseTopK", "sparseScatter", "sparseDecode"])
    }
    var constrainsGradient = network.unitNormDecoder
    if chosenArithmetic == .sparse {
      names.formUnion(["sparsePass", "sparseGroup"])
      // One operation updates what the batch touched, unless all gradients are needed together.
      let isFused = optimizer.allowsSparseUpdate
      names.insert(isFused ? "sparseUpdate" : "sparseGradients")
      constrainsGradient = constrainsGradient && !isFused
    }
    if constrainsGradient { names.formUnion(["normaliseRows", "projectRows"]) }
    return names
  }

  /// Those of `operations` that the evaluation of a trained network, and its codes, need.
  package var evaluationOperations: Set<String> {
    let isSparse = network.fasterArithmetic == .sparse
    return operations.intersection(
      network.code.inferenceOperations
        .union(["fill", "gather", "reconstructionLoss", "countNonzero"])
        .union(
          isSparse
            ? ["sparseTopK", "sparseScatter", "sparseDecode", "matmul B^T"]
            : ["denseForward", "densePass", "matmul", "matmul B^T"]))
  }
}
