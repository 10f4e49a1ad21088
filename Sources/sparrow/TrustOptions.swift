import ArgumentParser
import Foundation
import Imaging
import Training

/// What kind of run it is that `RunTrustOptions` are of.
protocol RunKind {
  static var hasEpochs: Bool { get }
}

/// Of `sparrow train`.
enum EpochRun: RunKind { static var hasEpochs: Bool { true } }
/// Of `sparrow segment`: crops are drawn without end.
enum StepRun: RunKind { static var hasEpochs: Bool { false } }

typealias TrustOptions = RunTrustOptions<EpochRun>
typealias SegmentTrustOptions = RunTrustOptions<StepRun>

/// `--checkpoint-every` and `--on-device-failure`.
struct KeepingOptions<Kind: RunKind>: ParsableArguments {
  @Option(
    name: .customLong("checkpoint-every"),
    help: ArgumentHelp(
      "How often the run is saved: \(Self.intervals), or off (default: 1m).",
      discussion: """
        checkpoint.safetensors is all that is needed to go on; the one before it is kept beside \
        it. SIGINT, SIGTERM and SIGHUP save the run and stop it; a second one stops it at once.
        """, valueName: "interval"))
  var every: String?
  @Option(
    help: ArgumentHelp(
      "After an error of the device: stop, or go on from the last checkpoint on the reference.",
      valueName: "action"))
  var onDeviceFailure = OnDeviceFailure.stop

  func validate() throws {
    guard let every, every != "off" else { return }
    guard let interval = CheckpointInterval(every), Kind.hasEpochs || !interval.isOfEpochs else {
      throw ValidationError("--checkpoint-every takes \(Self.intervals), or off, not \(every)")
    }
  }

  private static var intervals: String {
    Kind.hasEpochs ? CheckpointInterval.forms : CheckpointInterval.formsWithoutEpochs
  }

  /// Nil for none.
  var interval: CheckpointInterval? {
    every.map { CheckpointInterval($0) } ?? .seconds(60)
  }
}

/// `--verify-every`.
struct VerifyingOptions: ParsableArguments {
  @Option(
    name: .customLong("verify-every"), parsing: .unconditional,
    help: ArgumentHelp(
      "Do one step in so many again, every operation on device and reference, and compare.",
      discussion: """
        An operation that differs by more than its rounding bound, or a step that does not come \
        to the same bits, stops the run and is named. The run's result is not changed by it.
        """, valueName: "steps"))
  var interval: Int?

  func validate() throws {
    if let interval { try requirePositive(interval, "--verify-every") }
  }
}

/// `--resume`, `--checkpoint-every`, `--verify-every` and `--on-device-failure`.
struct RunTrustOptions<Kind: RunKind>: ParsableArguments {
  @Option(
    name: .customLong("resume"),
    help: ArgumentHelp(
      "Go on with the run in this folder, from its last checkpoint.",
      discussion: """
        All settings are the checkpoint's\(Kind.hasEpochs ? ", but --epochs may be given" : ""); where \
        the images are may be given if they were moved \
        (\(Kind.hasEpochs ? "--data" : "--images, --labels")). On the same device the run ends \
        with the bits that it would have had without the interruption.
        """, valueName: "run"),
    completion: .directory)
  var run: String?
  @OptionGroup var keeping: KeepingOptions<Kind>
  @OptionGroup var verifying: VerifyingOptions

  func validate() throws {
    if let run { try requirePath(run, "--resume") }
  }

  var verifyEvery: Int? { verifying.interval }
  var interval: CheckpointInterval? { keeping.interval }
  var onDeviceFailure: OnDeviceFailure { keeping.onDeviceFailure }

  /// Refuses flags of the command line that a resumed run takes from its checkpoint.
  ///
  /// - Parameter allowed: those that may be given, without the dashes.
  static func refuseSettings(
    besides allowed: Set<String>, _ arguments: some Sequence<String> = CommandLine.arguments
  ) throws {
    let own: Set = [
      "resume", "checkpoint-every", "verify-every", "on-device-failure", "device", "force-device",
    ]
    for argument in arguments where argument.hasPrefix("--") && argument.count > 2 {
      let name = argument.dropFirst(2).prefix { $0 != "=" }
      guard !own.contains(String(name)), !allowed.contains(String(name)) else { continue }
      throw ValidationError(
        "--resume takes the run's settings from its checkpoint: leave out --\(name)")
    }
  }
}

/// - Throws: `FileError` where `path` is no folder.
func requireRun(_ path: String) throws {
  var isFolder: ObjCBool = false
  guard FileManager.default.fileExists(atPath: path, isDirectory: &isFolder) else {
    throw FileError(path: path, reason: "no such run to resume")
  }
  guard isFolder.boolValue else {
    throw FileError(path: path, reason: "is a file; --resume takes the folder of a run")
  }
}

/// Reads what a checkpoint has the place of.
///
/// - Parameter flags: those that would say otherwise; nil where they were given.
/// - Throws: as `read` does, with `flags` named.
func fromItsPlace<Content>(_ flags: String?, _ read: () throws -> Content) throws -> Content {
  guard let flags else { return try read() }
  do {
    return try read()
  } catch let error as FileError {
    throw FileError(
      path: error.path, offset: error.offset,
      reason: "\(error.reason); \(flags) may say where the images are now")
  }
}
