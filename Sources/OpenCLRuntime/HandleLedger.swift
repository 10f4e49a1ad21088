/// Counts the OpenCL objects that are alive, of those made while it was installed: the tests' way
/// to see leaks, also on paths that throw.
///
///     let ledger = HandleLedger()
///     try ledger.observe { try doWork() }
///     #expect(ledger.liveCount == 0)
///
/// It is carried by a task-local value, so that concurrent tests do not see each other's objects.
package final class HandleLedger: Sendable {
  @TaskLocal static var current: HandleLedger?
  private let counts = Locked((live: 0, made: 0))

  package init() {}

  /// How many objects made under this ledger have not been released.
  package var liveCount: Int { counts.withLock { $0.live } }

  /// How many objects have been made under this ledger.
  package var madeCount: Int { counts.withLock { $0.made } }

  /// Runs `body` with this ledger installed.
  package func observe<Result>(_ body: () throws -> Result) rethrows -> Result {
    try Self.$current.withValue(self, operation: body)
  }

  func made() {
    counts.withLock {
      $0.live += 1
      $0.made += 1
    }
  }

  func released() { counts.withLock { $0.live -= 1 } }
}
