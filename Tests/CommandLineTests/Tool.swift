import Foundation
import TestSupport
import Testing

/// The built `sparrow`, run as a process of its own.
enum Tool {
  /// What a run left behind.
  struct Outcome: Sendable {
    /// The exit status; -1 where a signal ended it.
    let status: Int32
    let output: String
    let errors: String

    var errorLines: [String] { errors.split(separator: "\n").map(String.init) }

    /// The line that says which device was used, and why.
    var deviceLine: String { errorLines.first { $0.hasPrefix("Device: ") } ?? "" }
  }

  struct NotBuilt: Error {}

  /// Beside the test bundle: the products of one build lie in one folder.
  static var path: String {
    get throws {
      let places =
        [CommandLine.arguments[0], Bundle.main.executablePath ?? ""]
        + Bundle.allBundles.map(\.bundlePath)
      for place in places where !place.isEmpty {
        var folder = URL(fileURLWithPath: place).resolvingSymlinksInPath()
        // On macOS the executable of the tests lies some folders deep in its bundle.
        for _ in 0..<4 {
          folder.deleteLastPathComponent()
          let tool = folder.appendingPathComponent("sparrow").path
          var isFolder: ObjCBool = false
          if FileManager.default.fileExists(atPath: tool, isDirectory: &isFolder),
            !isFolder.boolValue
          {
            return tool
          }
        }
      }
      throw NotBuilt()
    }
  }

  /// Runs on the reference, where the device is not the point: quick, and several at once.
  static func onReference(
    _ arguments: String..., environment: [String: String] = [:], through wrapper: [String] = [],
    output: String? = nil
  ) async throws -> Outcome {
    try await run(
      arguments + ["--device", "reference"], environment: environment, through: wrapper,
      output: output)
  }

  static func run(
    _ arguments: String..., environment: [String: String] = [:]
  ) async throws -> Outcome {
    try await run(arguments, environment: environment)
  }

  /// Runs the tool and waits for its end: as many at once as there are cores on the reference, one
  /// at a time on devices, whose drivers' caches are not made for several first builds at once.
  ///
  /// - Parameters:
  ///   - environment: in addition to the tests' own.
  ///   - wrapper: a command that runs what follows it, the tool's path and arguments.
  ///   - output: a file for standard output, which is then not captured.
  ///   - seconds: after which it is killed.
  static func run(
    _ arguments: [String], environment: [String: String] = [:], through wrapper: [String] = [],
    output: String? = nil, seconds: Double = 600
  ) async throws -> Outcome {
    let command = wrapper + [try path] + arguments
    let turnstile = arguments.contains("reference") ? Turnstile.reference : Turnstile.device
    return try await turnstile.pass {
      try await start(command, environment: environment, output: output, seconds: seconds)
    }
  }

  private static func start(
    _ command: [String], environment: [String: String], output: String?, seconds: Double
  ) async throws -> Outcome {
    let folder = try TemporaryFolder()
    // Files instead of pipes: nobody needs to read while the tool writes.
    let outputPath = try output ?? folder.write("", to: "output")
    let errorsPath = try folder.write("", to: "errors")
    let process = Process()
    process.executableURL = URL(fileURLWithPath: command[0])
    process.arguments = Array(command.dropFirst())
    process.environment = Scratch.environment.merging(environment) { $1 }
    process.standardInput = FileHandle.nullDevice
    let handles = try [outputPath, errorsPath].map {
      try FileHandle(forWritingTo: URL(fileURLWithPath: $0))
    }
    defer { for handle in handles { try? handle.close() } }
    process.standardOutput = handles[0]
    process.standardError = handles[1]
    let watch = Watch()
    let status: Int32 = try await withCheckedThrowingContinuation { continuation in
      process.terminationHandler = { process in
        watch.end()
        continuation.resume(
          returning: process.terminationReason == .exit ? process.terminationStatus : -1)
      }
      do {
        try process.run()
        watch.begin(process.processIdentifier, seconds: seconds)
      } catch {
        continuation.resume(throwing: error)
      }
    }
    if watch.hasKilled { Issue.record("killed after \(seconds) s: \(command)") }
    return Outcome(
      status: status, output: output == nil ? try text(of: outputPath) : "",
      errors: try text(of: errorsPath))
  }
}

/// Commands around the tool, for `Tool.run(through:)`: they wait for the run's checkpoint, then do
/// something to the process.
enum Wrapper {
  /// - Parameter commands: shell commands, in which `$p` is the process.
  static func afterCheckpoint(
    of run: String, named name: String = "checkpoint", _ commands: String
  ) -> [String] {
    // Those who wait are in the background, and not the tool, which would ignore SIGINT there.
    let script = """
      p=$$
      {
        while kill -0 $p 2>/dev/null && [ ! -e "\(run)/\(name).safetensors" ]; do
          sleep 0.005
        done
        \(commands)
      } &
      exec "$@"
      """
    // Seconds of processor time, so that nothing outlives a test that fails; and a shell's word for
    // the end by a signal.
    return [
      "/bin/sh", "-c", "ulimit -t 100; \"$@\"; exit $?", "sh", "/bin/sh", "-c", script, "sh",
    ]
  }
}

/// Kills a process that runs too long.
private final class Watch: @unchecked Sendable {
  private let lock = NSLock()
  // Guarded by `lock`.
  private var isOver = false
  private var killed = false

  var hasKilled: Bool { lock.withLock { killed } }

  func begin(_ process: Int32, seconds: Double) {
    DispatchQueue.global().asyncAfter(deadline: .now() + seconds) {
      self.lock.withLock {
        if self.isOver { return }
        self.killed = true
        kill(process, SIGKILL)
      }
    }
  }

  func end() { lock.withLock { isOver = true } }
}

extension Turnstile {
  fileprivate static let reference = Turnstile(
    places: ProcessInfo.processInfo.activeProcessorCount)
  fileprivate static let device = Turnstile(places: 1)
}
