import CSignals
import Foundation
import Imaging

/// What a user's interruption must not leave behind.
package enum Interruption {
  /// What the handler reads, in memory that stays: it must not allocate or take a lock, and may run
  /// on another thread than what it interrupts.
  private struct Word {
    let place: Int

    /// Of the file's path, as C has it; 0 for none.
    static let path = Word(place: 0)
    /// Whether a signal waits until something is done.
    static let isDeferring = Word(place: 1)
    /// The signal that waits, 0 for none.
    static let deferred = Word(place: 2)
    /// `mostChildren` processes, 0 for none.
    static func child(_ index: Int) -> Word { Word(place: 3 + index) }
    /// What was done with a signal before.
    static func before(_ number: Int32) -> Word { Word(place: 3 + mostChildren + Int(number)) }
    static let count = 3 + mostChildren + 64

    var value: Int {
      get { sparrow_word_load(Interruption.words + place) }
      nonmutating set { sparrow_word_store(Interruption.words + place, newValue) }
    }

    func exchange(_ value: Int) -> Int { sparrow_word_exchange(Interruption.words + place, value) }
  }

  // Unsafe is safe here: only `Word` reads and writes what it points at.
  nonisolated(unsafe) private static let words: UnsafeMutablePointer<Int> = {
    let words = UnsafeMutablePointer<Int>.allocate(capacity: Word.count)
    words.initialize(repeating: 0, count: Word.count)
    return words
  }()

  /// Held by the one that the handler works for.
  private static let turn = NSLock()

  /// The most processes that are killed as well.
  static let mostChildren = 8

  /// The processes that are killed as well.
  static func setChildren(_ processes: [pid_t]) {
    precondition(processes.count <= mostChildren)
    for place in 0..<mostChildren {
      Word.child(place).value = place < processes.count ? Int(processes[place]) : 0
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
      Word.isDeferring.value = 1
      let isDone = body()
      if keeping, isDone { Word.path.value = 0 }
      // In this order: a signal that still sees the one has been seen by the other.
      Word.isDeferring.value = 0
      let number = Word.deferred.value
      if number != 0 { raise(Int32(number)) }
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
    Word.path.value = Int(bitPattern: text)
    Word.deferred.value = 0
    for number in Signals.asking {
      Word.before(number).value = unsafeBitCast(
        Signals.handle(number, by: handle), to: Int.self)
    }
    defer {
      for number in Signals.asking { signal(number, handlerBefore(number)) }
      Word.path.value = 0
      free(text)
    }
    return body(Writer(isGuarded: true))
  }

  private static func handlerBefore(_ number: Int32) -> Signals.Handler? {
    unsafeBitCast(Word.before(number).value, to: Signals.Handler?.self)
  }

  private static let handle: Signals.Handler = { number in
    let isFirst = Word.deferred.exchange(Int(number)) == 0
    if Word.isDeferring.value != 0, isFirst { return }
    if let path = UnsafePointer<CChar>(bitPattern: Word.path.value) { unlink(path) }
    for place in 0..<mostChildren {
      let child = Word.child(place).value
      if child > 0 { kill(pid_t(child), SIGKILL) }
    }
    signal(number, handlerBefore(number))
    // Delivered when this returns.
    raise(number)
  }
}
