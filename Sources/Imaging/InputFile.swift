import Foundation

/// A regular file opened for reading from its start. Not for use by two threads at once.
package final class InputFile {
  package let path: String
  /// The size in bytes when the file was opened.
  package let size: Int
  /// For codecs in C, which read at places of their own.
  let descriptor: Int32

  /// - Throws: `FileError` where the file is absent, not readable, or not a regular file.
  package init(path: String) throws {
    // Asked before opening, since opening a named pipe would wait for its writer.
    var status = stat()
    guard stat(path, &status) == 0 else {
      throw FileError(path: path, "cannot open", code: errno)
    }
    guard status.st_mode & S_IFMT == S_IFREG else {
      let what = status.st_mode & S_IFMT == S_IFDIR ? "it is a folder" : "not a regular file"
      throw FileError(path: path, reason: "cannot open: \(what)")
    }
    let descriptor = open(path, O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else { throw FileError(path: path, "cannot open", code: errno) }
    self.path = path
    self.size = Int(status.st_size)
    self.descriptor = descriptor
  }

  deinit { close(descriptor) }

  /// Fills `buffer` from the current position; returns less than its count only at the end.
  package func read(into buffer: UnsafeMutableRawBufferPointer) throws -> Int {
    var filled = 0
    while filled < buffer.count, let base = buffer.baseAddress {
      // Some systems refuse to read 2 GiB or more at once.
      let count = Foundation.read(descriptor, base + filled, min(buffer.count - filled, 1 << 30))
      if count < 0 {
        if errno == EINTR { continue }
        throw FileError(path: path, "cannot read", code: errno)
      }
      if count == 0 { break }
      filled += count
    }
    return filled
  }

  /// The whole content of a file of at most `maximum` bytes.
  package static func bytes(of path: String, maximum: Int) throws -> [UInt8] {
    let file = try InputFile(path: path)
    guard file.size <= maximum else {
      throw FileError(path: path, reason: "\(file.size) bytes are more than \(maximum)")
    }
    // All empty arrays are one object, into which this initializer would write its count.
    guard file.size > 0 else { return [] }
    return try [UInt8](unsafeUninitializedCapacity: file.size) { buffer, count in
      count = try file.read(into: UnsafeMutableRawBufferPointer(buffer))
    }
  }
}
