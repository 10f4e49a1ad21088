/// How often something has failed.
package final class FailureCount: Sendable {
  private let counts = Locked((all: 0, ofExecution: 0))

  package var value: Int { counts.withLock { $0.all } }
  /// Of those, after how many a command may have ended midway, or not begun: the command itself said
  /// so, or a call that waits for commands failed, which some drivers have say so. The others are
  /// calls that were refused before they did anything.
  package var ofExecution: Int { counts.withLock { $0.ofExecution } }

  func note(ofExecution: Bool = false) {
    counts.withLock {
      $0.all += 1
      if ofExecution { $0.ofExecution += 1 }
    }
  }

  /// Counts what `body` throws.
  func noting<Result>(ofExecution: Bool = false, _ body: () throws -> Result) rethrows -> Result {
    do {
      return try body()
    } catch {
      note(ofExecution: ofExecution)
      throw error
    }
  }
}
