/// The time that a process has spent in a loop of waiting. The time in which it did not run, since it
/// was suspended or the machine asleep, shows as two rounds that are far apart, and hardly counts.
package struct PolledTime {
  /// The most that counts between two rounds, in seconds: a loaded machine's are less far apart.
  private static let longestGap = 1.0

  private var seconds = 0.0
  private let now: () -> ContinuousClock.Instant
  private var last: ContinuousClock.Instant

  package init(now: @escaping () -> ContinuousClock.Instant = { .now }) {
    self.now = now
    last = now()
  }

  /// To be called in each round.
  ///
  /// - Returns: the seconds so far.
  package mutating func poll() -> Double {
    let current = now()
    seconds += min(Self.longestGap, max(0, (current - last) / .seconds(1)))
    last = current
    return seconds
  }
}
