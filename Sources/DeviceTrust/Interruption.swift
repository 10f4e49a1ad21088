import Dispatch
import Foundation

/// What a user's interruption must not leave behind.
enum Interruption {
  /// Those that ask a process to end.
  static let signals = [SIGINT, SIGTERM, SIGHUP]

  /// Runs `body`; a signal that asks the process to end meanwhile removes the file first, and ends
  /// the self-test's process as well.
  static func removing<Result>(_ path: String, during body: () -> Result) -> Result {
    let queue = DispatchQueue(label: "sparrow.interruption")
    let sources = signals.map { number in
      let source = DispatchSource.makeSignalSource(signal: number, queue: queue)
      source.setEventHandler {
        unlink(path)
        IsolatedSelfTest.endAll()
        signal(number, SIG_DFL)
        kill(getpid(), number)
      }
      source.resume()
      return source
    }
    // Before a source sees it, a signal would end the process.
    let before = signals.map { signal($0, SIG_IGN) }
    defer {
      for (number, handler) in zip(signals, before) { signal(number, handler) }
      for source in sources { source.cancel() }
    }
    return body()
  }
}
