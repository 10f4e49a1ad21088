import ArgumentParser
import Compute
import Foundation
import Imaging
import Networks
import Segmentation
import Training

struct SegmentPredict: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "predict",
    abstract: "Segment images of any size with a trained model.",
    discussion: """
      Writes a mask for each image, with the values that the labels had: TIFF for TIFF, else PNG. \
      Images are read and written by rows and cut into tiles that give, to the bit, what the whole \
      image would; memory does not grow with the image's height. --probabilities and \
      --uncertainty also write 32-bit TIFFs, and pictures of them where the image is not too large \
      to look at.

      Examples:
        sparrow segment predict --model runs/cells --images new --output out \\
          --overlay
        sparrow segment predict --model runs/cells --images slide.tif \\
          --output out --max-memory 500
      """)

  @OptionGroup var model: SegmenterOption
  @Option(help: "The image, or the folder of images, to segment.", completion: .directory)
  var images: String
  @Flag(help: "Write each class's probability.") var probabilities = false
  @Flag(
    help: """
      Write how uncertain each pixel is, the entropy of the mean over the eight turns and mirror \
      images, from 0 to 1; implies --views 8.
      """)
  var uncertainty = false
  @Flag(help: "Write the image with the classes' outlines and colours over it.")
  var overlay = false
  @OptionGroup var views: ViewOptions
  @OptionGroup var adaptation: AdaptationOptions
  @OptionGroup var outlines: OutlineOptions
  @OptionGroup var tiles: TileOptions
  @OptionGroup var device: DeviceOptions
  @Option(
    help: ArgumentHelp("The folder to write; made where absent.", valueName: "folder"),
    completion: .directory)
  var output: String

  func validate() throws {
    try requirePath(output, "--output")
    try requirePath(images, "--images")
  }

  func run() throws {
    let model = try model.load()
    try outlines.check(model)
    let cases = try ImageCases.list(images)
    try Folder.requireWritable(in: output)
    let failures = try device.run(
      Job(
        model: model, cases: cases, output: output,
        settings: tiles.settings(uncertainty ? .eight : views.chosen, adaptation, outlines),
        wantsProbabilities: probabilities, wantsUncertainty: uncertainty, wantsOverlay: overlay))
    let done = cases.count - failures.count
    if done > 0 { try Console.result("Written: \(counted(done, "mask")) to \(output)") }
    try report(failures)
  }

  private struct Job: BackendTask {
    let model: SegmenterModel
    let cases: [ImageCase]
    let output: String
    let settings: PredictionSettings
    let wantsProbabilities, wantsUncertainty, wantsOverlay: Bool

    var operations: Set<String>? { model.operations(settings) }
    var trainingOperations: Set<String>? { model.network.operations(for: .training) }

    func run<B: Backend>(on backend: B) throws -> [FileError] {
      let predictor = try SegmentationPredictor(model, settings: settings, on: backend)
      var failures: [FileError] = []
      try Folder.make(output)
      for (index, entry) in cases.enumerated() {
        do {
          try predict(entry, predictor, progress: RowProgress(entry.name, index, cases.count))
        } catch let error as FileError {
          failures.append(error)
        }
      }
      Console.clearLine()
      return failures
    }

    private func predict<B: Backend>(
      _ entry: ImageCase, _ predictor: SegmentationPredictor<B>, progress: RowProgress
    ) throws {
      let source = try ImageRows(entry)
      for page in 0..<source.pageCount {
        try source.turn(to: page)
        try model.description.normalisation.check(
          channels: source.channels, sampleType: source.sampleType, path: entry.paths[0])
        let suffix = source.pageCount > 1 ? String(format: "-page%04d", page + 1) : ""
        let outputs = try PredictionOutputs(
          base: "\(output)/\(entry.name)\(suffix)", source: source, model: model,
          wantsProbabilities: wantsProbabilities, wantsUncertainty: wantsUncertainty,
          wantsOverlay: wantsOverlay)
        try predictor.predict(width: source.width, height: source.height) { rows in
          let samples = try source.rows(rows)
          try outputs.keep(samples, rows: rows)
          return samples
        } consume: { band in
          try outputs.write(band)
          progress.show(band.rows.upperBound, of: source.height)
        }
        try outputs.commit()
      }
    }
  }
}

/// A live line over the rows of images.
final class RowProgress {
  private let name: String
  private let index, count: Int
  private let start = ContinuousClock.now
  private var shown = ContinuousClock.now

  init(_ name: String, _ index: Int, _ count: Int) {
    (self.name, self.index, self.count) = (name, index, count)
  }

  func show(_ done: Int, of total: Int) {
    guard start.secondsSince() > 1, shown.secondsSince() > (Console.isTerminal ? 0.1 : 5) else {
      return
    }
    shown = .now
    let left = start.secondsSince() / Double(done) * Double(total - done)
    let line =
      "\(name) (\(index + 1) of \(count)): row \(done) of \(total)  \(duration(left)) left"
    Console.isTerminal ? Console.overwrite(line) : Console.note(line)
  }
}
