import Foundation

/// What those who handle signals have in common.
package enum Signals {
  /// Those that ask a process to end.
  package static let asking = [SIGINT, SIGTERM, SIGHUP, SIGQUIT]

  #if canImport(Darwin)
    package typealias Handler = @convention(c) (Int32) -> Void
  #else
    package typealias Handler = __sighandler_t
  #endif

  /// Has `handler` meet a signal from now on. What is ignored, as under `nohup`, stays so.
  ///
  /// - Returns: what was done with the signal before.
  @discardableResult
  package static func handle(_ number: Int32, by handler: Handler) -> Handler? {
    let before = signal(number, handler)
    if isIgnoring(before) { signal(number, before) }
    return before
  }

  /// `SIG_IGN` is the number 1, and `SIG_DFL` 0.
  package static func isIgnoring(_ handler: Handler?) -> Bool {
    unsafeBitCast(handler, to: Int.self) == 1
  }
}
