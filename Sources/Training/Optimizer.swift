import Compute
import Foundation
import Networks

/// Steps over a parameter arena, with everything that lives from step to step in device memory.
///
/// A step is `beginStep`, then an update of every parameter, then `endStep`; `step` is all of it at
/// once. Parameters whose update is part of another operation, as in `sparseUpdate`, take their
/// moments from `adamParameter`.
package final class Optimizer<B: Backend> {
  package let configuration: OptimizerConfiguration
  /// Steps taken.
  package private(set) var stepCount = 0
  /// ||g|| of all gradients before the last step's clipping, `[1]`; nil without clipping.
  package let gradientNorm: B.Floats?
  /// Adam's two moments or the velocity, each of the arena's shape.
  private let moments: [B.Floats]
  private let runningAverage: B.Floats?

  package init(
    _ configuration: OptimizerConfiguration, for arena: ParameterArena<B>, on backend: B
  ) throws {
    precondition(configuration.problem == nil, configuration.problem ?? "")
    self.configuration = configuration
    func zeros() throws -> B.Floats {
      let tensor = try backend.allocate(arena.values.shape, of: Float.self)
      try backend.fill(tensor, with: 0)
      return tensor
    }
    moments = try configuration.method.momentNames.map { _ in try zeros() }
    runningAverage = try configuration.averageDecay.map { _ in try zeros() }
    gradientNorm = try configuration.gradientLimit.map { _ in
      try backend.allocate([1], of: Float.self)
    }
  }

  /// One step of all parameters by the arena's gradients, which clipping may scale.
  package func step(_ arena: ParameterArena<B>, learningRate: Double, on backend: B) throws {
    try beginStep(arena, on: backend)
    try update(0..<arena.values.count, of: arena, learningRate: learningRate, on: backend)
    try endStep(arena, on: backend)
  }

  /// Counts the step and clips all gradients of the arena by their norm.
  package func beginStep(_ arena: ParameterArena<B>, on backend: B) throws {
    stepCount += 1
    if let limit = configuration.gradientLimit, let gradientNorm {
      try backend.clipNorm(of: arena.gradients, limit: Float(limit), norm: gradientNorm)
    }
  }

  /// Updates one parameter of the arena; between `beginStep` and `endStep`.
  package func update(
    _ slot: ParameterSlot, of arena: ParameterArena<B>, learningRate: Double, on backend: B
  ) throws {
    try update(
      slot.offset..<slot.offset + slot.shape.count, of: arena, learningRate: learningRate,
      on: backend)
  }

  /// Updates the arena's elements `range`; between `beginStep` and `endStep`.
  package func update(
    _ range: Range<Int>, of arena: ParameterArena<B>, learningRate: Double, on backend: B
  ) throws {
    func part(_ tensor: B.Floats) -> B.Floats {
      tensor.view(at: range.lowerBound, shape: [range.count])
    }
    switch configuration.method {
    case .adam:
      try backend.adam(
        parameters: part(arena.values), gradients: part(arena.gradients),
        firstMoment: part(moments[0]), secondMoment: part(moments[1]),
        step: adamStep(learningRate: learningRate))
    case .sgd(let momentum):
      try backend.momentumStep(
        parameters: part(arena.values), gradients: part(arena.gradients),
        velocity: part(moments[0]), rate: Float(learningRate), momentum: Float(momentum))
    }
  }

  /// Takes the step's parameters into the average.
  ///
  /// The average after t steps is the mean of p_1 ... p_t with weights decay^(t - i): the plain
  /// moving average from zero, divided by 1 - decay^t. It is formed directly, as
  /// average_t = d_t average_(t-1) + (1 - d_t) p_t with d_t = decay (1 - decay^(t-1)) / (1 - decay^t),
  /// so that it starts as a copy, can be read at any time, and a short run's average does not hang on
  /// the first step, as one that starts as a copy and then goes on with the plain decay does.
  package func endStep(_ arena: ParameterArena<B>, on backend: B) throws {
    guard let decay = configuration.averageDecay, let runningAverage else { return }
    let before = decay * (1 - pow(decay, Double(stepCount - 1)))
    try backend.accumulateAverage(
      of: arena.values, decay: Float(before / (1 - pow(decay, Double(stepCount)))),
      into: runningAverage)
  }

  /// The average of the parameters over the steps, laid out as the arena; nil where none is kept and
  /// before the first step.
  package var average: B.Floats? { stepCount > 0 ? runningAverage : nil }

  /// The numbers of the current step for operations that update parameters themselves.
  ///
  /// - Precondition: the method is Adam, and `beginStep` was called.
  package func adamStep(learningRate: Double) -> AdamStep {
    guard case .adam(let beta1, let beta2, let epsilon) = configuration.method else {
      preconditionFailure("the optimizer is not Adam")
    }
    return AdamStep(
      step: stepCount, learningRate: learningRate, beta1: beta1, beta2: beta2, epsilon: epsilon)
  }

  /// A parameter of the arena with its moments.
  ///
  /// - Precondition: the method is Adam.
  package func adamParameter(
    _ slot: ParameterSlot, of arena: ParameterArena<B>
  ) -> AdamParameter<B.Storage> {
    let views = momentViews(of: slot)
    precondition(views.count == 2, "the optimizer is not Adam")
    return AdamParameter(
      value: arena.value(slot), firstMoment: views[0], secondMoment: views[1])
  }

  /// What is remembered of a parameter's gradients, each of its shape: Adam's two moments or the
  /// velocity.
  package func momentViews(of slot: ParameterSlot) -> [B.Floats] {
    moments.map { $0.view(at: slot.offset, shape: slot.shape) }
  }
}

extension OptimizerConfiguration.Method {
  /// What the method keeps from step to step, by the names in its state.
  fileprivate var momentNames: [String] {
    switch self {
    case .adam: ["first_moment", "second_moment"]
    case .sgd: ["velocity"]
    }
  }
}

extension Optimizer {
  private var named: [(name: String, tensor: B.Floats)] {
    zip(configuration.method.momentNames, moments).map { ($0, $1) }
      + (runningAverage.map { [("average", $0)] } ?? [])
  }

  /// What the tensors of its state are called.
  package var stateNames: [String] { named.map(\.name) }

  /// What a checkpoint must hold for the run to continue with the same bits, besides the parameters
  /// and the configuration.
  package func state(on backend: B) throws -> TrainingState {
    TrainingState(
      stepCount: stepCount,
      tensors: try named.map { ($0.name, try backend.download($0.tensor)) })
  }

  /// Continues from `state`, that of an optimizer of the same configuration and arena.
  ///
  /// - Throws: `TrainingError.unsuitableData` where tensors are missing, unknown or of another size;
  ///   then nothing has changed.
  package func restore(_ state: TrainingState, on backend: B) throws {
    // Far more than any run has, and far from where counting on would overflow.
    guard (0...1 << 48).contains(state.stepCount) else {
      throw TrainingError.unsuitableData(
        "the optimizer's state has a step count of \(state.stepCount)")
    }
    let wanted = named
    guard state.tensors.map(\.name).sorted() == wanted.map(\.name).sorted() else {
      throw TrainingError.unsuitableData(
        "the optimizer's state has \(Self.list(state.tensors.map(\.name))), not "
          + Self.list(wanted.map(\.name)))
    }
    for (name, values) in state.tensors {
      guard let tensor = wanted.first(where: { $0.name == name })?.tensor,
        values.count == tensor.count
      else {
        throw TrainingError.unsuitableData(
          "the optimizer's \(name) has \(values.count) values, not \(moments[0].count)")
      }
    }
    for (name, values) in state.tensors {
      guard let tensor = wanted.first(where: { $0.name == name })?.tensor else { continue }
      try backend.upload(values, into: tensor)
    }
    stepCount = state.stepCount
  }

  private static func list(_ names: [String]) -> String {
    names.isEmpty ? "nothing" : names.joined(separator: ", ")
  }
}
