import Foundation

/// A value behind a lock. (`Mutex` of the standard library needs macOS 15.)
final class Locked<Value>: @unchecked Sendable {
  // Unchecked because every access of `value` holds `lock`.
  private let lock = NSLock()
  private var value: Value

  init(_ value: Value) { self.value = value }

  func withLock<Result>(_ body: (inout Value) throws -> Result) rethrows -> Result {
    lock.lock()
    defer { lock.unlock() }
    return try body(&value)
  }
}
