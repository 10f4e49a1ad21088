import Foundation
import Imaging
import TestSupport
import Testing

@Suite struct AtomicFileTests {
  private func commit(_ byte: UInt8, to path: String, keepingOldAs old: String) throws {
    let file = try AtomicFile(path: path)
    try file.write([byte])
    try file.commit(keepingOldAs: old)
  }

  private func bytes(of path: String) throws -> [UInt8] {
    [UInt8](try Data(contentsOf: URL(fileURLWithPath: path)))
  }

  @Test func theOldFileIsKeptUnderItsOtherName() throws {
    let folder = try TemporaryFolder()
    let (path, old) = (folder.file("new"), folder.file("old"))
    try commit(1, to: path, keepingOldAs: old)
    #expect(folder.names == ["new"])
    for byte: UInt8 in 2...4 {
      try commit(byte, to: path, keepingOldAs: old)
      #expect(try bytes(of: path) == [byte] && bytes(of: old) == [byte - 1])
      #expect(folder.names == ["new", "old"])
    }
    // As after an interruption between the two steps: both names are of one file.
    unlink(old)
    try #require(link(path, old) == 0)
    try commit(5, to: path, keepingOldAs: old)
    #expect(try bytes(of: path) == [5] && bytes(of: old) == [4])
    #expect(folder.names == ["new", "old"])
  }

  /// A process may be killed between any two steps, and the file must be there.
  @Test func thereIsAFileAtEveryMoment() throws {
    let folder = try TemporaryFolder()
    let (path, old) = (folder.file("new"), folder.file("old"))
    try commit(0, to: path, keepingOldAs: old)
    let watcher = Watcher(path)
    for byte in 1...250 { try commit(UInt8(byte), to: path, keepingOldAs: old) }
    let (looks, absences) = watcher.stop()
    #expect(looks > 100 && absences == 0)
  }
}

/// Looks whether a file is there, again and again.
private final class Watcher: @unchecked Sendable {
  private let lock = NSLock()
  private let done = DispatchSemaphore(value: 0)
  private var (isStopped, looks, absences) = (false, 0, 0)

  init(_ path: String) {
    Thread.detachNewThread { [self] in
      while true {
        let isThere = access(path, F_OK) == 0
        lock.lock()
        looks += 1
        absences += isThere ? 0 : 1
        let ends = isStopped
        lock.unlock()
        if ends { break }
      }
      done.signal()
    }
  }

  func stop() -> (looks: Int, absences: Int) {
    lock.lock()
    isStopped = true
    lock.unlock()
    done.wait()
    return (looks, absences)
  }
}
