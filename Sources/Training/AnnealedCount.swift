import Foundation

/// A number of latents that falls over the first part of a run: k starts large, so that every latent
/// is trained, and ends at what was asked for.
///
/// With q = min(1, (s - 1) / (fraction * T)), s the step, counted from 1, and T all steps:
///
///     linear        start + (end - start) q
///     cosine        end + (start - end) (1 + cos(pi q)) / 2
///     exponential   start (end / start)^q
///
/// rounded to the nearest whole number. After the fraction it is `end`.
package struct AnnealedCount: Codable, Hashable, Sendable {
  package enum Shape: String, Codable, CaseIterable, Sendable { case linear, cosine, exponential }

  package var start: Int
  package var end: Int
  /// Of all steps, 0...1; with 0 the count is `end` throughout.
  package var fraction: Double
  package var shape: Shape

  package init(from start: Int, to end: Int, over fraction: Double, shape: Shape = .linear) {
    self.start = start
    self.end = end
    self.fraction = fraction
    self.shape = shape
  }

  /// How many of a run's steps have a count that is still to fall, or only now has fallen to `end`.
  package func steps(of totalSteps: Int) -> Int {
    start == end ? 0 : Int((fraction * Double(totalSteps)).rounded(.up))
  }

  /// The count of step `step` of a run of `totalSteps`.
  ///
  /// - Parameter step: counted from 1.
  package func value(step: Int, totalSteps: Int) -> Int {
    precondition(step >= 1, "steps are counted from 1")
    let (done, length) = (Double(step - 1), fraction * Double(totalSteps))
    guard done < length else { return end }
    let share = done / length
    let (first, last) = (Double(start), Double(end))
    let value =
      switch shape {
      case .linear: first + (last - first) * share
      case .cosine: last + (first - last) * (1 + cos(.pi * share)) / 2
      case .exponential: first * pow(last / first, share)
      }
    return Int(value.rounded())
  }

  /// What is wrong with it, in one line.
  package var problem: String? {
    if start < 1 || end < 1 { return "a count annealed from \(start) to \(end) is not at least 1" }
    if max(start, end) > 1 << 24 { return "a count annealed from \(start) to \(end)" }
    return (0...1).contains(fraction)
      ? nil : "a count annealed over \(fraction) of the run: the share is not within 0 and 1"
  }
}
