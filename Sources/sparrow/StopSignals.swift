import Foundation
import Imaging

/// SIGINT, SIGTERM and SIGHUP as wishes to stop, to be met between two steps; a second one ends the
/// process at once.
enum StopSignals {
  // Written by the handler alone, read elsewhere.
  nonisolated(unsafe) fileprivate static var received: Int32 = 0

  /// The signal that has come while signals were listened to, also where that is over: a wish to stop
  /// is not forgotten because a device failed before it was met.
  static var signal: Int32? { received == 0 ? nil : received }

  /// Lets the signals that ask a process to end come through: whoever started this one may have
  /// started it with signals blocked.
  static func unblock() {
    var asking = sigset_t()
    sigemptyset(&asking)
    for number in Signals.asking { sigaddset(&asking, number) }
    pthread_sigmask(SIG_UNBLOCK, &asking, nil)
  }

  /// What was done with those that are listened to before.
  nonisolated(unsafe) private static var before: [Int32: Signals.Handler?] = [:]

  /// A signal that is ignored, as a shell has SIGINT be for what it runs in the background, stays so.
  static func listen() {
    for number in [SIGINT, SIGTERM, SIGHUP] {
      let handler = Signals.handle(number, by: handle)
      if !Signals.isIgnoring(handler) { before[number] = handler }
    }
  }

  /// From here on the signals do what they did before `listen()`: by default they end the process.
  static func stopListening() {
    for (number, handler) in before { Foundation.signal(number, handler) }
    before = [:]
  }

  static func name(_ signal: Int32) -> String {
    switch signal {
    case SIGINT: "SIGINT"
    case SIGHUP: "SIGHUP"
    default: "SIGTERM"
    }
  }
}

private func handle(_ number: Int32) {
  // A session that ends sends SIGHUP after SIGTERM at once, which is no second wish.
  if StopSignals.received == 0 {
    StopSignals.received = number
  } else if number != SIGHUP || StopSignals.received == SIGHUP {
    _exit(128 + number)
  }
}
