import Foundation

/// Folders that results go to.
package enum Folder {
  /// Makes the folder and those above it, where they do not exist.
  ///
  /// Foundation's own function does not say on every platform why it failed.
  /// - Throws: `FileError` with the system's words: a file in the way, no permission.
  package static func make(_ path: String) throws {
    var part = path.hasPrefix("/") ? "/" : ""
    for component in path.split(separator: "/") {
      part += (part.isEmpty || part.hasSuffix("/") ? "" : "/") + component
      if isFolder(part) || mkdir(part, 0o777) == 0 { continue }
      let code = errno
      // Another process may have made it meanwhile.
      if code == EEXIST, isFolder(part) { continue }
      let reason = code == EEXIST ? "\(part) is a file" : String(cString: strerror(code))
      throw FileError(path: path, reason: "cannot make this folder: \(reason)")
    }
  }

  private static func isFolder(_ path: String) -> Bool {
    var status = stat()
    return stat(path, &status) == 0 && status.st_mode & S_IFMT == S_IFDIR
  }
}
