import Foundation

/// What a device's self-test found.
package enum SelfTestVerdict: Sendable, Equatable, Codable {
  /// All cases lay within their bounds.
  case passed(cases: Int, seconds: Double)
  /// A result was wrong: the operation, its shapes, and the first element outside its bound.
  case miscomputed(operation: String, label: String, failure: String)
  /// An OpenCL call failed; the first line is short, a build log may follow.
  case failed(String)
  /// The driver ended the process that ran the self-test, with these last words, if any.
  case crashed(signal: Int32, words: String = "")
  /// The self-test was ended after so many seconds.
  case hung(seconds: Double)
  /// A self-test was begun and the machine went down before it said how it went.
  case unfinished

  package var isPassed: Bool {
    if case .passed = self { return true }
    return false
  }

  /// Of several processes that shared the cases: what the first found that found something, else the
  /// sum of the cases and the longest time.
  package static func joined(_ verdicts: [SelfTestVerdict]) -> SelfTestVerdict {
    var (count, longest) = (0, 0.0)
    for verdict in verdicts {
      guard case .passed(let cases, let seconds) = verdict else { return verdict }
      count += cases
      longest = max(longest, seconds)
    }
    return .passed(cases: count, seconds: longest)
  }

  /// Whether the verdict holds until the driver or the build changes. An error may pass by itself,
  /// as when another program had taken the memory; and a driver that gives up of its own will, as
  /// PoCL does without a linker or a place for its cache, may not the next time.
  var isLasting: Bool {
    switch self {
    case .failed, .crashed(signal: SIGABRT, _): false
    case .passed, .miscomputed, .crashed, .hung, .unfinished: true
    }
  }

  /// Whether a device may only have gone wrong because several processes used it at once: one that
  /// takes no more than one, or whose memory they filled.
  var mayBeOfSharing: Bool {
    switch self {
    case .failed, .crashed: true
    case .passed, .miscomputed, .hung, .unfinished: false
    }
  }

  /// What went wrong, in one line where it is no build log; nil where nothing did.
  private var failure: String? {
    switch self {
    case .passed: nil
    case .miscomputed(let operation, let label, let failure):
      "it miscomputes \(operation) (\(label)): \(failure)"
    case .failed(let error): error
    case .crashed(let signal, let words):
      "its driver ended the process with signal \(signal)" + (words.isEmpty ? "" : "\n\(words)")
    case .hung(let seconds): "it did not finish within \(Self.rounded(seconds)) s"
    case .unfinished: "the machine went down or was started anew"
    }
  }

  /// Why the device must not be used, as the end of a sentence whose subject is the device; nil
  /// where it may. The first line is short.
  package var obstacle: String? {
    failure.map {
      (self == .unfinished ? "did not finish its last self-test: " : "fails its self-test: ") + $0
    }
  }

  /// For a listing, in one line.
  package var summary: String {
    if case .passed(let cases, let seconds) = self {
      return "passed, \(cases) cases in \(Self.rounded(seconds)) s"
    }
    return "FAILED: \((failure ?? "").prefix { !$0.isNewline })"
  }

  private static func rounded(_ seconds: Double) -> String {
    let tenths = (seconds * 10).rounded() / 10
    return tenths == tenths.rounded() && abs(tenths) < 1e9 ? "\(Int(tenths))" : "\(tenths)"
  }
}
