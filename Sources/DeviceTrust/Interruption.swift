import Foundation

/// What a user's interruption must not leave behind.
enum Interruption {
  /// Those that ask a process to end.
  static let signals = [SIGINT, SIGTERM, SIGHUP]

  /// What the handler reads, in memory that stays: it must not allocate or take a lock.
  private struct Remains {
    var path: UnsafeMutablePointer<CChar>?
    /// `mostChildren` of them, 0 for none.
    let children: UnsafeMutablePointer<pid_t>
  }

  // Unsafe is safe here: written before the handler is installed and while it is, word by word.
  nonisolated(unsafe) private static let remains: UnsafeMutablePointer<Remains> = {
    let children = UnsafeMutablePointer<pid_t>.allocate(capacity: mostChildren)
    children.initialize(repeating: 0, count: mostChildren)
    let pointer = UnsafeMutablePointer<Remains>.allocate(capacity: 1)
    pointer.initialize(to: Remains(children: children))
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

  /// Runs `body`; a signal that asks the process to end meanwhile removes the file first, ends the
  /// children, and then does what it would have done. Several at once, as in tests, are not guarded.
  static func removing<Result>(_ path: String, during body: () -> Result) -> Result {
    guard turn.try() else { return body() }
    defer { turn.unlock() }
    let text = strdup(path)
    remains.pointee.path = text
    let before = signals.map { signal($0, handle) }
    for (number, handler) in zip(signals, before) where isIgnoring(handler) {
      signal(number, handler)
    }
    defer {
      for (number, handler) in zip(signals, before) { signal(number, handler) }
      remains.pointee.path = nil
      free(text)
    }
    return body()
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
    if let path = remains.pointee.path { unlink(path) }
    for place in 0..<mostChildren where remains.pointee.children[place] > 0 {
      kill(remains.pointee.children[place], SIGKILL)
    }
    signal(number, SIG_DFL)
    // Delivered when this returns.
    raise(number)
  }
}
