import Foundation
import Imaging

/// A download in progress on disk. Its own troubles are `FileError`s: no other mirror mends them.
struct PartialFile: Sendable {
  let path: String

  /// 0 where it does not exist.
  func size() throws -> Int {
    var status = stat()
    guard lstat(path, &status) == 0 else {
      if errno == ENOENT { return 0 }
      throw FileError(path: path, "cannot open", code: errno)
    }
    guard status.st_mode & S_IFMT == S_IFREG else {
      throw FileError(path: path, reason: "not a regular file")
    }
    return Int(status.st_size)
  }

  func remove() throws {
    guard unlink(path) == 0 || errno == ENOENT else {
      throw FileError(path: path, "cannot delete", code: errno)
    }
  }

  func rename(to final: String) throws {
    guard Foundation.rename(path, final) == 0 else {
      throw FileError(path: final, "cannot write", code: errno)
    }
  }

  /// Opens it for appending after its first `start` bytes, cutting off what follows.
  func open(keeping start: Int) throws -> Writer {
    let descriptor = Foundation.open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0o666)
    guard descriptor >= 0 else { throw FileError(path: path, "cannot write", code: errno) }
    let writer = Writer(path: path, descriptor: descriptor)
    guard ftruncate(descriptor, off_t(start)) == 0, lseek(descriptor, 0, SEEK_END) >= 0 else {
      throw FileError(path: path, "cannot write", code: errno)
    }
    return writer
  }

  final class Writer {
    private let path: String
    private let descriptor: Int32

    fileprivate init(path: String, descriptor: Int32) {
      self.path = path
      self.descriptor = descriptor
    }

    deinit { close(descriptor) }

    func write(_ bytes: UnsafeRawBufferPointer) throws {
      var written = 0
      while written < bytes.count, let base = bytes.baseAddress {
        let count = Foundation.write(descriptor, base + written, bytes.count - written)
        if count < 0 {
          if errno == EINTR { continue }
          throw FileError(path: path, "cannot write", code: errno)
        }
        written += count
      }
    }

    /// Waits until the bytes are on disk.
    func synchronize() throws {
      guard fsync(descriptor) == 0 else {
        throw FileError(path: path, "cannot write", code: errno)
      }
    }
  }
}
