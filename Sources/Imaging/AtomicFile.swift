import Foundation

/// A file that appears under its name whole or not at all: bytes go to a temporary file in the same
/// folder, and `commit()` renames it. Without `commit()` nothing is left behind and what was there
/// stays. Not for use by two threads at once.
package final class AtomicFile {
  package let path: String
  private let temporaryPath: String
  /// Where an interruption finds the temporary file.
  private let place: Int?
  /// For codecs in C; nothing else than what they write is in the file then.
  private(set) var descriptor: Int32

  /// - Throws: `FileError` where the folder is absent or not writable, or where `path` is something
  ///   other than a regular file.
  package init(path: String) throws {
    try Self.requirePlace(at: path)
    let url = URL(fileURLWithPath: path)
    let name = ".\(url.lastPathComponent.prefix(100)).\(UUID().uuidString.prefix(8)).tmp"
    let temporaryPath = url.deletingLastPathComponent().appendingPathComponent(name).path
    let place = UnfinishedFiles.add(temporaryPath)
    let descriptor = open(temporaryPath, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0o666)
    guard descriptor >= 0 else {
      let code = errno
      UnfinishedFiles.remove(place)
      throw FileError(path: path, "cannot write", code: code)
    }
    self.place = place
    self.path = path
    self.temporaryPath = temporaryPath
    self.descriptor = descriptor
  }

  /// The name of the file that an unfinished one of this kind belongs to, also one that `commit` makes
  /// of the old file; nil for the name of any other file.
  package static func target(ofUnfinished name: String) -> String? {
    name.wholeMatch(of: /\.(.+?)\.[0-9A-F]{8}(\.old)?\.tmp/).map { String($0.1) }
  }

  /// - Throws: `FileError` where `path` is something other than a regular file, such as a folder.
  package static func requirePlace(at path: String) throws {
    var status = stat()
    if lstat(path, &status) == 0, ![S_IFREG, S_IFLNK].contains(status.st_mode & S_IFMT) {
      let what = status.st_mode & S_IFMT == S_IFDIR ? "it is a folder" : "not a regular file"
      throw FileError(path: path, reason: "cannot write: \(what)")
    }
  }

  deinit {
    if descriptor >= 0 {
      close(descriptor)
      unlink(temporaryPath)
    }
    UnfinishedFiles.remove(place)
  }

  /// Appends `bytes`.
  package func write(_ bytes: UnsafeRawBufferPointer) throws {
    precondition(descriptor >= 0, "written after commit()")
    var written = 0
    while written < bytes.count, let base = bytes.baseAddress {
      let count = Foundation.write(descriptor, base + written, min(bytes.count - written, 1 << 30))
      if count < 0 {
        if errno == EINTR { continue }
        throw FileError(path: path, "cannot write", code: errno)
      }
      written += count
    }
  }

  /// Appends `bytes`.
  package func write(_ bytes: [UInt8]) throws {
    try bytes.withUnsafeBytes { try write($0) }
  }

  /// Replaces bytes already written, from the start of the file: for headers whose content is only
  /// known at the end. Later writes append as before.
  package func rewriteStart(_ bytes: [UInt8]) throws {
    precondition(descriptor >= 0, "written after commit()")
    guard lseek(descriptor, 0, SEEK_SET) == 0 else {
      throw FileError(path: path, "cannot seek", code: errno)
    }
    try write(bytes)
    guard lseek(descriptor, 0, SEEK_END) >= 0 else {
      throw FileError(path: path, "cannot seek", code: errno)
    }
  }

  /// Closes the file and gives it its name, replacing a file that had it.
  ///
  /// - Parameters:
  ///   - oldPath: what the file that had the name is called from now on; it is replaced when nil.
  ///   - syncsFolder: whether to wait until the names are on the disk as well.
  package func commit(keepingOldAs oldPath: String? = nil, syncsFolder: Bool = false) throws {
    precondition(descriptor >= 0, "committed twice")
    // Without it, a power cut after the rename may leave the name on an empty file.
    guard fsync(descriptor) == 0 else {
      throw FileError(path: path, "cannot write", code: errno)
    }
    let closed = close(descriptor)
    descriptor = -1
    guard closed == 0, replace(keepingOldAs: oldPath) else {
      let code = errno
      unlink(temporaryPath)
      throw FileError(path: path, "cannot write", code: code)
    }
    if syncsFolder { try syncFolder() }
  }

  /// Gives the new file the name, and the one that had it the other. There is a whole file under the
  /// name at every moment, and the two names are never of one file: what damages one leaves the other.
  /// Where a file system has no second names, the old one takes the other name first.
  private func replace(keepingOldAs oldPath: String?) -> Bool {
    guard let oldPath else { return rename(temporaryPath, path) == 0 }
    // Ends like the temporary file, so that it is known as such where a killed process leaves it.
    let spare = String(temporaryPath.dropLast(4)) + ".old.tmp"
    guard link(path, spare) == 0 else {
      return (errno == ENOENT || rename(path, oldPath) == 0) && rename(temporaryPath, path) == 0
    }
    guard rename(temporaryPath, path) == 0, rename(spare, oldPath) == 0 else {
      let code = errno
      unlink(spare)
      errno = code
      return false
    }
    return true
  }

  private func syncFolder() throws {
    let folder = URL(fileURLWithPath: path).deletingLastPathComponent().path
    let descriptor = open(folder, O_RDONLY | O_CLOEXEC)
    defer { if descriptor >= 0 { close(descriptor) } }
    // Some file systems have no such thing for folders.
    guard descriptor >= 0, fsync(descriptor) == 0 || errno == EINVAL else {
      throw FileError(path: path, "cannot write", code: errno)
    }
  }

  /// Writes a whole file at once.
  ///
  /// - Parameter syncsFolder: whether its name is on the disk as well when this returns.
  package static func write(
    _ bytes: UnsafeRawBufferPointer, to path: String, syncsFolder: Bool = false
  ) throws {
    let file = try AtomicFile(path: path)
    try file.write(bytes)
    try file.commit(syncsFolder: syncsFolder)
  }

  /// Writes a whole file at once.
  package static func write(
    _ bytes: [UInt8], to path: String, syncsFolder: Bool = false
  ) throws {
    try bytes.withUnsafeBytes { try write($0, to: path, syncsFolder: syncsFolder) }
  }
}
