import ArgumentParser
import Compute
import Foundation
import Imaging
import Networks
import Segmentation
import Training

extension ConvolutionalConfiguration.Preset: ExpressibleByArgument {}

/// The network's size and its code.
struct SegmentNetworkOptions: ParsableArguments {
  @Option(help: "The network's size: small (8-16-32 channels) or base (16-32-64-128).")
  var preset: ConvolutionalConfiguration.Preset?
  @Option(
    help: ArgumentHelp(
      "The code of each position at the lowest resolution: \(Code.forms) "
        + "(default: topk of a quarter of the latents; small has 32, base 128).",
      valueName: "code"),
    completion: .codes)
  var code: String?

  func validate() throws {
    if let code, Code(code) == nil {
      throw ValidationError("--code \(code) is not one of \(Code.forms)")
    }
  }

  /// - Parameter model: a pretrained front end, whose shape holds where nothing is given.
  func configuration(
    inputs: Int, outputs: Int, hasSkips: Bool, pretrained model: PretrainedModel? = nil
  ) throws -> ConvolutionalConfiguration {
    var network: ConvolutionalConfiguration
    if let model {
      network = model.network
      network.hasSkips = hasSkips
      network.outputs = outputs
      if let preset {
        let wanted = ConvolutionalConfiguration(
          preset, inputs: inputs, code: network.code, hasSkips: hasSkips, outputs: outputs)
        guard wanted.baseChannels == network.baseChannels, wanted.levels == network.levels else {
          throw ValidationError(
            "--preset \(preset.rawValue) is not the pretrained model's network, \(network.summary)")
        }
      }
      if let code, let code = Code(code), code != network.code {
        throw ValidationError(
          "--code \(code) is not the pretrained model's, which is \(network.code)")
      }
    } else {
      network = ConvolutionalConfiguration(
        preset ?? .base, inputs: inputs, code: code.flatMap { Code($0) }, hasSkips: hasSkips,
        outputs: outputs)
    }
    if let problem = network.problem { throw ValidationError("--code: \(problem)") }
    return network
  }
}

/// How long and in which portions a network is trained.
struct SegmentTrainingOptions: ParsableArguments {
  @Option(parsing: .unconditional, help: "Steps of training (default: 800).") var steps: Int?
  @Option(
    parsing: .unconditional,
    help: "Train for so many minutes instead; the result then depends on the machine's speed.")
  var minutes: Double?
  @Option(parsing: .unconditional, help: "Crops in a step.") var batch = 4
  @Option(parsing: .unconditional, help: "The side of the crops in pixels.") var crop: Int?
  @Option(parsing: .unconditional, help: "Adam's step size (default: 2e-3).")
  var learningRate: Double?
  @Option(parsing: .unconditional, help: "The seed of weights, crops and their changes.")
  var seed: UInt64 = 0

  func validate() throws {
    if let steps { try requirePositive(steps, "--steps") }
    if steps != nil, minutes != nil {
      throw ValidationError("--steps and --minutes exclude each other")
    }
    if let minutes, !(minutes > 0 && minutes.isFinite) {
      throw ValidationError("--minutes must be a positive number, not \(minutes)")
    }
    try requirePositive(batch, "--batch")
    if let crop { try requirePositive(crop, "--crop") }
    if let learningRate, !(learningRate > 0 && learningRate.isFinite) {
      throw ValidationError("--learning-rate must be a positive number, not \(learningRate)")
    }
  }

  var length: TrainingLength { minutes.map { .minutes($0) } ?? .steps(steps ?? 800) }

  /// - Parameter images: those that crops are taken from; none is made larger than the smallest.
  func configuration(
    _ network: ConvolutionalConfiguration, images: [LabelledImage]
  ) throws -> ConvolutionalTraining {
    let smallest = images.map { min($0.image.width, $0.image.height) }.min() ?? 192
    if let crop, crop % network.alignment != 0 {
      throw ValidationError("--crop must be a multiple of \(network.alignment), not \(crop)")
    }
    let fitting = max(network.alignment, smallest / network.alignment * network.alignment)
    let training = ConvolutionalTraining(
      network: network, cropSize: crop ?? min(192, fitting), batchSize: batch, length: length,
      learningRate: learningRate ?? 2e-3, seed: seed)
    if let problem = training.problem { throw ValidationError(problem) }
    return training
  }
}

/// The folder that a segmentation's training leaves behind: `model.safetensors`, `metrics.csv` and a
/// picture.
struct SegmentRun {
  let path: String
  /// The picture's name.
  let picture: String

  var model: String { "\(path)/model.safetensors" }
  var metrics: String { "\(path)/metrics.csv" }
  var picturePath: String { "\(path)/\(picture)" }

  /// - Parameter sources: the folders that are read.
  /// - Throws: `FileError` where the folder holds a run already, cannot be made, or is one of `sources`.
  func refuseExisting(reading sources: [String] = []) throws {
    try refuse(output: path, reading: sources)
    try CheckpointStore(folder: path).refuseExistingRun([model, metrics, picturePath])
  }

  /// Whether `metrics.csv` is whole for a run of so many steps.
  func hasMetrics(upTo steps: Int) -> Bool {
    guard let data = FileManager.default.contents(atPath: metrics),
      data.last == UInt8(ascii: "\n")
    else { return false }
    let last = String(decoding: data, as: UTF8.self).split(separator: "\n").dropFirst().last
    // A run whose length is a time may end before a line is due.
    let logged = last.map { Int($0.prefix { $0 != "," }) ?? -1 } ?? 0
    return logged <= steps && logged > steps - StepLog.stepsInRow
  }

  /// `metrics.csv`, whole.
  func write(_ log: StepLog) throws { try AtomicFile.write([UInt8](log.csv.utf8), to: metrics) }
}

/// Shows steps as they are done, and keeps means over ten of them.
final class StepLog {
  static let stepsInRow = 10

  private let names: [String]
  private let figures: ([Float]) -> [Double]
  private var sums: [Double]
  private var count = 0
  private var lastShown = ContinuousClock.now
  /// Of `stepsInRow` steps each: the last one, the means, the seconds until then.
  private var rows: [[Double]] = []
  private var means: [Double] = []

  /// - Parameter figures: from what the loss gives to the numbers that `names` names.
  init(_ names: [String], figures: @escaping ([Float]) -> [Double]) {
    self.names = names
    self.figures = figures
    sums = names.map { _ in 0 }
  }

  /// With the names in the first line.
  var csv: String {
    let lines = rows.map { row in
      ([String(format: "%.0f", row[0])] + row[1...names.count].map { significant($0, 6) }
        + [String(format: "%.3f", row[names.count + 1])]).joined(separator: ",") + "\n"
    }
    return "step,\(names.joined(separator: ",")),seconds\n" + lines.joined()
  }

  /// What goes into a checkpoint and comes from one.
  var state: StepLogState {
    get {
      var state = StepLogState()
      (state.rows, state.sums, state.count) = (rows, sums, count)
      return state
    }
    set {
      // With as many numbers in each row as there are sums: a checkpoint is held to it.
      guard newValue.sums.count == names.count else { return }
      (rows, sums, count) = (newValue.rows, newValue.sums, newValue.count)
    }
  }

  func show(_ report: StepReport) {
    for (index, value) in figures(report.figures).enumerated() { sums[index] += value }
    count += 1
    if count == Self.stepsInRow || report.step == report.steps {
      means = sums.map { $0 / Double(count) }
      rows.append([Double(report.step)] + means + [report.seconds])
      sums = names.map { _ in 0 }
      count = 0
    }
    let isLast = report.remaining <= 0
    guard lastShown.secondsSince() > (Console.isTerminal ? 0.2 : 10) || isLast else { return }
    lastShown = .now
    let values = zip(names, means).map { "\($0) \(significant($1, 3))" }
    let line =
      "step \(report.step)/\(report.steps)  " + values.joined(separator: "  ")
      + "  \(shortTime(report.seconds / Double(report.step))) s a step"
      + "  \(duration(report.remaining)) left"
    Console.isTerminal && !isLast ? Console.overwrite(line) : Console.noteLine(line)
  }
}

extension Console {
  /// A line in place of the live one.
  static func noteLine(_ line: String) {
    clearLine()
    note(line)
  }
}

/// Says before hours are spent what of the images will not be learned from.
func noteLosses(of images: [LabelledImage], _ failures: [FileError]) {
  if let first = failures.first {
    Console.note(
      "Note: \(counted(failures.count, "file")) cannot be used, listed at the end: "
        + (failures.count > 1 ? "the first is \(first)" : "\(first)"))
  }
  let transparent = images.count { $0.image.hadAlpha }
  if transparent > 0 {
    Console.note("Note: \(counted(transparent, "image")) with alpha, which is not used")
  }
}

/// Lists files that could not be used, after the work on the others is done.
///
/// - Throws: exit status 1 where there are any.
func report(_ failures: [FileError]) throws {
  guard !failures.isEmpty else { return }
  Console.clearLine()
  Console.note("\(counted(failures.count, "file")) could not be used:")
  for failure in failures { Console.note("  \(failure)") }
  throw ExitCode(1)
}
