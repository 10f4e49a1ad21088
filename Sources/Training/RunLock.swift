import Foundation
import Imaging

/// A folder that one process at a time writes: a lock on a file in it, which the system lets go of
/// when the process ends, however it ends. The file is removed with this object.
package final class RunLock: Sendable {
  private let path: String
  private let descriptor: Int32
  private let removesEmptyFolder: Bool

  /// - Parameters:
  ///   - folder: must exist.
  ///   - removesEmptyFolder: whether it goes with this object where nothing came to be in it.
  /// - Throws: `FileError` where another process has it, or the folder cannot be written.
  package init(folder: String, removesEmptyFolder: Bool = false) throws {
    path = folder + "/run.lock"
    self.removesEmptyFolder = removesEmptyFolder
    while true {
      let descriptor = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o666)
      guard descriptor >= 0 else {
        throw FileError(path: folder, "this folder cannot be written", code: errno)
      }
      guard flock(descriptor, LOCK_EX | LOCK_NB) == 0 else {
        let code = errno
        let owner = Self.owner(descriptor)
        close(descriptor)
        guard code == EWOULDBLOCK else {
          throw FileError(path: path, "cannot lock", code: code)
        }
        throw FileError(path: folder, reason: "another process\(owner) is writing this run")
      }
      // The process that had it may have removed the file between the two calls.
      guard Self.isStill(descriptor, at: path) else {
        close(descriptor)
        continue
      }
      self.descriptor = descriptor
      let text = Array("\(getpid())\n".utf8)
      _ = ftruncate(descriptor, 0)
      _ = text.withUnsafeBytes { pwrite(descriptor, $0.baseAddress, $0.count, 0) }
      return
    }
  }

  deinit {
    if isHeld, unlink(path) == 0, removesEmptyFolder { rmdir(folder) }
    close(descriptor)
  }

  /// Whether the file is still under its name: with the folder it can be removed or moved away, and
  /// the next process then locks a file of its own.
  package var isHeld: Bool { Self.isStill(descriptor, at: path) }

  private var folder: String { String(path.dropLast("/run.lock".count)) }

  /// - Throws: `FileError` where the folder is no longer this process's, who must leave it alone.
  package func check() throws {
    guard isHeld else {
      throw FileError(
        path: folder,
        reason: "was removed or taken over by another process; nothing more is written to it")
    }
  }

  private static func isStill(_ descriptor: Int32, at path: String) -> Bool {
    var (own, named) = (stat(), stat())
    return fstat(descriptor, &own) == 0 && stat(path, &named) == 0 && own.st_ino == named.st_ino
      && own.st_dev == named.st_dev
  }

  private static func owner(_ descriptor: Int32) -> String {
    var text = [UInt8](repeating: 0, count: 20)
    let count = text.withUnsafeMutableBytes { pread(descriptor, $0.baseAddress, $0.count, 0) }
    guard count > 0,
      let process = Int(String(decoding: text[..<count], as: UTF8.self).dropLast())
    else { return "" }
    return " (\(process))"
  }
}
