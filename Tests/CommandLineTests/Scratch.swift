import Datasets
import Foundation
import Imaging
import TestSupport
import Testing

/// What all tests share: the tool's caches and a model.
enum Scratch {
  /// Removed when the process ends.
  private static let folder: TemporaryFolder? = {
    let folder = try? TemporaryFolder()
    atexit { Scratch.folder?.remove() }
    return folder
  }()

  /// A folder for what the tests of one file share.
  static func path(_ name: String) -> String {
    (try? folder?.makeFolder(name)) ?? "/nonexistent"
  }

  /// The tests' own without the tool's variables, and with caches of the tests' own. The device
  /// that all tests are to run on stays the default.
  static let environment: [String: String] = {
    var environment = ProcessInfo.processInfo.environment.filter {
      !$0.key.hasPrefix("SPARROW_") || $0.key == "SPARROW_DEVICE"
    }
    environment["SPARROW_CACHE_DIR"] = path("programs")
    environment["POCL_CACHE_DIR"] = path("pocl")
    // Measuring matmul's variants takes long at the first use of each shape.
    environment["SPARROW_TUNE"] = "off"
    return environment
  }()

  /// A model of 28x28 glyphs that the tool has trained, the same for all tests, with its run's
  /// folder around it.
  static var model: String { get async throws { try await run.value + "/model.safetensors" } }

  private static let run = Task {
    let run = path("model") + "/run"
    let outcome = try await Tool.onReference(
      "train", "--data", "glyphs:300", "--epochs", "3", "--batch", "50", "--seed", "5",
      "--output", run)
    #expect(outcome.status == 0, "\(outcome.errors)")
    return run
  }

  /// The numbers of images in the parts of `glyphs:300`.
  static let trainCount = 300
  static let testCount = 60
}

func bytes(of path: String) throws -> [UInt8] {
  Array(try Data(contentsOf: URL(fileURLWithPath: path)))
}

/// FNV-1a over the file: a number tells that two files differ, and printing it is quick, while the
/// expectations of two large arrays would take minutes to fail.
func fingerprint(of path: String) throws -> UInt64 {
  try bytes(of: path).reduce(0xCBF2_9CE4_8422_2325) { ($0 ^ UInt64($1)) &* 0x100_0000_01B3 }
}

func text(of path: String) throws -> String { String(decoding: try bytes(of: path), as: UTF8.self) }

/// A decoder of what the tool prints with `--json`.
func snakeCaseDecoder() -> JSONDecoder {
  let decoder = JSONDecoder()
  decoder.keyDecodingStrategy = .convertFromSnakeCase
  return decoder
}

/// An IDX file's bytes: the header for `shape` and elements that differ from each other.
func idx(_ shape: [Int], elements: Int? = nil) -> [UInt8] {
  var bytes: [UInt8] = [0, 0, 8, UInt8(shape.count)]
  for size in shape { bytes += withUnsafeBytes(of: UInt32(size).bigEndian) { Array($0) } }
  return bytes + (0..<(elements ?? shape.reduce(1, *))).map { UInt8(truncatingIfNeeded: $0 * 37) }
}

/// A grey image with some pattern in it.
func pattern(width: Int, height: Int) -> Image {
  Image(
    width: width, height: height, channels: 1,
    samples: (0..<width * height).map { UInt8(truncatingIfNeeded: $0 * 11) })
}

/// Expects a failure as users are to see it: the status, nothing on standard output, and one line
/// at the end of standard error that starts with `Error:` and holds `words`; before it only what is
/// said of every run. A wrong command line (64) is that one line and no more.
func expectFailure(
  _ outcome: Tool.Outcome, status: Int32 = 1, _ words: String..., printsNothing: Bool = true,
  sourceLocation: SourceLocation = #_sourceLocation
) {
  #expect(outcome.status == status, "\(outcome.errors)", sourceLocation: sourceLocation)
  if printsNothing { #expect(outcome.output == "", sourceLocation: sourceLocation) }
  let lines = outcome.errorLines
  guard let last = lines.last else {
    Issue.record("nothing on standard error", sourceLocation: sourceLocation)
    return
  }
  #expect(last.hasPrefix("Error: "), sourceLocation: sourceLocation)
  for word in words {
    #expect(last.contains(word), "'\(word)' in: \(last)", sourceLocation: sourceLocation)
  }
  let notes = ["Data: ", "Self-test of ", "Device: ", "Network: ", "epoch "]
  for line in lines.dropLast() {
    #expect(
      status != 64 && notes.contains(where: line.hasPrefix), "unexpected: \(line)",
      sourceLocation: sourceLocation)
  }
}

/// The columns of `metrics.csv` but for the times.
func figures(_ run: String) throws -> [[Substring]] {
  try text(of: run + "/metrics.csv").split(separator: "\n").map { line in
    let cells = line.split(separator: ",", omittingEmptySubsequences: false)
    return Array(cells[0..<4] + cells[6...])
  }
}

/// That a run has ended with the model and the figures of another.
func expectSameEnd(
  _ run: String, as whole: String, sourceLocation: SourceLocation = #_sourceLocation
) throws {
  #expect(
    try fingerprint(of: run + "/model.safetensors")
      == fingerprint(of: whole + "/model.safetensors"), sourceLocation: sourceLocation)
  #expect(try figures(run) == figures(whole), sourceLocation: sourceLocation)
}
