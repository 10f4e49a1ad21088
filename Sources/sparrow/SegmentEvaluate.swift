import ArgumentParser
import Compute
import Foundation
import Imaging
import Networks
import Segmentation
import Training

/// `--model` of a segmenter.
struct SegmenterOption: ParsableArguments {
  @Option(
    name: .customLong("model"),
    help: ArgumentHelp(
      "What `sparrow segment train` made: a run or its model file.", valueName: "run"),
    completion: .file(extensions: ["safetensors"]))
  var path: String

  func validate() throws { try requirePath(path, "--model") }

  func load() throws -> SegmenterModel { try SegmenterModel(path: modelPath(path)) }
}

/// How images are cut into tiles.
struct TileOptions: ParsableArguments {
  @Option(
    name: .customLong("tile"), parsing: .unconditional,
    help: ArgumentHelp(
      "The side of the tiles that images are cut into; the result does not depend on it.",
      valueName: "pixels"))
  var size: Int?
  @Option(
    name: .customLong("max-memory"), parsing: .unconditional,
    help: ArgumentHelp(
      "What tiles and rows may take together; tiles are made to fit (default: \(Self.standard)).",
      valueName: "MiB"))
  var megabytes: Int?

  func validate() throws {
    if let size { try requirePositive(size, "--tile") }
    if let megabytes { try requirePositive(megabytes, "--max-memory") }
  }

  private static let standard = PredictionSettings.standardMemoryLimit >> 20

  func settings(
    _ views: PredictionViews, _ adaptation: AdaptationOptions, _ outlines: OutlineOptions
  ) -> PredictionSettings {
    PredictionSettings(
      tileSize: size, memoryLimit: min(megabytes ?? Self.standard, 1 << 30) << 20, views: views,
      adaptation: adaptation.chosen, outlineWeight: outlines.weight)
  }
}

extension PredictionViews: ExpressibleByArgument {}

/// In how many ways an image is looked at.
struct ViewOptions: ParsableArguments {
  @Option(
    name: .customLong("views"),
    help: ArgumentHelp(
      "Average over so many of an image's turns and mirror images (default: 2).",
      discussion: """
        Each view takes as long as the first, and more are a little better: with 2 the image is \
        mirrored left to right as well, with 4 both ways, with 8 also turned.
        """, valueName: "count"))
  var count: PredictionViews?
  /// As `--views 8` was written before there were others.
  @Flag(help: .hidden) var symmetries = false

  var isGiven: Bool { count != nil || symmetries }
  var chosen: PredictionViews { symmetries ? .eight : count ?? .two }
}

struct SegmentEvaluate: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "evaluate",
    abstract: "Score a segmentation model, or masks, against labels.",
    discussion: """
      One confusion matrix over all pixels gives each class's intersection over union (IoU) and \
      Dice, their means over the classes, and the share of pixels that are right; the boundary F \
      is of outlines within 0.75 % of the image's diagonal. Unlabelled pixels do not count.

      Examples:
        sparrow segment evaluate --model runs/cells --images test \\
          --labels test-masks
        sparrow segment evaluate --predictions out --labels test-masks \\
          --classes membrane=0,cell=255 --json
      """)

  @Option(
    name: .customLong("model"),
    help: ArgumentHelp(
      "What `sparrow segment train` made: a run or its model file.", valueName: "run"),
    completion: .file(extensions: ["safetensors"]))
  var model: String?
  @Option(help: "The folder of images to segment.", completion: .directory) var images: String?
  @Option(
    help: "Masks to score instead, of any program, with the labels' values.",
    completion: .directory)
  var predictions: String?
  @Option(help: "The folder of label images, matched by base name.", completion: .directory)
  var labels: String
  @Option(
    help: ArgumentHelp(
      "Which values are which class (default: as the model was trained).", valueName: "classes"))
  var classes: String?
  @Option(
    parsing: .unconditional,
    help: ArgumentHelp("A label value that means unlabelled.", valueName: "value"))
  var ignore: Int?
  @OptionGroup var views: ViewOptions
  @OptionGroup var adaptation: AdaptationOptions
  @OptionGroup var outlines: OutlineOptions
  @OptionGroup var tiles: TileOptions
  @Option(
    help: ArgumentHelp("Write the figures of each image as CSV.", valueName: "file"),
    completion: .file(extensions: ["csv"]))
  var csv: String?
  @OptionGroup var device: DeviceOptions
  @OptionGroup var json: JSONOption

  func validate() throws {
    try requirePath(labels, "--labels")
    guard (predictions == nil) != (model == nil) else {
      throw ValidationError("give --model with --images, or --predictions")
    }
    guard (images == nil) == (model == nil) else {
      throw ValidationError("--model and --images belong together")
    }
    if predictions != nil {
      let given = [
        ("--views", views.isGiven), ("--adapt", adaptation.isGiven),
        ("--outlines", outlines.isGiven), ("--tile", tiles.size != nil),
        ("--max-memory", tiles.megabytes != nil), ("--device", device.name != nil),
      ].first { $0.1 }
      if let given { throw ValidationError("\(given.0) is of --model") }
    }
    if let ignore, !(0...ClassMap.maximumValue).contains(ignore) {
      throw ValidationError("--ignore must be from 0 to \(ClassMap.maximumValue), not \(ignore)")
    }
    _ = try namedClasses()
  }

  private var ignored: [Int] { ignore.map { [$0] } ?? [] }

  private func namedClasses() throws -> ClassMap? {
    guard let classes else { return nil }
    do {
      return try ClassMap(parsing: classes, ignoring: ignored)
    } catch {
      throw ValidationError("--classes \(classes): \(error)")
    }
  }

  /// Which values of the labels are which of the model's classes: those that it was trained with, or
  /// others that are named now, in the model's order.
  private func classes(of model: SegmenterModel) throws -> ClassMap {
    let own = model.description.classes
    do {
      guard let named = try namedClasses() else {
        let more = ignored.filter { !own.ignoredValues.contains($0) }
        return try ClassMap(classes: own.classes, ignoring: own.ignoredValues + more)
      }
      let ordered = own.names.compactMap { name in named.classes.first { $0.name == name } }
      guard ordered.count == own.count, named.count == own.count else {
        throw Problem(
          "--classes names \(named.names.joined(separator: ", ")); the model's classes are "
            + own.names.joined(separator: ", "))
      }
      return try ClassMap(classes: ordered, ignoring: named.ignoredValues)
    } catch let error as ClassMapError {
      throw ValidationError("--ignore \(ignore ?? 0): \(error)")
    }
  }

  func run() throws {
    if let csv { try requirePlace(forFile: csv) }
    let model = try model.map { try SegmenterModel(path: modelPath($0)) }
    if let model { try outlines.check(model) }
    let folder = try LabelledFolder(
      images: images ?? predictions ?? "", labels: labels, ofPredictions: predictions != nil)
    let map =
      try model.map(classes(of:)) ?? namedClasses() ?? folder.inferClasses(ignoring: ignored)
    let result: Result
    if let model {
      result = try device.run(
        Job(
          folder: folder, classes: map, model: model,
          settings: tiles.settings(views.chosen, adaptation, outlines)))
    } else {
      result = try score(folder, map)
    }
    if json.isOn {
      try Console.result(
        String(
          decoding: result.report.json(secondsPerImage: result.medianSeconds), as: UTF8.self))
    } else {
      try Console.result(result.report.table())
      if let seconds = result.medianSeconds {
        Console.note("Segmented in \(significant(seconds, 3)) s an image (median)")
      }
    }
    // After the figures: a file that cannot be written must not take them away.
    if let csv { try AtomicFile.write([UInt8](result.report.csv().utf8), to: csv) }
    try sparrow.report(result.failures)
  }

  /// - Throws: `FileError` where the folder of a file is missing or not to be written, or the file is
  ///   there and anything but figures of before: it may be one of those that are read.
  private func requirePlace(forFile path: String) throws {
    try Folder.requireWritable(above: path)
    let folder = URL(fileURLWithPath: path).deletingLastPathComponent().path
    guard FileManager.default.fileExists(atPath: folder) else {
      throw FileError(path: path, reason: "cannot write: there is no folder \(folder)")
    }
    try AtomicFile.requirePlace(at: path)
    guard try !FileManager.default.fileExists(atPath: path) || SegmentationReport.isTable(path)
    else {
      throw FileError(
        path: path, reason: "is there and holds no figures of images; choose another --csv")
    }
  }

  private struct Result {
    var report: SegmentationReport
    var failures: [FileError] = []
    /// Of each image's prediction, reading and scoring left out.
    var seconds: [Double] = []

    var medianSeconds: Double? {
      seconds.isEmpty ? nil : seconds.sorted()[seconds.count / 2]
    }

    func checked() throws -> Result {
      guard !report.images.isEmpty else {
        throw failures.first ?? FileError(path: "--labels", reason: "no image to score")
      }
      return self
    }
  }

  private func score(_ folder: LabelledFolder, _ classes: ClassMap) throws -> Result {
    var result = Result(report: SegmentationReport(classes: classes.names))
    let progress = FileProgress("scoring")
    for (index, pair) in folder.pairs.enumerated() {
      do {
        for page in try pair.read(classes: classes) {
          let truth = page.labels ?? []
          let mask = try classes.indices(of: page.image, path: page.path)
          try requireClasses(mask, truth, of: page, classes)
          result.report.add(
            page.name, prediction: mask, truth: truth, width: page.image.width,
            height: page.image.height)
        }
      } catch let error as FileError {
        result.failures.append(error)
      }
      progress.show(index + 1, of: folder.pairs.count)
    }
    progress.finish()
    return try result.checked()
  }

  /// - Throws: `FileError` where a mask has an ignored value and the label a class: what is said of
  ///   such a pixel is neither right nor the mistake of one class for another.
  private func requireClasses(
    _ mask: [UInt8], _ truth: [UInt8], of page: LabelledImage, _ classes: ClassMap
  ) throws {
    for (place, (given, real)) in zip(mask, truth).enumerated()
    where given == SegmentationLoss.ignored && real != SegmentationLoss.ignored {
      let (x, y) = (place % page.image.width, place / page.image.width)
      throw FileError(
        path: page.path,
        reason: "has an ignored value at x \(x), y \(y), where the label says "
          + classes.names[Int(real)])
    }
  }

  private struct Job: BackendTask {
    let folder: LabelledFolder
    let classes: ClassMap
    let model: SegmenterModel
    let settings: PredictionSettings

    var operations: Set<String>? { model.operations(settings) }
    var trainingOperations: Set<String>? { model.network.operations(for: .training) }

    func run<B: Backend>(on backend: B) throws -> SegmentEvaluate.Result {
      var result = SegmentEvaluate.Result(report: SegmentationReport(classes: classes.names))
      let predictor = try SegmentationPredictor(model, settings: settings, on: backend)
      let progress = FileProgress("segmenting")
      for (index, pair) in folder.pairs.enumerated() {
        do {
          for page in try pair.read(classes: classes) {
            try model.description.normalisation.check(page.image, path: page.path)
            let start = ContinuousClock.now
            let prediction = try predictor.predict(page.image)
            result.seconds.append(start.secondsSince())
            result.report.add(
              page.name, prediction: prediction.labels, truth: page.labels ?? [],
              width: page.image.width, height: page.image.height)
          }
        } catch let error as FileError {
          result.failures.append(error)
        }
        progress.show(index + 1, of: folder.pairs.count)
      }
      progress.finish()
      return try result.checked()
    }
  }
}
