import Compute
import Foundation
import Networks
import RandomNumbers

/// How the sparsity of a code is trained.
package struct CodeTraining: Codable, Hashable, Sendable {
  /// The weight of the penalty: beta of alpha ||x - xhat||^2 + beta ||z||_0, or lambda of an L1.
  package var beta: Double
  /// The mean L0 to be held by moving the penalty's weight; nil for a fixed weight.
  package var target: TargetL0?
  /// The falling K of a TopK or BatchTopK; nil for the same K throughout.
  package var annealing: AnnealedCount?

  package init(beta: Double = 0, target: TargetL0? = nil, annealing: AnnealedCount? = nil) {
    self.beta = beta
    self.target = target
    self.annealing = annealing
  }
}

/// What lives from step to step of a code's training: the penalty's weight and its control, the K,
/// the gates' noise, the learned threshold of a BatchTopK.
package struct CodeControl<B: Backend> {
  package let code: Code
  package let latents: Int
  package let settings: CodeTraining
  /// Of the whole run.
  package let totalSteps: Int
  package private(set) var step: CodeStep<B>

  package init(
    _ code: Code, latents: Int, settings: CodeTraining, totalSteps: Int, on backend: B
  ) throws {
    self.code = code
    self.latents = latents
    self.settings = settings
    self.totalSteps = totalSteps
    step = try CodeStep(latents: latents, on: backend)
    let weight = Float(settings.beta)
    try backend.upload(
      [weight, weight > 0 ? Float(portableLogarithm(settings.beta)) : 0], into: step.penalty)
  }

  /// The width of the window in which a JumpReLU's thresholds feel their gradient.
  package mutating func setBandwidth(_ bandwidth: Float) { step.bandwidth = bandwidth }

  /// Before step `index`, counted from 1.
  package mutating func begin(step index: Int, seed: UInt64) {
    step.count = settings.annealing?.value(step: index, totalSteps: totalSteps)
    step.noise = GateNoise(step: index, seed: seed)
  }

  /// After step `index`.
  ///
  /// - Parameters:
  ///   - l0: numbers whose mean is held against the target times `scale`.
  ///   - threshold: of a BatchTopK, as learned.
  package func end(
    step index: Int, l0: B.Floats, scale: Double = 1, threshold: B.Floats?, on backend: B
  ) throws {
    if let target = settings.target, code.hasPenalty {
      var control = target.control(step: index, totalSteps: totalSteps, latents: latents)
      control.target *= Float(scale)
      try backend.controlPenalty(rowL0: l0, control: step.penalty, settings: control)
    }
    if case .batchTopK = code, let threshold {
      // As an average from zero divided by 1 - decay^step: the first batch's, then a mean. While K
      // falls each batch's own counts: those of a larger K are no thresholds of this one.
      let averaged = Double(max(1, index - (settings.annealing?.steps(of: totalSteps) ?? 0)))
      let decay = thresholdDecay
      let before = decay * (1 - pow(decay, averaged - 1))
      try backend.accumulateAverage(
        of: step.batchThreshold,
        decay: Float(before / (1 - pow(decay, averaged))), into: threshold)
    }
  }

  /// Of the mean over the last hundred batches or so; in a short run, over its last tenth, since codes
  /// still change much.
  private var thresholdDecay: Double { 1 - 1 / min(100, max(1, Double(totalSteps) / 10)) }

  /// The weight of the penalty as it now is, and whether its control has come to a bound.
  package func penaltyWeight(on backend: B) throws -> (weight: Double, isSaturated: Bool) {
    let state = try backend.download(step.penalty)
    guard let target = settings.target, code.hasPenalty else { return (settings.beta, false) }
    let bounds = target.control(step: totalSteps, totalSteps: totalSteps, latents: latents)
    return (Double(state[0]), state[1] <= bounds.lower || state[1] >= bounds.upper)
  }
}

extension CodeControl {
  private static var bandwidthName: String { "bandwidth" }

  private var ownTensors: [(name: String, tensor: B.Floats)] {
    [("penalty", step.penalty), ("batch_threshold", step.batchThreshold)]
  }

  /// What the control carries from step to step, besides the threshold among the parameters.
  package func state(on backend: B) throws -> [(name: String, values: [Float])] {
    try ownTensors.map { ($0.name, try backend.download($0.tensor)) }
      + [(Self.bandwidthName, [step.bandwidth])]
  }

  /// - Throws: `TrainingError.unsuitableData` where tensors are missing or of another size.
  package mutating func restore(_ state: TrainingState, on backend: B) throws {
    for (name, tensor) in ownTensors {
      try backend.upload(try state.tensor(name, count: tensor.count), into: tensor)
    }
    let bandwidth = try state.tensor(Self.bandwidthName, count: 1)[0]
    guard bandwidth > 0, bandwidth.isFinite else {
      throw TrainingError.unsuitableData("the state of training has a bandwidth of \(bandwidth)")
    }
    step.bandwidth = bandwidth
  }
}

extension TrainingState {
  /// - Throws: `TrainingError.unsuitableData` where it is missing or of another size.
  package func tensor(_ name: String, count: Int) throws -> [Float] {
    guard let values = self[name], values.count == count else {
      throw TrainingError.unsuitableData("the state of training lacks a fitting \(name)")
    }
    return values
  }
}
