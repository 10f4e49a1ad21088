import ArgumentParser
import Foundation
import Training

/// What is said on standard error while standard output is kept for results.
enum Console {
  static let isTerminal = isatty(STDERR_FILENO) == 1

  static func note(_ line: String) { FileHandle.standardError.write(Data((line + "\n").utf8)) }

  /// Overwrites the current line of a terminal.
  static func overwrite(_ line: String) {
    FileHandle.standardError.write(Data("\r\u{1B}[K\(line)".utf8))
  }

  static func clearLine() {
    if isTerminal { FileHandle.standardError.write(Data("\r\u{1B}[K".utf8)) }
  }
}

/// One JSON object on standard output, keys sorted.
func printJSON(_ value: some Encodable) throws {
  let encoder = JSONEncoder()
  encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
  encoder.nonConformingFloatEncodingStrategy = .convertToString(
    positiveInfinity: "Infinity", negativeInfinity: "-Infinity", nan: "NaN")
  print(String(decoding: try encoder.encode(value), as: UTF8.self))
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
  String(format: "%.\(digits)g", value)
}

/// For example 0:07, 3:25 or 1:02:03.
func duration(_ seconds: Double) -> String {
  guard seconds.isFinite, seconds < 1e8 else { return "?" }
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

  init(epochs: Int) { self.epochs = epochs }

  func show(_ event: TrainingEvent) {
    switch event {
    case .progress(let progress):
      // Ten times a second is enough for eyes, once in ten seconds for a log.
      guard lastShown.secondsSince() > (Console.isTerminal ? 0.1 : 10) else { return }
      lastShown = .now
      let loss = progress.loss.map { "  loss \(significant($0))" } ?? ""
      let line =
        "epoch \(progress.epoch)/\(epochs)  batch \(progress.step)/\(progress.steps)\(loss)  "
        + "\(speed(progress.samplesPerSecond))  \(duration(progress.remaining)) left"
      Console.isTerminal ? Console.overwrite(line) : Console.note(line)
    case .epoch(let metrics):
      lastShown = .now
      Console.clearLine()
      let left = start.secondsSince() / Double(metrics.epoch) * Double(epochs - metrics.epoch)
      Console.note(
        "epoch \(metrics.epoch)/\(epochs)  loss \(significant(metrics.loss))  "
          + "mse \(significant(metrics.mse))  l0 \(String(format: "%.1f", metrics.l0))  "
          + "\(String(format: "%.2f", metrics.seconds)) s  \(speed(metrics.samplesPerSecond))  "
          + "\(duration(left)) left")
    }
  }

  private func speed(_ samplesPerSecond: Double) -> String {
    samplesPerSecond >= 1e4
      ? "\(Int(samplesPerSecond / 1000))k samples/s" : "\(Int(samplesPerSecond)) samples/s"
  }
}
