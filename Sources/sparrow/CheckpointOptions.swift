import ArgumentParser
import Foundation
import Training

/// How often a run is saved.
enum CheckpointEvery: ExpressibleByArgument {
  case off
  case interval(CheckpointInterval)

  init?(argument: String) {
    if argument == "off" {
      self = .off
    } else {
      guard let interval = CheckpointInterval(argument) else { return nil }
      self = .interval(interval)
    }
  }

  var interval: CheckpointInterval? {
    if case .interval(let interval) = self { return interval }
    return nil
  }
}

/// `--resume` and `--checkpoint-every`
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
  var every: CheckpointEvery?

  func validate() throws {
    if let run { try requirePath(run, "--resume") }
  }

  var interval: CheckpointInterval? { (every ?? .interval(.seconds(60))).interval }

  /// Refuses flags of the command line that a resumed run takes from its checkpoint.
  ///
  /// - Parameter allowed: those that may be given, without the dashes.
  static func refuseSettings(
    besides allowed: Set<String>, _ arguments: some Sequence<String> = CommandLine.arguments
  ) throws {
    let own: Set = ["resume", "checkpoint-every", "device", "force-device"]
    for argument in arguments where argument.hasPrefix("--") && argument.count > 2 {
      let name = argument.dropFirst(2).prefix { $0 != "=" }
      guard !own.contains(String(name)), !allowed.contains(String(name)) else { continue }
      throw ValidationError(
        "--resume takes the run's settings from its checkpoint: leave out --\(name)")
    }
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
