import ArgumentParser
import Datasets
import Foundation
import Imaging
import OpenCLRuntime
import Training

extension CompletionKind {
  /// What `--data` begins with.
  static let sources = words(["mnist:", "idx:", "images:", "glyphs"])
  /// What `--code` begins with.
  static let codes = words(["relu", "topk:", "batchtopk:", "jumprelu", "hardconcrete", "l1"])

  /// Words that may have colons, which zsh would take for the start of an explanation.
  private static func words(_ words: [String]) -> CompletionKind {
    let isForZsh = CompletionShell.requesting == .zsh
    return .list(isForZsh ? words.map { $0.replacingOccurrences(of: ":", with: "\\:") } : words)
  }
}

/// `--device`, with `SPARROW_DEVICE` behind it.
struct DeviceOptions: ParsableArguments {
  @Option(
    name: .customLong("device"),
    help: ArgumentHelp(
      "The device: auto, reference, gpu, cpu, P:D, or part of a device's or vendor's name.",
      discussion: """
        auto prefers a GPU, then a CPU device, then the reference, plain CPU code without OpenCL. \
        P:D are the numbers of platform and device as listed by `sparrow devices`. A device that \
        is named and cannot be used is an error. The environment's SPARROW_DEVICE is the default.
        """,
      valueName: "selection"),
    completion: .list(["auto", "reference", "gpu", "cpu"]))
  var name: String?

  @Flag(
    name: .customLong("force-device"),
    help: ArgumentHelp(
      "Use the device without a self-test, or although it failed.",
      discussion: """
        On the first use of a device with a driver and a build of Sparrow, small cases of the \
        operations are compared with double precision. A device that fails is refused, and auto \
        moves on. `sparrow devices` shows what is remembered, `sparrow devices --retest` tests anew.
        """))
  var isForced = false

  func validate() throws { _ = try request() }

  func request() throws -> DeviceRequest {
    do {
      return try DeviceRequest(flag: name)
    } catch {
      throw ValidationError(name == nil ? "\(error)" : "--device: \(error)")
    }
  }
}

/// The path of a model, or of the model in a run's folder.
///
/// - Throws: `FileError` for a folder that has none.
func modelPath(_ path: String) throws -> String {
  let files = FileManager.default
  var isFolder: ObjCBool = false
  guard files.fileExists(atPath: path, isDirectory: &isFolder), isFolder.boolValue
  else { return path }
  let model = RunFolder(path: path).model
  guard files.fileExists(atPath: model) else {
    let hasRun = !CheckpointStore(folder: path).isEmpty
    throw FileError(
      path: path,
      reason: hasRun
        ? "holds no model yet: the run is not finished; --resume goes on with it"
        : "is a folder without a model.safetensors")
  }
  return model
}

/// `--data`
struct DataOptions: ParsableArguments {
  @Option(
    name: .customLong("data"), help: DataOptions.help,
    completion: .sources)
  var text: String

  static let help = ArgumentHelp(
    "The images: mnist:DIR, idx:IMAGES[,LABELS], images:DIR or glyphs[:COUNT].",
    discussion: """
      mnist:DIR has the four files of MNIST or a set in its format, gzipped or not. idx:IMAGES \
      is one IDX file. images:DIR is a folder of PNG or JPEG images of one size. glyphs are \
      drawn by the program, 10000 unless told. A source without a test part of its own is \
      tested on every tenth image.
      """,
    valueName: "source")

  func validate() throws { _ = try source() }

  func source() throws -> DataSource { try dataSource(text) }
}

/// The data source that a `--data` names.
///
/// - Throws: `ValidationError` that names the flag.
func dataSource(_ text: String) throws -> DataSource {
  do {
    return try DataSource(parsing: text)
  } catch {
    throw ValidationError("--data \(error)")
  }
}

/// `--json`
struct JSONOption: ParsableArguments {
  @Flag(
    name: .customLong("json"), help: "Print one JSON object, and nothing else, on standard output.")
  var isOn = false
}

/// - Throws: `ValidationError` for an empty path.
func requirePath(_ path: String, _ flag: String) throws {
  guard !path.isEmpty else { throw ValidationError("\(flag) needs a path, not an empty text") }
}

/// - Throws: `ValidationError` for a value that is not above 0 or not finite as the devices have it,
///   in single precision.
func requirePositive(_ value: Double?, _ flag: String) throws {
  guard let value else { return }
  guard value > 0, value.isFinite else {
    throw ValidationError("\(flag) must be a positive number, not \(value)")
  }
  guard Float(value).isNormal else { throw outOfRange(value, flag) }
}

/// - Throws: `ValidationError` for a value that is below 0 or not finite in single precision.
func requireNotNegative(_ value: Double?, _ flag: String) throws {
  guard let value else { return }
  guard value >= 0, value.isFinite else {
    throw ValidationError("\(flag) must not be negative, and is \(value)")
  }
  guard Float(value).isNormal || value == 0 else { throw outOfRange(value, flag) }
}

/// - Throws: `ValidationError` for a value that is not from 0 to below 1 in single precision.
func requireShare(_ value: Double?, _ flag: String) throws {
  guard let value else { return }
  guard value >= 0, Float(value) < 1 else {
    throw ValidationError("\(flag) must be from 0 to below 1 in single precision, not \(value)")
  }
}

private func outOfRange(_ value: Double, _ flag: String) -> ValidationError {
  let size = abs(value) < 1 ? "small" : "large"
  return ValidationError("\(flag) \(value) is too \(size) for single precision")
}

/// - Throws: `ValidationError` for a count below 1.
func requirePositive(_ count: Int, _ flag: String) throws {
  guard count >= 1 else { throw ValidationError("\(flag) must be at least 1, not \(count)") }
}

/// - Throws: `ValidationError` for a number outside of the limits of what it becomes.
func requireWithin(_ value: Double, _ limits: ClosedRange<Float>, _ flag: String) throws {
  guard (Double(limits.lowerBound)...Double(limits.upperBound)).contains(value) else {
    throw ValidationError(
      "\(flag) \(value) is not within \(significant(Double(limits.lowerBound), 7)) and "
        + significant(Double(limits.upperBound), 7))
  }
  guard Float(value).isNormal || value == 0 else { throw outOfRange(value, flag) }
}
