import Foundation
import Imaging
import Logging
import Training

/// What is said on standard error while standard output is kept for results.
enum Console {
  /// Whether standard error is a terminal on which a line can be written over.
  static let isTerminal =
    isatty(STDERR_FILENO) == 1
    && !["", "dumb"].contains(ProcessInfo.processInfo.environment["TERM"] ?? "")

  static func note(_ line: String) { _ = write(harmless(line) + "\n", to: STDERR_FILENO) }

  /// Overwrites the current line of a terminal.
  static func overwrite(_ line: String) {
    _ = write("\r\u{1B}[K\(harmless(line))", to: STDERR_FILENO)
  }

  /// With escapes for what would do something to a terminal but end lines: a name of a file or of a
  /// class may have it. They are JSON's, so that such text means the same.
  private static func harmless(_ text: String) -> String {
    func isHarmless(_ scalar: Unicode.Scalar) -> Bool {
      scalar == "\n" || scalar == "\t" || scalar.properties.generalCategory != .control
    }
    guard !text.unicodeScalars.allSatisfy(isHarmless) else { return text }
    return text.unicodeScalars.map {
      isHarmless($0) ? String($0) : String(format: "\\u%04x", $0.value)
    }.joined()
  }

  static func clearLine() {
    if isTerminal { _ = write("\r\u{1B}[K", to: STDERR_FILENO) }
  }

  /// Whether the process is to end where nobody reads its results any more. Nobody reading what is
  /// said beside them is no reason to: training goes on.
  nonisolated(unsafe) private static var endsWithPipe = false

  /// Makes sure of the standard streams: where one is closed, the next file that is opened would be
  /// taken for it. To be called before anything else.
  static func begin() {
    for descriptor in STDIN_FILENO...STDERR_FILENO
    where fcntl(descriptor, F_GETFD) < 0 && errno == EBADF {
      // Nothing can be written to it, as nothing could before.
      _ = open("/dev/null", O_RDONLY)
    }
    endsWithPipe = !Signals.isIgnoring(signal(SIGPIPE, SIG_IGN))
  }

  /// A result, on standard output.
  ///
  /// - Throws: `FileError` where it cannot be written, as on a full disk: a script that redirects
  ///   results must not take their absence for success.
  static func result(_ text: String) throws {
    let code = write(harmless(text) + "\n", to: STDOUT_FILENO)
    // As `head` expects of those that it no longer listens to.
    if code == EPIPE, endsWithPipe {
      signal(SIGPIPE, SIG_DFL)
      raise(SIGPIPE)
    }
    if code != 0 { throw FileError(path: "standard output", "cannot write", code: code) }
  }

  /// Returns 0 or an `errno`.
  private static func write(_ text: String, to descriptor: Int32) -> Int32 {
    var rest = Array(text.utf8)[...]
    while !rest.isEmpty {
      let count = rest.withUnsafeBytes { Foundation.write(descriptor, $0.baseAddress, $0.count) }
      if count < 0 {
        if errno == EINTR { continue }
        return errno
      }
      rest.removeFirst(count)
    }
    return 0
  }

  /// One JSON object on standard output, as `text(json:)` lays it out.
  static func result(json value: some Encodable) throws { try result(text(json: value)) }

  /// One JSON object, keys in snake case and sorted.
  static func text(json value: some Encodable) throws -> String {
    let encoder = JSONEncoder()
    encoder.keyEncodingStrategy = .convertToSnakeCase
    encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
    return String(decoding: try encoder.encode(value), as: UTF8.self)
  }
}

/// A number in JSON; null where it is not finite, for which JSON has no number.
struct JSONNumber: Encodable {
  let value: Double

  init(_ value: Double) { self.value = value }

  func encode(to encoder: any Encoder) throws {
    var container = encoder.singleValueContainer()
    value.isFinite ? try container.encode(value) : try container.encodeNil()
  }
}

/// What the modules log, as lines on standard error.
struct ConsoleLog: LogHandler {
  var metadata: Logger.Metadata = [:]
  var logLevel = Logger.Level.warning

  subscript(metadataKey key: String) -> Logger.Metadata.Value? {
    get { metadata[key] }
    set { metadata[key] = newValue }
  }

  func log(event: LogEvent) {
    let kind = event.level >= .error ? "Error" : "Warning"
    let line = "\(event.message)".split(whereSeparator: \.isNewline).joined(separator: " ")
    Console.clearLine()
    Console.note("\(kind): \(line)")
  }
}

/// Rows as a table whose columns are padded to their widest cell; the first column to the left,
/// the others to the right unless named.
func table(_ header: [String], _ rows: [[String]], leftAligned: Set<Int> = [0]) -> String {
  let widths = header.indices.map { column in
    ([header] + rows).map { $0[column].count }.max() ?? 0
  }
  return ([header] + rows).map { row in
    row.enumerated().map { column, cell in
      let padding = String(repeating: " ", count: widths[column] - cell.count)
      return leftAligned.contains(column) ? cell + padding : padding + cell
    }.joined(separator: "  ").trimmingSuffix(while: \.isWhitespace)
  }.joined(separator: "\n")
}

extension String {
  fileprivate func trimmingSuffix(while condition: (Character) -> Bool) -> String {
    var end = endIndex
    while end > startIndex, condition(self[index(before: end)]) { end = index(before: end) }
    return String(self[..<end])
  }
}

/// `digits` significant digits, in plain or scientific notation, whichever is shorter.
func significant(_ value: Double, _ digits: Int = 4) -> String {
  value.isNaN ? "nan" : String(format: "%.\(digits)g", value)
}

/// Seconds with two decimals, or two digits of what is less than a tenth.
func shortTime(_ seconds: Double) -> String {
  seconds < 0.1 ? significant(seconds, 2) : String(format: "%.2f", seconds)
}

/// For example 0:07, 3:25 or 1:02:03; `?` for what is no time, or years.
func duration(_ seconds: Double) -> String {
  guard (0..<1e8).contains(seconds) else { return "?" }
  let whole = Int(seconds.rounded())
  let (hours, minutes, rest) = (whole / 3600, whole / 60 % 60, whole % 60)
  return hours > 0
    ? String(format: "%d:%02d:%02d", hours, minutes, rest)
    : String(format: "%d:%02d", minutes, rest)
}

/// Shows a training run: a live line on a terminal, plain lines elsewhere.
final class TrainingDisplay {
  private let epochs: Int
  private var lastShown = ContinuousClock.now
  private let start = ContinuousClock.now

  private let epochsBefore: Int

  /// - Parameter done: epochs that were done before, in a run that goes on.
  init(epochs: Int, done: Int = 0) {
    self.epochs = epochs
    epochsBefore = done
  }

  func show(_ event: TrainingEvent) {
    switch event {
    case .progress(let progress):
      // Ten times a second is enough for eyes, once in ten seconds for a log.
      guard lastShown.secondsSince() > (Console.isTerminal ? 0.1 : 10) else { return }
      lastShown = .now
      let loss = progress.loss.map { "  reconstruction \(significant($0))" } ?? ""
      let line =
        "epoch \(progress.epoch)/\(epochs)  batch \(progress.step)/\(progress.steps)\(loss)  "
        + "\(speed(progress.samplesPerSecond))  \(duration(progress.remaining)) left"
      Console.isTerminal ? Console.overwrite(line) : Console.note(line)
    case .warning: Console.clearLine()
    case .epoch(let metrics):
      lastShown = .now
      Console.clearLine()
      let left =
        start.secondsSince() / Double(metrics.epoch - epochsBefore)
        * Double(epochs - metrics.epoch)
      Console.note(
        "epoch \(metrics.epoch)/\(epochs)  loss \(significant(metrics.loss))  "
          + "mse \(significant(metrics.mse))  l0 \(String(format: "%.1f", metrics.l0))  "
          + (metrics.beta > 0 ? "beta \(significant(metrics.beta, 3))  " : "")
          + (metrics.dead.map { "dead \($0)  " } ?? "")
          + "\(shortTime(metrics.seconds)) s  \(speed(metrics.samplesPerSecond))  "
          + "\(duration(left)) left")
    }
  }

  private func speed(_ samplesPerSecond: Double) -> String {
    samplesPerSecond >= 1e4
      ? String(format: "%.0fk samples/s", samplesPerSecond / 1000)
      : String(format: "%.0f samples/s", samplesPerSecond)
  }
}

/// The text as a shell takes it for one word; as it is where that needs nothing.
func shellQuoted(_ text: String) -> String {
  let plain = text.unicodeScalars.allSatisfy {
    $0.properties.isAlphabetic || ("0"..."9").contains($0)
      || "/._-:=,+@%".unicodeScalars.contains($0)
  }
  if plain && !text.isEmpty { return text }
  return "\"" + text.replacing(/["\\$`]/) { "\\\($0.output)" } + "\""
}
