import Foundation

/// What was wrong with a file, in one line: the path, the byte where it was noticed if that helps,
/// and the reason.
package struct FileError: Error, Equatable, Sendable, CustomStringConvertible {
  /// The path as the user gave it.
  package let path: String
  /// The offset in bytes from the start of the (unpacked) content, where one is known.
  package let offset: Int?
  package let reason: String

  package init(path: String, offset: Int? = nil, reason: String) {
    self.path = path
    self.offset = offset
    self.reason = reason
  }

  /// `what` and the system's words for `code`, an `errno`.
  package init(path: String, _ what: String, code: Int32) {
    self.init(path: path, reason: "\(what): \(String(cString: strerror(code)))")
  }

  package var description: String {
    if let offset { return "\(path): byte \(offset): \(reason)" }
    return "\(path): \(reason)"
  }
}
