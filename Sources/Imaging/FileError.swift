import Foundation

/// What was wrong with a file, in one line: the path, the byte where it was noticed if that helps,
/// and the reason.
package struct FileError: Error, Hashable, Sendable, CustomStringConvertible {
  /// The path as the user gave it.
  package let path: String
  /// The offset in bytes from the start of the (unpacked) content, where one is known.
  package let offset: Int?
  /// One line: what a file says of itself may be part of it, so that control characters are replaced
  /// and what is longer than any message is cut.
  package let reason: String

  private static let longestReason = 1000

  package init(path: String, offset: Int? = nil, reason: String) {
    self.path = path
    self.offset = offset
    self.reason = Self.line(reason)
  }

  /// A text of a file's as one line that is safe to show.
  package static func line(_ text: String) -> String {
    guard text.utf8.count > longestReason else { return harmless(text) }
    return harmless(String(text.unicodeScalars.prefix(longestReason / 4))) + " ..."
  }

  private static func harmless(_ text: String) -> String {
    func isHarmless(_ scalar: Unicode.Scalar) -> Bool {
      if scalar.isASCII { return scalar.value >= 0x20 && scalar.value != 0x7F }
      // What joins letters, as Persian has it, and emoji.
      if scalar.value == 0x200C || scalar.value == 0x200D { return true }
      switch scalar.properties.generalCategory {
      // Those of the last three can turn the direction of a terminal's text or break its lines.
      case .control, .format, .lineSeparator, .paragraphSeparator: return false
      default: return true
      }
    }
    guard !text.unicodeScalars.allSatisfy(isHarmless) else { return text }
    var line = String.UnicodeScalarView()
    for scalar in text.unicodeScalars { line.append(isHarmless(scalar) ? scalar : "?") }
    return String(line)
  }

  /// `what` and the system's words for `code`, an `errno`.
  package init(path: String, _ what: String, code: Int32) {
    self.init(path: path, reason: "\(what): \(String(cString: strerror(code)))")
  }

  package var description: String {
    // What a folder holds may be named by anybody; whole, since it is to be found.
    let path = Self.harmless(path)
    if let offset { return "\(path): byte \(offset): \(reason)" }
    return "\(path): \(reason)"
  }
}

extension FileError {
  /// A file that is another one than when it was opened, as its size or header tell.
  package static func changed(path: String) -> FileError {
    FileError(path: path, reason: "the file was changed while it was read")
  }
}
