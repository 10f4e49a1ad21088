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

  /// As `make`, for the time of `body`: a folder that was made stays where something came to be in it.
  package static func make<Result>(
    _ path: String, during body: () throws -> Result
  ) throws -> Result {
    let isNew = !FileManager.default.fileExists(atPath: path)
    try make(path)
    defer { if isNew { rmdir(path) } }
    return try body()
  }

  /// Refuses a path below which nothing can be written, without making anything: for asking before
  /// long work whether its results will have a place.
  ///
  /// - Throws: `FileError` for `path` where the nearest folder above it that exists is a file or
  ///   may not be written.
  package static func requireWritable(above path: String) throws {
    try requireWritable(from: URL(fileURLWithPath: path).deletingLastPathComponent(), for: path)
  }

  /// As `requireWritable(above:)`, for a path at which a folder will be made where there is none.
  ///
  /// - Parameter given: what the user gave for it, for the message; `path` when nil.
  package static func requireWritable(in path: String, given: String? = nil) throws {
    try requireWritable(from: URL(fileURLWithPath: path), for: given ?? path)
  }

  private static func requireWritable(from start: URL, for path: String) throws {
    var url = start
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

  /// A name in a folder.
  package struct Entry: Sendable {
    /// As it is, or with an escape for each byte of it where it is not UTF-8: `\xFF.png`.
    package let name: String
    /// Why no file can be opened under the name; nil where one can.
    package let obstacle: String?
  }

  /// What is in a folder but for hidden files, in no order.
  ///
  /// Foundation's own function leaves out names that are not UTF-8.
  /// - Throws: `FileError` where `path` is no folder or cannot be listed.
  package static func entries(of path: String) throws -> [Entry] {
    var status = stat()
    guard stat(path, &status) == 0 else { throw FileError(path: path, reason: "no such folder") }
    guard status.st_mode & S_IFMT == S_IFDIR else {
      throw FileError(path: path, reason: "not a folder")
    }
    guard let folder = opendir(path) else {
      throw FileError(path: path, "cannot list this folder", code: errno)
    }
    defer { closedir(folder) }
    var entries: [Entry] = []
    while let entry = readdir(folder) {
      let bytes = withUnsafeBytes(of: &entry.pointee.d_name) { Array($0.prefix { $0 != 0 }) }
      guard bytes.first != UInt8(ascii: ".") else { continue }
      entries.append(Self.entry(bytes, in: path))
    }
    return entries
  }

  private static func entry(_ bytes: [UInt8], in folder: String) -> Entry {
    let name = String(decoding: bytes, as: UTF8.self)
    guard name.utf8.elementsEqual(bytes) else {
      let escaped = bytes.map { byte in
        (0x20..<0x7F).contains(byte)
          ? String(UnicodeScalar(byte)) : "\\x" + String(byte, radix: 16, uppercase: true)
      }
      return Entry(name: escaped.joined(), obstacle: "cannot open: its name is not UTF-8")
    }
    // A link that leads nowhere, or round in a circle.
    var status = stat()
    let isOpen = stat(folder.hasSuffix("/") ? folder + name : "\(folder)/\(name)", &status) == 0
    let reason = isOpen ? nil : "cannot open: \(String(cString: strerror(errno)))"
    return Entry(name: name, obstacle: reason)
  }

  package static func isFolder(_ path: String) -> Bool {
    var status = stat()
    return stat(path, &status) == 0 && status.st_mode & S_IFMT == S_IFDIR
  }
}
