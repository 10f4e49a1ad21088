import Imaging
import Testing

/// What a file says of itself may become part of an error, and is not to be obeyed by a terminal.
@Suite struct FileErrorTests {
  @Test(arguments: [
    ("a\u{1B}[2Jb", "a?[2Jb"), ("two\nlines", "two?lines"), ("\u{202E}right", "?right"),
    ("\u{2028}", "?"), ("naïve 図", "naïve 図"), ("می\u{200C}خواهم", "می\u{200C}خواهم"),
    ("\u{0}\u{7F}\u{9B}", "???"),
  ])
  func reasonsAreOneHarmlessLine(reason: String, wanted: String) {
    #expect(FileError(path: "a", reason: reason).description == "a: \(wanted)")
  }

  /// A folder's files may be named by anybody.
  @Test func pathsAreHarmlessToo() {
    let error = FileError(path: "a\u{1B}[31m\nError: b", offset: 3, reason: "c")
    #expect(error.description == "a?[31m?Error: b: byte 3: c")
    #expect(error.path == "a\u{1B}[31m\nError: b")
  }

  @Test func longReasonsAreCut() {
    let reason = FileError(path: "a", reason: String(repeating: "é", count: 1 << 20)).reason
    #expect(reason == String(repeating: "é", count: 250) + " ...")
  }
}
