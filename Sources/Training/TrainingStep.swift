import Compute
import Datasets
import Foundation
import Networks
import RandomNumbers

/// One step of training, in order: gather, forward, loss, backward, gradients, update, control.
///
/// Nothing here waits for the device or moves a pixel from the host.
package final class TrainingStep<B: Backend> {
  package let backend: B
  package let configuration: TrainingConfiguration
  package let network: Autoencoder<B>
  package let optimizer: Optimizer<B>
  private let workspace: Workspace<B>
  private let stepsPerEpoch: Int
  private var control: CodeControl<B>
  private var code: CodeStep<B> { control.step }
  /// How often each latent fired in the epoch, `[latents]`; nil for a ReLU code, whose latents are
  /// not watched.
  private let firings: B.Indices?
  /// The moving average of the share of samples for which each latent fires, `[latents]`.
  private let frequency: B.Floats?
  private let contractivePenalty: B.Floats
  private let rates: [(range: Range<Int>, factor: Double)]

  /// - Parameters:
  ///   - stepsPerEpoch: what epochs in the schedules are counted by.
  ///   - data: needed where the network's input is centred.
  ///   - input: the batch, `[batchSize, inputs]`, where several steps share it.
  package init(
    _ configuration: TrainingConfiguration, stepsPerEpoch: Int = 1, data: DataStatistics? = nil,
    input: B.Floats? = nil, on backend: B
  ) throws {
    self.backend = backend
    self.configuration = configuration
    self.stepsPerEpoch = stepsPerEpoch
    let shape = configuration.network
    network = try Autoencoder(
      shape,
      parameters: shape.initialParameters(
        seed: configuration.seed, data: data, encoderStart: configuration.encoderStart,
        centresLayers: configuration.centresLayers),
      on: backend)
    rates = Self.rates(network.arena.layout, configuration)
    optimizer = try Optimizer(configuration.optimizer, for: network.arena, on: backend)
    workspace = try Workspace(
      shape, batch: configuration.batchSize, arithmetic: configuration.chosenArithmetic,
      largestCount: configuration.annealing?.start, input: input, on: backend)
    control = try CodeControl(
      shape.code, latents: shape.latents,
      settings: CodeTraining(
        beta: configuration.beta, target: configuration.targetL0,
        annealing: configuration.annealing),
      totalSteps: stepsPerEpoch * configuration.epochs, on: backend)
    contractivePenalty = try backend.allocate([1], of: Float.self)
    if shape.code == .relu {
      (firings, frequency) = (nil, nil)
    } else {
      firings = try backend.allocate([shape.latents], of: UInt32.self)
      frequency = try backend.allocate([shape.latents], of: Float.self)
    }
    try resetFirings()
    if let frequency {
      let share = Float(expectedL0 / Double(shape.latents))
      try backend.upload([Float](repeating: share, count: shape.latents), into: frequency)
    }
  }

  /// The L0 that is asked for: K, the target, or all latents.
  private var expectedL0: Double {
    configuration.network.code.count.map(Double.init) ?? configuration.targetL0?.value
      ?? Double(configuration.network.latents)
  }

  private var totalSteps: Int { stepsPerEpoch * configuration.epochs }

  /// Trains on the images `order[rows]`, centred by `network.inputMean`.
  ///
  /// - Parameters:
  ///   - rowError: receives ||x - xhat||^2 of each row, `[rows]`.
  ///   - rowL0: receives ||z||_0 of each row, `[rows]`.
  package func run(
    images: ResidentImages<B>, order: B.Indices, rows: Range<Int>, rowError: B.Floats,
    rowL0: B.Floats
  ) throws {
    try gather(images: images, order: order, rows: rows)
    try train(count: rows.count, rowError: rowError, rowL0: rowL0)
  }

  /// Forms the batch of the images `order[rows]`.
  package func gather(images: ResidentImages<B>, order: B.Indices, rows: Range<Int>) throws {
    try images.gather(
      order: order, start: rows.lowerBound, into: workspace.prefix(rows.count).input, on: backend)
  }

  /// Trains on the first `count` rows of the batch that was formed.
  package func train(count: Int, rowError: B.Floats, rowL0: B.Floats) throws {
    let step = optimizer.stepCount + 1
    let batch = workspace.prefix(count)
    control.begin(step: step, seed: configuration.seed)
    try network.differentiate(
      batch, scale: Float(2 * configuration.alpha / Double(count)), step: code,
      rowError: rowError, rowL0: rowL0)
    try addContractiveGradient(batch)
    try update(
      batch,
      learningRate: configuration.schedule.rate(
        base: configuration.learningRate, step: step, stepsPerEpoch: stepsPerEpoch,
        epochs: configuration.epochs))
    try controlCode(batch, step: step, rowL0: rowL0)
  }

  // MARK: Update

  private func addContractiveGradient(_ batch: Workspace<B>) throws {
    guard configuration.contractive > 0 else { return }
    let weight = network.codeLayer.weight
    try backend.addContractiveGradient(
      code: batch.code, weight: network.arena.value(weight),
      unitsAreRows: configuration.network.isDictionary,
      scale: Float(2 * configuration.contractive / Double(batch.batch)),
      accumulatingInto: network.arena.gradient(weight), penalty: contractivePenalty)
  }

  private func update(_ batch: Workspace<B>, learningRate: Double) throws {
    let arena = network.arena
    if let sparse = network.sparseBatch(batch, step: code) {
      return try update(sparse, learningRate: learningRate)
    }
    let dictionary = network.dictionary
    if configuration.network.unitNormDecoder {
      try backend.projectRows(dictionary.gradient, orthogonalTo: dictionary.value)
    }
    try optimizer.beginStep(arena, on: backend)
    for (range, factor) in rates {
      try optimizer.update(
        range, of: arena, learningRate: learningRate * factor, on: backend)
    }
    if configuration.network.code == .jumpReLU, let threshold = network.threshold {
      try backend.clampBelow(threshold, bound: 0)
    }
    if configuration.network.unitNormDecoder { try backend.normaliseRows(dictionary.value) }
    try optimizer.endStep(arena, on: backend)
  }

  /// Thresholds move faster than weights: they start far from where they end.
  private static var thresholdRate: Double { 2.5 }

  /// The arena's elements in ranges, each with what the learning rate is multiplied by there.
  private static func rates(
    _ layout: ParameterLayout, _ configuration: TrainingConfiguration
  ) -> [(range: Range<Int>, factor: Double)] {
    var result: [(range: Range<Int>, factor: Double)] = []
    for slot in layout.slots {
      let factor =
        switch slot.name {
        case Code.threshold: thresholdRate
        case AutoencoderConfiguration.encoderWeight where configuration.network.isDictionary:
          configuration.encoderRate
        default: 1.0
        }
      let end = slot.offset + slot.shape.count
      if let last = result.last, last.factor == factor {
        result[result.count - 1].range = last.range.lowerBound..<end
      } else {
        result.append((slot.offset..<end, factor))
      }
    }
    return result
  }

  private func update(_ sparse: SparseBatch<B.Storage>, learningRate: Double) throws {
    let arena = network.arena
    let (encoder, dictionary) = (network.codeLayer, network.dictionary)
    let unitNorm = configuration.network.unitNormDecoder
    if optimizer.configuration.allowsSparseUpdate {
      try optimizer.beginStep(arena, on: backend)
      try backend.sparseUpdate(
        sparse,
        SparseAdam(
          decoder: optimizer.adamParameter(dictionary.slot, of: arena),
          encoder: optimizer.adamParameter(encoder.weight, of: arena),
          bias: optimizer.adamParameter(encoder.bias, of: arena),
          step: optimizer.adamStep(learningRate: learningRate),
          encoderStep: optimizer.adamStep(learningRate: learningRate * configuration.encoderRate),
          unitNorm: unitNorm))
      try optimizer.update(
        network.outputBias, of: arena, learningRate: learningRate, on: backend)
      return try optimizer.endStep(arena, on: backend)
    }
    for slot in [dictionary.slot, encoder.weight, encoder.bias] {
      try backend.fill(arena.gradient(slot), with: 0)
    }
    try backend.sparseGradients(
      sparse, decoder: dictionary.gradient, encoder: arena.gradient(encoder.weight),
      bias: arena.gradient(encoder.bias))
    if unitNorm { try backend.projectRows(dictionary.gradient, orthogonalTo: dictionary.value) }
    try optimizer.beginStep(arena, on: backend)
    for (range, factor) in rates {
      try optimizer.update(
        range, of: arena, learningRate: learningRate * factor, on: backend)
    }
    if unitNorm { try backend.normaliseRows(dictionary.value) }
    try optimizer.endStep(arena, on: backend)
  }

  // MARK: Control

  /// What follows from how often latents fired: the penalty's weight, the learned threshold of a
  /// BatchTopK, the balance.
  private func controlCode(_ batch: Workspace<B>, step: Int, rowL0: B.Floats) throws {
    let shape = configuration.network
    try control.end(
      step: step, l0: shape.code == .hardConcrete ? batch.gateL0 : rowL0,
      threshold: network.threshold, on: backend)
    guard let firings, let frequency else { return }
    if batch.sparse == nil { try backend.countNonzero(batch.code, accumulatingInto: code.firings) }
    let done = Double(step) / Double(totalSteps)
    let expected = (code.count.map(Double.init) ?? expectedL0) / Double(shape.latents)
    let balance = configuration.balance
    let raise = balance?.raise(done: done) ?? (increment: 0, threshold: 0)
    try backend.balanceLatents(
      counts: code.firings, totals: firings, frequency: frequency,
      bias: network.arena.value(network.codeLayer.bias),
      settings: LatentBalanceStep(
        batch: batch.batch, decay: Float(balance?.decay ?? 0.98),
        threshold: Float(raise.threshold * expected), increment: Float(raise.increment)))
  }

  // MARK: Reports

  /// The figures of an epoch just done, and a new start for the latents' watch.
  ///
  /// - Parameters:
  ///   - squaredError: sum over the images of ||x - xhat||^2.
  ///   - active: sum over the images of ||z||_0.
  func metrics(
    epoch: Int, squaredError: Double, active: Double, images: Int, seconds: Double
  ) throws -> EpochMetrics {
    let count = Double(images)
    let reconstruction = configuration.alpha * squaredError / count
    let beta = try penaltyWeight().weight
    return EpochMetrics(
      epoch: epoch, loss: reconstruction + beta * active / count, reconstruction: reconstruction,
      beta: beta, mse: squaredError / count / Double(configuration.network.inputs),
      l0: active / count, dead: try takeSilentLatents(), seconds: seconds,
      samplesPerSecond: count / seconds)
  }

  /// Latents that did not fire since the last call, nil where they are not watched; starts anew.
  package func takeSilentLatents() throws -> Int? {
    guard let firings else { return nil }
    let silent = try backend.download(firings).count { $0 == 0 }
    try resetFirings()
    return silent
  }

  private func resetFirings() throws {
    guard let firings else { return }
    try backend.upload([UInt32](repeating: 0, count: firings.count), into: firings)
  }

  /// The weight of the code's penalty as it now is, and whether its control has come to a bound.
  package func penaltyWeight() throws -> (weight: Double, isSaturated: Bool) {
    try control.penaltyWeight(on: backend)
  }

  /// Sets the width of the window around the thresholds of a JumpReLU to a share of the standard
  /// deviation of the pre-activations over the images `order[rows]`.
  package func measureBandwidth(
    images: ResidentImages<B>, order: B.Indices, rows: Range<Int>
  ) throws {
    guard configuration.network.code == .jumpReLU else { return }
    let batch = workspace.prefix(rows.count)
    try gather(images: images, order: order, rows: rows)
    try network.forward(batch)
    let values = try backend.download(batch.preactivations)
    let count = Double(values.count)
    let mean = values.reduce(0.0) { $0 + Double($1) } / count
    let variance = values.reduce(0.0) { $0 + (Double($1) - mean) * (Double($1) - mean) } / count
    let bandwidth = Float(Self.bandwidthShare * variance.squareRoot())
    // Of a network that overflows, whose loss says so at the epoch's end, any will do.
    control.setBandwidth(bandwidth.isFinite ? max(bandwidth, 1e-6) : 1e-6)
  }

  private static var bandwidthShare: Double { 0.5 }

  /// The parameters to be kept: their average where one is formed.
  package func parameters() throws -> [Float] {
    try backend.download(optimizer.average ?? network.arena.values)
  }

  /// Those, or nil where one of them is not finite. The last step's loss does not tell: it is from
  /// before its update, which may have overflowed.
  package func finiteParameters() throws -> [Float]? {
    let values = try parameters()
    return values.allSatisfy(\.isFinite) ? values : nil
  }
}

extension TrainingStep {
  private var ownTensors: [(name: String, tensor: B.Floats)] {
    [("parameters", network.arena.values)] + (frequency.map { [("frequency", $0)] } ?? [])
  }

  /// The state between two steps: with the configuration, the data and the place within the epoch
  /// it determines the rest of the run to the bit.
  package func state() throws -> TrainingState {
    let state = try optimizer.state(on: backend)
    return TrainingState(
      stepCount: state.stepCount,
      tensors: try ownTensors.map { ($0.name, try backend.download($0.tensor)) }
        + control.state(on: backend) + state.tensors,
      counts: try firings.map { [("firings", try backend.download($0))] } ?? [])
  }

  /// Continues from `state`, that of a step of the same configuration.
  ///
  /// - Throws: `TrainingError.unsuitableData` where tensors are missing, unknown or of another size.
  package func restore(_ state: TrainingState) throws {
    try optimizer.restore(state.part(optimizer.stateNames), on: backend)
    for (name, tensor) in ownTensors {
      try backend.upload(try state.tensor(name, count: tensor.count), into: tensor)
    }
    try control.restore(state, on: backend)
    guard let firings else { return }
    guard let counts = state.counts.first(where: { $0.name == "firings" })?.values,
      counts.count == firings.count
    else { throw TrainingError.unsuitableData("the state of training lacks fitting firings") }
    try backend.upload(counts, into: firings)
  }
}

extension GateNoise {
  /// A key for each step of a run.
  init(step: Int, seed: UInt64) {
    var generator = SplitMix64(seed: seed, stream: 2 << 32 + UInt64(step))
    self.init(key: UInt32(truncatingIfNeeded: generator.next()))
  }
}
