import Foundation

/// What a user's interruption must not leave behind.
enum Interruption {
  /// Those that ask a process to end.
  static let signals = [SIGINT, SIGTERM, SIGHUP]

  /// What the handler reads, in memory that stays: it must not allocate or take a lock.
  private struct Remains {
    var path: UnsafeMutablePointer<CChar>?
    /// 0 for none.
    var children: (pid_t, pid_t) = (0, 0)
  }

  // Unsafe is safe here: written before the handler is installed and while it is, word by word.
  nonisolated(unsafe) private static let remains: UnsafeMutablePointer<Remains> = {
    let pointer = UnsafeMutablePointer<Remains>.allocate(capacity: 1)
    pointer.initialize(to: Remains())
    return pointer
  }()

  /// Held by the one that the handler works for.
  private static let turn = NSLock()

  /// The most processes that are killed as well.
  static let mostChildren = 2

  /// The processes that are killed as well.
  static func setChildren(_ processes: [pid_t]) {
    precondition(processes.count <= mostChildren)
    remains.pointee.children = (
      processes.first ?? 0, processes.count > 1 ? processes[1] : 0
    )
  }

  /// Runs `body`; a signal that asks the process to end meanwhile removes the file first, ends the
  /// child, and then does what it would have done. Several at once, as in tests, are not guarded.
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
    let (first, second) = remains.pointee.children
    if first > 0 { kill(first, SIGKILL) }
    if second > 0 { kill(second, SIGKILL) }
    signal(number, SIG_DFL)
    // Delivered when this returns.
    raise(number)
  }
}
