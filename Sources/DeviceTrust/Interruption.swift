import Foundation

/// What a user's interruption must not leave behind.
package enum Interruption {
  /// Those that ask a process to end.
  package static let signals = [SIGINT, SIGTERM, SIGHUP, SIGQUIT]

  /// What the handler reads, in memory that stays: it must not allocate or take a lock.
  private struct Remains {
    var path: UnsafeMutablePointer<CChar>?
    /// Whether a signal waits until something is done.
    var isDeferring = false
    /// The signal that waits, 0 for none.
    var deferred: Int32 = 0
    /// What was done with each of `signals` before, by its number.
    let before: UnsafeMutablePointer<Handler?>
    /// `mostChildren` of them, 0 for none.
    let children: UnsafeMutablePointer<pid_t>
  }

  // Unsafe is safe here: written before the handler is installed and while it is, word by word.
  nonisolated(unsafe) private static let remains: UnsafeMutablePointer<Remains> = {
    let children = UnsafeMutablePointer<pid_t>.allocate(capacity: mostChildren)
    children.initialize(repeating: 0, count: mostChildren)
    let before = UnsafeMutablePointer<Handler?>.allocate(capacity: 32)
    before.initialize(repeating: SIG_DFL, count: 32)
    let pointer = UnsafeMutablePointer<Remains>.allocate(capacity: 1)
    pointer.initialize(to: Remains(before: before, children: children))
    return pointer
  }()

  /// Held by the one that the handler works for.
  private static let turn = NSLock()

  /// The most processes that are killed as well.
  static let mostChildren = 8

  /// The processes that are killed as well.
  static func setChildren(_ processes: [pid_t]) {
    precondition(processes.count <= mostChildren)
    for place in 0..<mostChildren {
      remains.pointee.children[place] = place < processes.count ? processes[place] : 0
    }
  }

  /// Writes the file that an interruption removes.
  package struct Writer {
    fileprivate let isGuarded: Bool

    /// Runs `body`, for whose end a signal waits; a second one does not.
    ///
    /// - Parameter keeping: whether the file stays from then on, where `body` returns true.
    package func write(keeping: Bool = false, _ body: () -> Bool) -> Bool {
      guard isGuarded else { return body() }
      remains.pointee.isDeferring = true
      let isDone = body()
      if keeping, isDone { remains.pointee.path = nil }
      // In this order: a signal that still sees the one has been seen by the other.
      remains.pointee.isDeferring = false
      let number = remains.pointee.deferred
      if number != 0 { raise(number) }
      return isDone
    }
  }

  /// Runs `body`; a signal that asks the process to end meanwhile removes the file first, ends the
  /// children, and then does what it would have done. Several at once, as in tests, are not guarded.
  package static func removing<Result>(
    _ path: String, during body: (Writer) -> Result
  ) -> Result {
    guard turn.try() else { return body(Writer(isGuarded: false)) }
    defer { turn.unlock() }
    let text = strdup(path)
    remains.pointee.path = text
    remains.pointee.deferred = 0
    for number in signals {
      let handler = signal(number, handle)
      remains.pointee.before[Int(number)] = handler
      if isIgnoring(handler) { signal(number, handler) }
    }
    defer {
      for number in signals { signal(number, remains.pointee.before[Int(number)]) }
      remains.pointee.path = nil
      free(text)
    }
    return body(Writer(isGuarded: true))
  }

  #if canImport(Darwin)
    private typealias Handler = @convention(c) (Int32) -> Void
  #else
    private typealias Handler = __sighandler_t
  #endif

  /// What is ignored, as under `nohup`, stays so. `SIG_IGN` is the number 1.
  private static func isIgnoring(_ handler: Handler?) -> Bool {
    unsafeBitCast(handler, to: Int.self) == 1
  }

  private static let handle: Handler = { number in
    let isFirst = remains.pointee.deferred == 0
    remains.pointee.deferred = number
    if remains.pointee.isDeferring, isFirst { return }
    if let path = remains.pointee.path { unlink(path) }
    for place in 0..<mostChildren where remains.pointee.children[place] > 0 {
      kill(remains.pointee.children[place], SIGKILL)
    }
    signal(number, remains.pointee.before[Int(number)])
    // Delivered when this returns.
    raise(number)
  }
}
