/// How long a run is, and how far along it a step lies.
package enum TrainingLength: Codable, Hashable, Sendable {
  /// The same bits each time on the same device.
  case steps(Int)
  /// As many steps as fit; how many depends on the machine and on what else it does.
  case minutes(Double)

  /// The share of the run that is done, 0...1.
  ///
  /// - Parameter done: steps.
  package func progress(done: Int, seconds: Double) -> Double {
    switch self {
    case .steps(let steps): min(1, Double(done) / Double(max(1, steps)))
    case .minutes(let minutes): min(1, seconds / (60 * minutes))
    }
  }

  /// How many steps the run has, as far as the steps so far tell.
  package func expectedSteps(done: Int, seconds: Double) -> Int {
    switch self {
    case .steps(let steps): return steps
    case .minutes(let minutes):
      guard done > 0, seconds > 0 else { return 1000 }
      let expected = max(done, Int(min(0x1p53, 60 * minutes / seconds * Double(done)).rounded()))
      // While there is time, another step is begun.
      return seconds < 60 * minutes ? max(done + 1, expected) : expected
    }
  }

  package var problem: String? {
    switch self {
    case .steps(let steps): steps >= 1 ? nil : "a run of \(steps) steps"
    case .minutes(let minutes):
      minutes > 0 && minutes.isFinite ? nil : "a run of \(minutes) minutes"
    }
  }
}
