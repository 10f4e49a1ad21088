import ArgumentParser
import Foundation
import OpenCLRuntime
import Training

enum OnDeviceFailure: String, CaseIterable, ExpressibleByArgument { case stop, reference }

/// `--resume`, `--checkpoint-every` and `--on-device-failure`.
struct CheckpointOptions: ParsableArguments {
  @Option(
    name: .customLong("resume"),
    help: ArgumentHelp(
      "Go on with the run in this folder, from its last checkpoint.",
      discussion: """
        All settings are the checkpoint's. On the same device the run ends with the bits that it \
        would have had without the interruption.
        """, valueName: "run"),
    completion: .directory)
  var run: String?
  @Option(
    name: .customLong("checkpoint-every"),
    help: ArgumentHelp(
      "How often the run is saved: \(CheckpointInterval.forms), or off (default: 1m).",
      discussion: """
        checkpoint.safetensors is all that is needed to go on; the one before it is kept beside \
        it. SIGINT and SIGTERM save the run and stop it; a second one stops it at once.
        """, valueName: "interval"))
  var every: String?
  @Option(
    help: ArgumentHelp(
      "After an error of the device: stop, or go on from the last checkpoint on the reference.",
      valueName: "action"))
  var onDeviceFailure = OnDeviceFailure.stop

  func validate() throws {
    if let run { try requirePath(run, "--resume") }
    if let every, every != "off", CheckpointInterval(every) == nil {
      throw ValidationError(
        "--checkpoint-every takes \(CheckpointInterval.forms), or off, not \(every)")
    }
  }

  /// Nil for none.
  var interval: CheckpointInterval? {
    every.map { CheckpointInterval($0) } ?? .seconds(60)
  }

  /// Refuses flags of the command line that a resumed run takes from its checkpoint.
  ///
  /// - Parameter allowed: those that may be given, without the dashes.
  static func refuseSettings(
    besides allowed: Set<String>, _ arguments: some Sequence<String> = CommandLine.arguments
  ) throws {
    let own: Set = [
      "resume", "checkpoint-every", "on-device-failure", "device", "force-device",
    ]
    for argument in arguments where argument.hasPrefix("--") && argument.count > 2 {
      let name = argument.dropFirst(2).prefix { $0 != "=" }
      guard !own.contains(String(name)), !allowed.contains(String(name)) else { continue }
      throw ValidationError(
        "--resume takes the run's settings from its checkpoint: leave out --\(name)")
    }
  }
}

extension OpenCLError {
  /// Says that the run goes on on the reference.
  ///
  /// - Parameter place: such as "after step 3".
  func noteGoingOn(_ place: String) {
    Console.clearLine()
    Console.note(
      "Warning: the device failed: "
        + "\(self)".appendingToFirstLine("; going on \(place), on the reference"))
  }

  /// What ends a run.
  ///
  /// - Parameter advice: how it can go on, from its first sign of punctuation.
  func problem(advice: String) -> Problem {
    guard !isShortageOfMemory else { return Problem("out of device memory: \(self)\(advice)") }
    return Problem(
      "the device failed: "
        + "\(self)".appendingToFirstLine(
          advice + "; --device reference works without OpenCL"))
  }
}

/// The run's folder while it is written: its lock and its checkpoints.
final class RunSession {
  let store: CheckpointStore
  private let folder: String
  private var lock: RunLock?

  init(folder: String) {
    self.folder = folder
    store = CheckpointStore(folder: folder)
  }

  /// Takes the folder, which must exist, for this process alone.
  func open() throws {
    guard lock == nil else { return }
    lock = try RunLock(folder: folder)
    store.removeUnfinished()
  }

  var isOpen: Bool { lock != nil }
}
