import OpenCLRuntime

/// The device's own time for each kind of launch, from OpenCL event profiling.
package final class OperationProfile {
  package struct Row: Sendable {
    package let label: String
    package let launches: Int
    /// Seconds on the device in all.
    package let seconds: Double
  }

  private var pending: [(label: String, event: Event)] = []
  private var totals: [String: (launches: Int, nanoseconds: UInt64)] = [:]

  func add(_ label: String, _ event: Event) { pending.append((label, event)) }

  /// Forgets all launches so far.
  package func reset() {
    pending = []
    totals = [:]
  }

  /// What took how long since `reset`, longest first; call it after `finish`.
  package func rows() throws -> [Row] {
    for (label, event) in pending {
      let times = try event.profile()
      let before = totals[label] ?? (0, 0)
      totals[label] = (before.launches + 1, before.nanoseconds + (times.ended - times.started))
    }
    pending = []
    return totals.map {
      Row(label: $0.key, launches: $0.value.launches, seconds: Double($0.value.nanoseconds) * 1e-9)
    }.sorted { $0.seconds > $1.seconds }
  }
}
