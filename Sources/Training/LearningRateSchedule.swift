import Foundation

/// How the learning rate moves over a run: up in a warm-up, level, then down.
///
/// With s the step, counted from 1, W the steps of the warm-up, S the steps before the decay, T all
/// steps of the run and q = min(1, (s - 1 - S) / (T - S)):
///
///     s <= W       base * s / W
///     W < s <= S   base
///     S < s        base * (1 - q)               linear
///                  base * (1 + cos(pi q)) / 2   cosine
///
/// so that the first step after the warm-up has the whole rate, and the last step of the run is the
/// last before zero: no step is taken in vain.
package struct LearningRateSchedule: Codable, Hashable, Sendable {
  /// The way down; the raw value is its name on the command line.
  package enum Kind: String, Codable, CaseIterable, Sendable {
    /// Stays at the base rate.
    case constant
    /// Falls to zero in a straight line.
    case linear
    /// Falls to zero along half a cosine.
    case cosine
  }

  package var kind: Kind
  /// Epochs, or parts of one, in which the rate rises from zero to the base rate.
  package var warmup: Double
  /// The epoch after which the rate falls; the end of the warm-up when nil.
  package var decayStart: Double?

  package init(_ kind: Kind = .constant, warmup: Double = 0, decayStart: Double? = nil) {
    self.kind = kind
    self.warmup = warmup
    self.decayStart = decayStart
  }

  /// The rate of step `step` of the run.
  ///
  /// - Parameters:
  ///   - base: the rate that the schedule scales.
  ///   - step: counted from 1 over the whole run.
  ///   - epochs: of the whole run, also of one that is continued.
  package func rate(base: Double, step: Int, stepsPerEpoch: Int, epochs: Int) -> Double {
    precondition(step >= 1, "steps are counted from 1")
    let perEpoch = Double(stepsPerEpoch)
    let rising = warmup * perEpoch
    if Double(step) <= rising { return base * Double(step) / rising }
    let start = (decayStart ?? warmup) * perEpoch
    let done = Double(step - 1) - start
    guard kind != .constant, done > 0 else { return base }
    let falling = Double(epochs) * perEpoch - start
    let share = falling > 0 ? min(1, done / falling) : 1
    switch kind {
    case .constant: return base
    case .linear: return base * (1 - share)
    case .cosine: return base * (1 + cos(.pi * share)) / 2
    }
  }

  /// What is wrong with it in itself, in one line.
  package var problem: String? {
    guard warmup.isFinite, warmup >= 0 else {
      return "a warm-up of \(warmup) epochs is not zero or more"
    }
    guard let decayStart else { return nil }
    guard decayStart.isFinite, decayStart >= 0 else {
      return "a decay that starts after \(decayStart) epochs does not start at zero or later"
    }
    if kind == .constant {
      return "a constant schedule has no decay that could start after \(decayStart) epochs"
    }
    return decayStart >= warmup
      ? nil : "the decay starts after \(decayStart) epochs, within the warm-up of \(warmup)"
  }

  /// What is wrong with it in a run of `epochs` epochs, in one line.
  package func problem(epochs: Int) -> String? {
    if let problem { return problem }
    if warmup > Double(epochs) {
      return "the warm-up of \(warmup) epochs is longer than the run of \(epochs)"
    }
    if let decayStart, decayStart > Double(epochs) {
      return "the decay starts after \(decayStart) epochs, and the run has \(epochs)"
    }
    return nil
  }
}
