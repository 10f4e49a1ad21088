import Compute
import Foundation
import Networks
import Training
import Verification

/// What every training of a convolutional network is told.
package struct ConvolutionalTraining: Codable, Hashable, Sendable {
  package var network: ConvolutionalConfiguration
  /// The side of the square crops that a batch is made of.
  package var cropSize: Int
  package var batchSize: Int
  package var length: TrainingLength
  /// The rate rises over the first `warmup` of the run, then falls to zero in a straight line; where
  /// it starts over, before that and after that.
  package var learningRate: Double
  package var warmup: Double
  package var code: CodeTraining
  package var optimizer: OptimizerConfiguration
  package var seed: UInt64

  package init(
    network: ConvolutionalConfiguration, cropSize: Int = 192, batchSize: Int = 4,
    length: TrainingLength, learningRate: Double = 2e-3, warmup: Double = 0.02,
    code: CodeTraining = CodeTraining(), optimizer: OptimizerConfiguration = .init(),
    seed: UInt64 = 0
  ) {
    self.network = network
    self.cropSize = cropSize
    self.batchSize = batchSize
    self.length = length
    self.learningRate = learningRate
    self.warmup = warmup
    self.code = code
    self.optimizer = optimizer
    self.seed = seed
  }

  /// The rate at a share of the run.
  ///
  /// - Parameter restart: the share of the run after which it starts over (Loshchilov and Hutter
  ///   2017, "SGDR", with straight lines).
  package func rate(at progress: Double, restart: Double? = nil) -> Double {
    let restart = restart ?? 0
    let isLater = progress >= restart
    let done = isLater ? progress - restart : progress
    let length = isLater ? 1 - restart : restart
    // A part that is shorter than the warm-up begins with all of the rate.
    let warmup = warmup <= length ? warmup : 0
    return done < warmup
      ? learningRate * max(done / warmup, 0.05)
      : learningRate * max(0.01, (length - done) / (length - warmup))
  }

  /// How much of a batch's statistics the running ones take in: as learning slows down they are taken
  /// over more batches, since those of two or four crops differ, and use goes by them alone
  /// (Wu and Johnson 2021, "Rethinking 'Batch' in BatchNorm"), but not over more than about the last
  /// twentieth of the run, before which the weights were others. It is at least what weighs step t by
  /// t^19 or nearly so (Shamir and Zhang 2013, "Stochastic gradient descent for non-smooth
  /// optimization", polynomial-decay averaging), so that nothing is left of what the running ones were
  /// before the first step.
  ///
  /// - Parameters:
  ///   - step: counted from 1.
  ///   - rate: of learning in this step.
  package func momentum(step: Int, rate: Double) -> Float {
    Float(max(0.1 * min(1, rate / learningRate), 20 / (Double(step) + 19)))
  }

  /// What is wrong with it, in one line.
  package var problem: String? {
    if let problem = network.problem ?? length.problem ?? optimizer.problem { return problem }
    if cropSize < network.alignment || cropSize % network.alignment != 0 {
      return "crops of \(cropSize) pixels; the network takes multiples of \(network.alignment)"
    }
    if cropSize > 1 << 16 { return "crops of \(cropSize) pixels are more than \(1 << 16)" }
    if batchSize < 1 || batchSize > 1 << 16 { return "batches of \(batchSize) crops" }
    if !(learningRate > 0 && learningRate.isFinite) { return "a learning rate of \(learningRate)" }
    if !(warmup >= 0 && warmup <= 1) { return "a warm-up over \(warmup) of the run" }
    if !(code.beta >= 0 && Float(code.beta).isFinite) || (code.beta > 0 && !code.beta.isNormal) {
      return "a penalty's weight of \(code.beta)"
    }
    if let annealing = code.annealing, max(annealing.start, annealing.end) > network.latents {
      return "a count annealed from \(annealing.start) of \(network.latents) latents"
    }
    return code.target?.problem ?? code.annealing?.problem
  }
}

/// How far a training is.
package struct StepReport: Sendable {
  /// Steps done, and how many there will be.
  package let step, steps: Int
  package let seconds: Double
  /// As the loss gives them.
  package let figures: [Float]

  package var remaining: Double {
    step > 0 ? seconds / Double(step) * Double(max(0, steps - step)) : .infinity
  }
}

/// Where the batches of a training come from, and what it minimises.
protocol TrainingTask<B> {
  associatedtype B: Backend
  /// How many figures the loss has.
  var figureCount: Int { get }
  /// Fills `workspace.input` and what the loss needs for step `step`, counted from 1.
  func prepare(step: Int, _ workspace: ConvolutionalWorkspace<B>) throws
  /// Fills `workspace.outputGradient` and `figures` from `workspace.output`.
  func differentiate(_ workspace: ConvolutionalWorkspace<B>, figures: B.Floats) throws
  /// After the step's update.
  func finish(
    step: Int, _ control: CodeControl<B>, _ network: ConvolutionalNetwork<B>) throws
}

/// What a trained network is: its parameters and its running statistics, in the order of the
/// network's `parameterLayout` and `statisticsLayout`.
package struct ConvolutionalWeights: Sendable {
  package let parameters, statistics: [Float]
}

/// What a step did, for doing it again elsewhere.
struct ConvolutionalStepRecord {
  /// Counted from 1.
  let step: Int
  /// Of learning, which may depend on the time.
  let rate: Double
  let before, after: TrainingState
  let figures: [Float]
}

/// Trains a convolutional network on batches of crops.
package final class ConvolutionalTrainer<B: Backend> {
  package let configuration: ConvolutionalTraining
  package let network: ConvolutionalNetwork<B>
  package private(set) var stepsDone = 0
  private let backend: B
  /// The backend's `executionFailureCount` before this trainer wrote anything.
  private let earlierFailures: Int
  private let optimizer: Optimizer<B>
  private let workspace: ConvolutionalWorkspace<B>
  package private(set) var control: CodeControl<B>
  /// Of the arena, what is trained.
  private let trained: Range<Int>
  /// The network that labels images without labels, once the run has come that far.
  package private(set) var teacher: ConvolutionalWeights?
  /// What is done with the teacher.
  struct Teaching {
    /// The share of the run after which the network becomes the teacher, and the rate starts over.
    let start: Double
    /// Is called once, also where the run goes on from a state that has a teacher: with it, with how
    /// many steps the whole run has, and with what saves and stops the run where that is wished.
    let begin:
      (_ teacher: ConvolutionalWeights, _ steps: Int, _ pause: () throws -> Void) throws
        -> Void
  }
  var teaching: Teaching?
  /// Of the run, before this trainer went on with it.
  private var earlierSeconds = 0.0
  /// How many steps there are from one that `verify` is called with to the next; none when nil.
  private var verificationInterval: Int?
  private var verify: (ConvolutionalStepRecord) throws -> Void = { _ in }

  /// - Parameters:
  ///   - parameters: in the order of the network's `parameterLayout`.
  ///   - statistics: in the order of its `statisticsLayout`.
  package init(
    _ configuration: ConvolutionalTraining, parameters: [Float], statistics: [Float],
    freezesFrontEnd: Bool = false, on backend: B
  ) throws {
    precondition(configuration.problem == nil, configuration.problem ?? "")
    self.configuration = configuration
    self.backend = backend
    earlierFailures = backend.executionFailureCount
    network = try ConvolutionalNetwork(
      configuration.network, parameters: parameters, statistics: statistics,
      freezesFrontEnd: freezesFrontEnd, on: backend)
    optimizer = try Optimizer(configuration.optimizer, for: network.arena, on: backend)
    workspace = try ConvolutionalWorkspace(
      configuration.network, batch: configuration.batchSize, height: configuration.cropSize,
      width: configuration.cropSize, purpose: .training, on: backend)
    var steps = 1000
    if case .steps(let count) = configuration.length { steps = count }
    control = try CodeControl(
      configuration.network.code, latents: configuration.network.latents,
      settings: configuration.code, totalSteps: steps, on: backend)
    // Normalised pre-activations have a deviation of about 1.
    control.setBandwidth(0.5)
    let layout = network.arena.layout
    let first =
      freezesFrontEnd
      ? layout.slots.first { $0.name.hasPrefix("decoder.") || $0.name.hasPrefix("head.") }?.offset
        ?? 0 : 0
    trained = first..<layout.count
  }

  /// Trains to the end of the configured length.
  ///
  /// - Parameters:
  ///   - keeper: saves the run; it is not saved when nil.
  ///   - report: called after every step whose figures have come back.
  /// - Throws: `TrainingError` where the loss is not finite, `RunInterrupted`.
  func run(
    _ task: some TrainingTask<B>, keeper: RunKeeper<ConvolutionalState>? = nil,
    report: (StepReport) throws -> Void
  ) throws {
    let start = ContinuousClock.now
    let earlier = earlierSeconds
    func secondsSoFar() -> Double { earlier + (ContinuousClock.now - start) / .seconds(1) }
    var pending: [(step: Int, figures: any PendingDownload)] = []
    func take() throws {
      let (step, figures) = pending.removeFirst()
      let values = try figures.wait()
      guard values.allSatisfy(\.isFinite) else {
        throw TrainingError.unsuitableData(
          "the loss is no longer finite after step \(step): try a smaller --learning-rate")
      }
      let seconds = secondsSoFar()
      let expected = configuration.length.expectedSteps(done: step, seconds: seconds)
      // When the time is over there may be steps whose figures are still to come.
      try report(
        StepReport(
          step: step, steps: max(expected, stepsDone), seconds: seconds, figures: values))
    }
    // Two sets of figures, so that a step is formed while the one before is computed.
    let figures = try (0..<2).map { _ in
      try backend.allocate([task.figureCount], of: Float.self)
    }
    func currentState() throws -> ConvolutionalState? {
      // What is reported of the steps so far belongs to the state.
      while !pending.isEmpty { try take() }
      return try state(seconds: secondsSoFar())
    }
    func keep(isEnd: Bool) throws {
      try keeper?.keep(
        RunMoment(step: stepsDone, epoch: nil, isEnd: isEnd), state: currentState)
    }
    var (isBetweenSteps, isTaught) = (true, false)
    do {
      while true {
        let seconds = secondsSoFar()
        // However short a run is, it has a step.
        let progress =
          stepsDone == 0 ? 0 : configuration.length.progress(done: stepsDone, seconds: seconds)
        if progress >= 1 { break }
        if let teaching, !isTaught, progress >= teaching.start {
          let weights = try teacher ?? weights()
          try teaching.begin(
            weights, configuration.length.expectedSteps(done: stepsDone, seconds: seconds)
          ) { try keeper?.stopIfRequested(state: currentState) }
          (teacher, isTaught) = (weights, true)
          continue
        }
        let step = stepsDone + 1
        isBetweenSteps = false
        let isVerified = verificationInterval.map { step.isMultiple(of: $0) } ?? false
        let before = isVerified ? try trainingState() : nil
        let rate = configuration.rate(at: progress, restart: teaching?.start)
        let own = figures[step % figures.count]
        try runStep(task, step: step, rate: rate, figures: own)
        pending.append((step, try backend.beginDownload(own)))
        stepsDone = step
        if let before {
          try verify(
            ConvolutionalStepRecord(
              step: step, rate: rate, before: before, after: try trainingState(),
              figures: try backend.download(own)))
        }
        if pending.count == figures.count { try take() }
        isBetweenSteps = true
        if configuration.length.progress(done: step, seconds: 0) < 1 { try keep(isEnd: false) }
      }
      while !pending.isEmpty { try take() }
      try keep(isEnd: true)
    } catch let error where isBetweenSteps && !(error is RunInterrupted) {
      // The device's memory is as it was between two steps, if a call was refused and no command
      // before may have ended midway; else the last checkpoint stays.
      if let keeper, (try? backend.finish()) != nil, let state = try? currentState(),
        backend.executionFailureCount == earlierFailures
      {
        try? keeper.save(state)
        try? keeper.finish()
      }
      throw error
    }
  }

  /// Has steps of the run done again.
  ///
  /// - Parameter repeating: does the record's step again, and returns what differs, in words. It must
  ///   not hold this trainer, which holds it.
  func verifySteps<Host: Backend>(
    by verification: StepVerification<Host>?,
    repeating: @escaping (ConvolutionalStepRecord, CheckedBackend<B, Host>) throws -> String?
  ) {
    guard let verification else { return }
    verificationInterval = verification.interval
    verify = { [backend] record in
      try verification.verify(step: record.step, on: backend) { try repeating(record, $0) }
    }
  }

  private func runStep(
    _ task: some TrainingTask<B>, step: Int, rate: Double, figures: B.Floats
  ) throws {
    try task.prepare(step: step, workspace)
    control.begin(step: step, seed: configuration.seed)
    try network.forward(
      workspace, momentum: configuration.momentum(step: step, rate: rate), step: control.step)
    try task.differentiate(workspace, figures: figures)
    try network.backward(workspace, step: control.step)
    try update(rate: rate)
    try task.finish(step: step, control, network)
  }

  private func update(rate: Double) throws {
    try optimizer.beginStep(network.arena, on: backend)
    try optimizer.update(trained, of: network.arena, learningRate: rate, on: backend)
    if configuration.network.code == .jumpReLU, !network.isFrontEndFrozen,
      let threshold = network.code.threshold
    {
      try backend.clampBelow(threshold, bound: 0)
    }
    try optimizer.endStep(network.arena, on: backend)
  }

  /// Runs forward alone over `batches` batches, whose mean statistics become the running ones.
  func measureStatistics(_ task: some TrainingTask<B>, batches: Int) throws {
    for step in 1...max(1, batches) {
      try task.prepare(step: step, workspace)
      try network.forward(workspace, momentum: 1 / Float(step), step: control.step)
    }
  }

  /// The parameters to be kept: their average where one is formed.
  package func parameters() throws -> [Float] {
    try backend.download(optimizer.average ?? network.arena.values)
  }

  package func statistics() throws -> [Float] { try backend.download(network.statistics) }

  /// Both, as they are to be kept.
  func weights() throws -> ConvolutionalWeights {
    ConvolutionalWeights(parameters: try parameters(), statistics: try statistics())
  }
}

// MARK: State

extension ConvolutionalTrainer {
  private var ownTensors: [(name: String, tensor: B.Floats)] {
    [("parameters", network.arena.values), ("statistics", network.statistics)]
  }

  /// All of the run between two steps; nil where it is no longer finite and not worth keeping.
  private func state(seconds: Double) throws -> ConvolutionalState? {
    let training = try trainingState()
    return training.isFinite ? ConvolutionalState(training: training, seconds: seconds) : nil
  }

  private func trainingState() throws -> TrainingState {
    var training = try optimizer.state(on: backend)
    training.tensors += try ownTensors.map { ($0.name, try backend.download($0.tensor)) }
    training.tensors += try control.state(on: backend)
    if let teacher {
      training.tensors += [
        ("teacher_parameters", teacher.parameters), ("teacher_statistics", teacher.statistics),
      ]
    }
    return training
  }

  /// Does the step of a run with the same configuration again.
  ///
  /// - Returns: the first element that differs from the run, in words; nil where none does.
  func difference(
    repeating record: ConvolutionalStepRecord, _ task: some TrainingTask<B>
  ) throws -> String? {
    try restore(ConvolutionalState(training: record.before, seconds: 0))
    let figures = try backend.allocate([task.figureCount], of: Float.self)
    try runStep(task, step: record.step, rate: record.rate, figures: figures)
    var (run, again) = (record.after, try trainingState())
    run.tensors.append(("figures", record.figures))
    again.tensors.append(("figures", try backend.download(figures)))
    return run.difference(from: again, layout: network.arena.layout)
  }

  /// Goes on from `state`, that of a run of the same configuration and images.
  ///
  /// - Throws: `TrainingError.unsuitableData` where it is of another run.
  func restore(_ state: ConvolutionalState) throws {
    try optimizer.restore(state.training.part(optimizer.stateNames), on: backend)
    func values(_ name: String, for tensor: B.Floats) throws -> [Float] {
      try state.training.tensor(name, count: tensor.count)
    }
    try network.adopt(
      parameters: values("parameters", for: network.arena.values),
      statistics: values("statistics", for: network.statistics))
    try control.restore(state.training, on: backend)
    if state.training["teacher_parameters"] != nil {
      teacher = ConvolutionalWeights(
        parameters: try state.training.tensor(
          "teacher_parameters", count: network.arena.layout.count),
        statistics: try state.training.tensor(
          "teacher_statistics", count: network.statistics.count))
    }
    stepsDone = state.training.stepCount
    earlierSeconds = state.seconds
  }
}
