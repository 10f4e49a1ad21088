import Foundation

/// SIGINT and SIGTERM as wishes to stop, to be met between two steps; a second one ends the process
/// at once.
enum StopSignals {
  // Written by the handler alone, read elsewhere.
  nonisolated(unsafe) fileprivate static var received: Int32 = 0

  /// The signal that has come since `listen()`.
  static var signal: Int32? { received == 0 ? nil : received }

  /// Lets the signals that ask a process to end come through: whoever started this one may have
  /// started it with signals blocked.
  static func unblock() {
    var asking = sigset_t()
    sigemptyset(&asking)
    for number in [SIGINT, SIGTERM, SIGHUP, SIGQUIT] { sigaddset(&asking, number) }
    pthread_sigmask(SIG_UNBLOCK, &asking, nil)
  }

  static func listen() {
    received = 0
    for number in [SIGINT, SIGTERM] { Foundation.signal(number, handle) }
  }

  /// From here on the signals end the process, as they do by default.
  static func stopListening() {
    for number in [SIGINT, SIGTERM] { Foundation.signal(number, SIG_DFL) }
  }

  static func name(_ signal: Int32) -> String { signal == SIGINT ? "SIGINT" : "SIGTERM" }
}

private func handle(_ number: Int32) {
  if StopSignals.received != 0 { _exit(128 + number) }
  StopSignals.received = number
}
