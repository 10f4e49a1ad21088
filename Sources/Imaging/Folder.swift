import Foundation

/// Folders that results go to.
package enum Folder {
  /// Makes the folder and those above it, where they do not exist.
  ///
  /// Foundation's own function does not say on every platform why it failed.
  /// - Throws: `FileError` with the system's words: a file in the way, no permission.
  package static func make(_ path: String) throws {
    let components = path.split(separator: "/")
    var part = path.hasPrefix("/") ? "/" : ""
    for (index, component) in components.enumerated() {
      part += (part.isEmpty || part.hasSuffix("/") ? "" : "/") + component
      if isFolder(part) || mkdir(part, 0o777) == 0 { continue }
      let code = errno
      // Another process may have made it meanwhile.
      if code == EEXIST, isFolder(part) { continue }
      let file = index == components.count - 1 ? "it" : part
      let reason = code == EEXIST ? "\(file) is a file" : String(cString: strerror(code))
      throw FileError(path: path, reason: "cannot make this folder: \(reason)")
    }
  }

  /// Refuses a path below which nothing can be written, without making anything: for asking before
  /// long work whether its results will have a place.
  ///
  /// - Throws: `FileError` for `path` where the nearest folder above it that exists is a file or
  ///   may not be written.
  package static func requireWritable(above path: String) throws {
    var url = URL(fileURLWithPath: path).deletingLastPathComponent()
    while url.path != "/", !FileManager.default.fileExists(atPath: url.path) {
      url.deleteLastPathComponent()
    }
    guard isFolder(url.path) else {
      throw FileError(path: path, reason: "cannot write: \(url.relativePath) is a file")
    }
    guard access(url.path, W_OK) == 0 else {
      throw FileError(path: path, "cannot write in \(url.relativePath)", code: errno)
    }
  }

  private static func isFolder(_ path: String) -> Bool {
    var status = stat()
    return stat(path, &status) == 0 && status.st_mode & S_IFMT == S_IFDIR
  }
}
