import ArgumentParser
import Networks
import Training

extension LearningRateSchedule.Kind: ExpressibleByArgument {}

enum OptimizerName: String, CaseIterable, ExpressibleByArgument { case adam, sgd }
enum Arithmetic: String, CaseIterable, ExpressibleByArgument { case auto, dense, sparse }
enum DictionaryStart: String, CaseIterable, ExpressibleByArgument { case random, data }
enum DeadLatents: String, CaseIterable, ExpressibleByArgument { case none, balance }

/// How a network is trained. What is not given is what measured best for the network and its code.
struct TrainingOptions: ParsableArguments {
  @Option(
    parsing: .unconditional,
    help: "Passes over the training images (default: 50; 10 with --latents; 5 in bench).")
  var epochs: Int?
  @Option(
    name: .customLong("batch"), parsing: .unconditional,
    help: "Images in a step (default: 256, or all where there are fewer).")
  var givenBatch: Int?
  @Option(
    parsing: .unconditional,
    help: "The optimizer's step size (default: 1e-3 for relu; measured best for the others).")
  var learningRate: Double?
  @Option(
    parsing: .unconditional,
    help: "The seed of the initial weights, the order of the images and the glyphs.")
  var seed: UInt64 = 0

  @Option(parsing: .unconditional, help: "Weight of ||x - xhat||^2 (default: 1 / inputs).")
  var alpha: Double?
  @Option(
    parsing: .unconditional,
    help: "Weight of ||z||_0; with --target-l0 the weight that the loop starts from.")
  var beta: Double?
  @Option(
    parsing: .unconditional, help: "Weight of the contractive penalty ||dz/dh||_F^2 (default: 0).")
  var contractive: Double?

  @Option(help: "The learning rate over the run: constant, linear or cosine decay.")
  var schedule: LearningRateSchedule.Kind?
  @Option(parsing: .unconditional, help: "Epochs in which the learning rate rises from zero.")
  var warmup: Double?
  @Option(parsing: .unconditional, help: "The epoch after which the learning rate falls.")
  var decayStart: Double?
  @Option(help: "The optimizer: adam, or sgd with momentum.") var optimizer: OptimizerName?
  @Option(parsing: .unconditional, help: "Momentum of sgd (default: 0.9).") var momentum: Double?
  @Option(parsing: .unconditional, help: "Adam's decay of the second moment.") var beta2: Double?
  @Option(parsing: .unconditional, help: "Clip the gradients' norm to this.") var clip: Double?
  @Option(
    parsing: .unconditional,
    help: "Keep an exponential moving average of the weights with this decay, such as 0.999.")
  var average: Double?

  @Option(
    parsing: .unconditional,
    help: "The K that training starts from; it falls to the code's K in the first 30 % of the run.")
  var annealFrom: Int?
  @Option(
    help: "What is done for latents that hardly fire: none, or balance, which raises their biases.")
  var deadLatents: DeadLatents?
  @Option(help: "Where a dictionary starts: random directions or data.")
  var start: DictionaryStart?
  @Option(help: "How a TopK dictionary is computed with: auto, dense or sparse.")
  var arithmetic = Arithmetic.auto

  func validate() throws {
    if let epochs {
      try requirePositive(epochs, "--epochs")
      guard epochs <= TrainingConfiguration.mostEpochs else {
        throw ValidationError(
          "--epochs must be at most \(TrainingConfiguration.mostEpochs), not \(epochs)")
      }
    }
    if let givenBatch { try requirePositive(givenBatch, "--batch") }
    try requirePositive(learningRate, "--learning-rate")
    try requirePositive(clip, "--clip")
    for (name, value) in [
      ("--alpha", alpha), ("--beta", beta), ("--contractive", contractive), ("--warmup", warmup),
      ("--decay-start", decayStart),
    ] {
      try requireNotNegative(value, name)
    }
    for (name, value) in [("--momentum", momentum), ("--beta2", beta2), ("--average", average)] {
      try requireShare(value, name)
    }
    if momentum != nil, optimizer != .sgd {
      throw ValidationError("--momentum is of --optimizer sgd")
    }
    if beta2 != nil, optimizer == .sgd { throw ValidationError("--beta2 is of --optimizer adam") }
    if let annealFrom { try requirePositive(annealFrom, "--anneal-from") }
  }

  var batch: Int { givenBatch ?? 256 }

  /// Makes batches that were not asked for no larger than the set, and says so.
  ///
  /// - Throws: `TrainingError.batchLargerThanSet` where they were asked for.
  mutating func fitBatch(toImages count: Int) throws {
    guard batch > count else { return }
    guard givenBatch == nil else {
      throw ValidationError("\(TrainingError.batchLargerThanSet(batch: batch, count: count))")
    }
    Console.note(
      "Note: batches of all \(counted(count, "training image")), which "
        + "\(count == 1 ? "is" : "are") fewer than \(batch)"
    )
    givenBatch = count
  }

  /// The whole configuration: what was given, over what is recommended.
  func configuration(
    for network: AutoencoderConfiguration, targetL0: Double?, defaultEpochs: Int = 50
  ) throws -> TrainingConfiguration {
    var result = TrainingConfiguration.recommended(
      for: network, epochs: epochs ?? defaultEpochs, batchSize: batch, targetL0: targetL0)
    result.seed = seed
    if let learningRate { result.learningRate = learningRate }
    if let alpha { result.alpha = alpha }
    if let beta { result.beta = beta }
    if let contractive {
      guard contractive == 0 || network.code != .hardConcrete else {
        throw ValidationError(
          "--contractive takes the slope of active units for one, which those of hardconcrete have not"
        )
      }
      result.contractive = contractive
    }
    if let schedule { result.schedule = LearningRateSchedule(schedule) }
    if let warmup { result.schedule.warmup = warmup }
    if let decayStart { result.schedule.decayStart = decayStart }
    switch optimizer {
    case nil: break
    // Its recommended settings are kept.
    case .adam: if case .sgd = result.optimizer.method { result.optimizer.method = .adam() }
    case .sgd: result.optimizer.method = .sgd(momentum: momentum ?? 0.9)
    }
    if let beta2 { result.optimizer.method = .adam(beta2: beta2) }
    result.optimizer.gradientLimit = clip
    result.optimizer.averageDecay = average
    if let annealFrom {
      guard let k = network.code.count else {
        throw ValidationError("--anneal-from is of codes with a K, not of \(network.code)")
      }
      guard annealFrom >= k, annealFrom <= network.latents else {
        throw ValidationError(
          "--anneal-from must be from K, \(k), to the \(network.latents) latents, not \(annealFrom)"
        )
      }
      result.annealing = AnnealedCount(from: annealFrom, to: k, over: 0.3, shape: .exponential)
    }
    switch deadLatents {
    case nil: break
    case .some(.none): result.balance = nil
    case .balance:
      guard network.code != .relu else {
        throw ValidationError("--dead-latents balance is of sparse codes, not of relu")
      }
      result.balance = result.balance ?? LatentBalance()
    }
    if let start {
      guard network.isDictionary else {
        throw ValidationError("--start is of dictionaries: --latents")
      }
      result.startsFromData = start == .data
    }
    switch arithmetic {
    case .auto: break
    case .dense: result.arithmetic = .dense
    case .sparse:
      guard network.allowsSparseArithmetic else {
        throw ValidationError("--arithmetic sparse needs --latents and --code topk:K")
      }
      result.arithmetic = .sparse
    }
    if result.contractive > 0, result.chosenArithmetic == .sparse {
      guard arithmetic == .auto else {
        throw ValidationError("--contractive needs --arithmetic dense")
      }
      result.arithmetic = .dense
    }
    noteUse(of: network.code, latents: network.latents, beta: beta)
    if let problem = result.problem { throw ValidationError(problem) }
    return result
  }
}
