import Compute
import Foundation
import RandomNumbers

/// A mean L0 to be held by a closed loop on the penalty's weight, and the loop's constants.
///
/// The target falls from all latents to its value over the first `fraction` of the run, by the same
/// factor in each step, so that every latent is trained before few are left; see `CodeOperations.controlPenalty` for the loop.
package struct TargetL0: Codable, Hashable, Sendable {
  package var value: Double
  /// Of all steps, 0...1.
  package var fraction: Double
  package var proportionalGain: Double
  /// Over a whole run: the gain of a step is this by the number of steps, at most 0.05, so that short
  /// runs come to their target as well.
  package var integralGain: Double
  /// Bounds of the weight.
  package var lower: Double
  package var upper: Double

  package init(
    _ value: Double, fraction: Double = 0.2, proportionalGain: Double = 2,
    integralGain: Double = 47, lower: Double = 1e-7, upper: Double = 1
  ) {
    self.value = value
    self.fraction = fraction
    self.proportionalGain = proportionalGain
    self.integralGain = integralGain
    self.lower = lower
    self.upper = upper
  }

  package var problem: String? {
    if !(value > 0 && value.isFinite) { return "a target L0 of \(value) is not above 0" }
    if !(0...1).contains(fraction) { return "a target L0 that falls over \(fraction) of the run" }
    if !(proportionalGain.isFinite && integralGain.isFinite) {
      return "a target L0 held with the gains \(proportionalGain) and \(integralGain)"
    }
    return lower.isNormal && upper.isFinite && lower > 0 && lower <= upper
      ? nil : "a target L0 held with a weight from \(lower) to \(upper)"
  }

  /// The loop's constants in step `step` of `totalSteps`, counted from 1.
  func control(step: Int, totalSteps: Int, latents: Int) -> PenaltyControl {
    let done = min(1, Double(step - 1) / max(1, fraction * Double(totalSteps)))
    let target = Double(latents) * pow(value / Double(latents), done)
    return PenaltyControl(
      target: Float(target), proportionalGain: Float(proportionalGain),
      integralGain: Float(min(0.05, integralGain / Double(max(1, totalSteps)))),
      lower: Float(portableLogarithm(lower)),
      upper: Float(portableLogarithm(upper)))
  }
}

/// What keeps latents alive: the encoder's bias of every latent that fires far less often than the
/// others is raised, a little in each step and less towards the end of the run.
///
/// With f_j the moving average of the share of samples for which latent j is not zero: in each step
/// where f_j < threshold * K / latents, b_j += increment (1 - q^power), q the share of the run that is
/// done. See `OptimizerOperations.balanceLatents`. The idea is that of balancing mixtures of experts
/// without a loss (Wang et al. 2024, arXiv 2408.15664).
///
/// With a rescue, whose increment and threshold are constant, its two take the place of these as soon
/// as these would raise by less: so to the end no latent stays silent, and the others are let be.
package struct LatentBalance: Codable, Hashable, Sendable {
  /// What is done once little else is: `threshold` and `increment` as those of the balance.
  package struct Rescue: Codable, Hashable, Sendable {
    package var increment: Double
    package var threshold: Double

    package init(increment: Double, threshold: Double) {
      self.increment = increment
      self.threshold = threshold
    }
  }

  package var increment: Double
  package var threshold: Double
  /// Of the moving average.
  package var decay: Double
  package var power: Double
  /// Absent from models of before there were rescues.
  package var rescue: Rescue?

  package init(
    increment: Double = 0.01, threshold: Double = 0.03, decay: Double = 0.98, power: Double = 2,
    rescue: Rescue? = nil
  ) {
    self.increment = increment
    self.threshold = threshold
    self.decay = decay
    self.power = power
    self.rescue = rescue
  }

  /// What a step raises biases by, and below which multiple of the expected share, where `done` of
  /// the run is done, 0...1.
  package func raise(done: Double) -> (increment: Double, threshold: Double) {
    let falling = increment * (1 - pow(done, power))
    guard let rescue, falling < rescue.increment else { return (falling, threshold) }
    return (rescue.increment, rescue.threshold)
  }

  package var problem: String? {
    let increments = [increment, rescue?.increment ?? 0]
    if let wrong = increments.first(where: { !($0 >= 0 && $0.isFinite) }) {
      return "a balance of \(wrong) a step"
    }
    let thresholds = [threshold, rescue?.threshold ?? 0]
    if let wrong = thresholds.first(where: { !($0 >= 0 && $0.isFinite) }) {
      return "a balance below \(wrong)"
    }
    if !(power > 0 && power.isFinite) { return "a balance that falls with the power \(power)" }
    return (0..<1).contains(decay) ? nil : "a balance's average with the decay \(decay)"
  }
}
