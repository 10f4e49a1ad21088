/// How often something has failed.
package final class FailureCount: Sendable {
  private let count = Locked(0)

  package var value: Int { count.withLock { $0 } }

  func note() { count.withLock { $0 += 1 } }

  /// Counts what `body` throws.
  func noting<Result>(_ body: () throws -> Result) rethrows -> Result {
    do {
      return try body()
    } catch {
      note()
      throw error
    }
  }
}
