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
      Writes a mask for each image and page, with the values that the labels had: TIFF for TIFF, \
      else PNG; masks of before are replaced, images never. Images are read and written by rows and \
      cut into tiles that give, to the bit, what the whole image would; memory does not grow with \
      the image's height. --probabilities and --uncertainty also write 32-bit TIFFs, and pictures of \
      them where the image is not too large to look at.

      Examples:
        sparrow segment predict --model runs/cells --images new --output out \\
          --overlay
        sparrow segment predict --model runs/cells --images slide.tif \\
          --output out --max-memory 500
      """)

  @OptionGroup var model: SegmenterOption
  @Option(help: "The image, or the folder of images, to segment.", completion: .file())
  var images: String
  @Flag(help: "Write each class's probability.") var probabilities = false
  @Flag(
    help: """
      Write how uncertain each pixel is, the entropy of the mean over the eight turns and mirror \
      images, from 0 to 1; implies --views 8.
      """)
  var uncertainty = false
  @Flag(
    help: """
      Write the image with the classes' outlines and colours over it, where it is not too large to \
      look at.
      """)
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
    let (written, failures) = try device.run(
      Job(
        model: model, cases: cases, output: output,
        settings: tiles.settings(uncertainty ? .eight : views.chosen, adaptation, outlines),
        wantsProbabilities: probabilities, wantsUncertainty: uncertainty, wantsOverlay: overlay))
    if written > 0 { try Console.result("Written: \(counted(written, "mask")) to \(output)") }
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

    func run<B: Backend>(on backend: B) throws -> (written: Int, failures: [FileError]) {
      let predictor = try SegmentationPredictor(model, settings: settings, on: backend)
      let names = OutputNames(sources: cases.flatMap(\.paths))
      var (written, failures) = (0, [FileError]())
      try Folder.make(output) {
        for (index, entry) in cases.enumerated() {
          let progress = RowProgress(entry.name, index, cases.count)
          do {
            try predict(entry, predictor, names, &written, progress)
          } catch let error as FileError {
            failures.append(error)
          } catch let error as SegmentationError {
            failures.append(FileError(path: entry.paths[0], reason: "\(error)"))
          }
        }
      }
      Console.clearLine()
      return (written, failures)
    }

    private func predict<B: Backend>(
      _ entry: ImageCase, _ predictor: SegmentationPredictor<B>, _ names: OutputNames,
      _ written: inout Int, _ progress: RowProgress
    ) throws {
      let source = try ImageRows(entry)
      for (number, page) in source.pages.enumerated() {
        try source.turn(to: page)
        try model.description.normalisation.check(
          channels: source.channels, sampleType: source.sampleType, path: entry.paths[0])
        let name = entry.name(ofPage: number, among: source.pages.count)
        let outputs = try PredictionOutputs(
          base: "\(output)/\(name)", source: source, model: model,
          wantsProbabilities: wantsProbabilities, wantsUncertainty: wantsUncertainty,
          wantsOverlay: wantsOverlay
        ) { try names.claim($0, for: entry.paths[0]) }
        if outputs.leavesOutPictures {
          Console.noteLine("Note: \(entry.paths[0]) is too large to look at: no pictures of it")
        }
        try predictor.predict(width: source.width, height: source.height) { rows in
          let samples = try source.rows(rows)
          try outputs.keep(samples, rows: rows)
          return samples
        } consume: { band in
          try outputs.write(band)
          progress.show(band.rows.upperBound, of: source.height)
        }
        try outputs.commit()
        written += 1
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
