import CSignals
import Foundation

/// The temporary files of this process, for a signal that ends it to remove.
package enum UnfinishedFiles {
  /// Of how many at once an interruption takes care.
  private static let capacity = 64

  /// Paths as C has them, 0 for none. Whoever takes one out, by an exchange, owns it: the handler may
  /// run on another thread than what it interrupts, and must not allocate or take a lock.
  // Unsafe is safe here: only atomic operations read and write what it points at.
  nonisolated(unsafe) private static let places: UnsafeMutablePointer<Int> = {
    let places = UnsafeMutablePointer<Int>.allocate(capacity: capacity)
    places.initialize(repeating: 0, count: capacity)
    return places
  }()

  /// Held by who enters a path.
  private static let turn = NSLock()

  /// - Returns: what `remove` takes; nil where there are as many as can be.
  static func add(_ path: String) -> Int? {
    turn.withLock {
      for place in 0..<capacity where sparrow_word_load(places + place) == 0 {
        sparrow_word_store(places + place, Int(bitPattern: strdup(path)))
        return place
      }
      return nil
    }
  }

  static func remove(_ place: Int?) {
    guard let place else { return }
    free(UnsafeMutablePointer<CChar>(bitPattern: sparrow_word_exchange(places + place, 0)))
  }

  /// Has signals that end this process, which nobody else listens to, remove the files first.
  package static func removeWhenInterrupted() {
    // Made before a signal can come.
    _ = places
    for number in Signals.asking { Signals.handle(number, by: handle) }
  }

  private static let handle: Signals.Handler = { number in
    for place in 0..<capacity {
      let path = sparrow_word_exchange(places + place, 0)
      if let path = UnsafePointer<CChar>(bitPattern: path) { unlink(path) }
    }
    signal(number, SIG_DFL)
    // Delivered when this returns.
    raise(number)
  }
}
