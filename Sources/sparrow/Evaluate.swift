import ArgumentParser
import Compute
import Datasets
import Foundation
import Imaging
import Networks
import Training

/// `--model`
struct ModelOption: ParsableArguments {
  @Option(
    name: .customLong("model"),
    help: ArgumentHelp(
      "What `sparrow train` made: a run or its model.safetensors.", valueName: "run"),
    completion: .file(extensions: ["safetensors"]))
  var given: String
  @Option(
    name: .customLong("code"),
    help: ArgumentHelp(
      "The code that the model must have; another is an error.", valueName: "code"))
  var code: String?

  func validate() throws {
    try requirePath(given, "--model")
    if let code, Code(code) == nil {
      throw ValidationError("--code \(code) is not one of \(Code.forms)")
    }
  }

  /// The model's file.
  ///
  /// - Throws: `FileError` for a run that has none yet.
  func path() throws -> String { try modelPath(given) }

  /// - Throws: `FileError` where there is no model, or one with another code than `--code`.
  func load() throws -> ModelFile {
    let path = try path()
    let file = try ModelFile(path: path)
    let saved = file.description.training.network.code
    if let code, let wanted = Code(code), wanted != saved {
      throw FileError(
        path: path, reason: "the model was saved with the code \(saved), and --code is \(wanted)")
    }
    return file
  }
}

struct Evaluate: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Score a model on the test part of a data source.",
    discussion: """
      MSE is the mean over images and pixels of (x - xhat)^2; FVU the fraction of variance \
      unexplained, sum ||x - xhat||^2 / sum ||x - mean||^2; L0 the mean number of non-zero code \
      entries of an image; dead the latents that are zero for every image.

      Example:
        sparrow evaluate --model run/model.safetensors --data mnist:mnist --json
      """)

  @OptionGroup var model: ModelOption
  @OptionGroup var data: DataOptions
  @OptionGroup var device: DeviceOptions
  @OptionGroup var json: JSONOption

  func run() throws {
    let file = try model.load()
    let dataset = try load(data.source(), seed: file.description.training.seed)
    try file.requireFit(dataset.test)
    let (report, name) = try device.run(Job(file: file, images: dataset.test))
    if json.isOn {
      try Console.result(
        json: Output(
          mse: JSONNumber(report.mse), fvu: JSONNumber(report.fvu), l0: JSONNumber(report.l0),
          dead: report.dead,
          latents: report.latents, images: report.images, device: name, data: dataset.name,
          model: model.path()))
    } else {
      try Console.result(summary(of: report))
    }
  }

  private struct Output: Encodable {
    let mse, fvu, l0: JSONNumber
    let dead, latents, images: Int
    let device, data, model: String
  }

  private struct Job: BackendTask {
    let file: ModelFile
    let images: ImageSet

    var operations: Set<String>? { file.description.training.evaluationOperations }
    var trainingOperations: Set<String>? { file.description.training.operations }

    func run<B: Backend>(on backend: B) throws -> (EvaluationReport, String) {
      let evaluator = try Evaluator(
        try file.network(on: backend), batchSize: min(256, images.count))
      let report = try evaluator.evaluate(images, normalisation: file.description.normalisation)
      return (report, backend.name)
    }
  }
}

/// Which part of a data source.
enum Part: String, CaseIterable, ExpressibleByArgument {
  case test, train

  func images(of dataset: Dataset) -> ImageSet { self == .test ? dataset.test : dataset.train }
}

struct Encode: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Write the codes of images as an NPY file.",
    discussion: """
      The file holds a float32 array [images, latents], in the order of the data source. It \
      appears whole or not at all.

      Example:
        sparrow encode --model m.safetensors --data mnist:mnist --output codes.npy
        python3 -c 'import numpy; print(numpy.load("codes.npy").shape)'
      """)

  @OptionGroup var model: ModelOption
  @OptionGroup var data: DataOptions
  @Option(help: "The part to encode: test or train.") var part = Part.test
  @OptionGroup var device: DeviceOptions
  @Option(
    help: ArgumentHelp("The NPY file to write.", valueName: "file"),
    completion: .file(extensions: ["npy"]))
  var output: String
  @Flag(help: "Replace the output file where it exists.") var force = false

  func validate() throws { try requirePath(output, "--output") }

  func run() throws {
    try refuse(output: output, force: force, reading: data.source().paths + [model.path()])
    let file = try model.load()
    let dataset = try load(data.source(), seed: file.description.training.seed)
    let images = part.images(of: dataset)
    try file.requireFit(images)
    try device.run(Job(file: file, images: images, output: output))
    try Console.result(
      "Written: \(output), \(counted(images.count, "code")) of \(file.description.training.network.latents)"
    )
  }

  private struct Job: BackendTask {
    let file: ModelFile
    let images: ImageSet
    let output: String

    var operations: Set<String>? { file.description.training.evaluationOperations }
    var trainingOperations: Set<String>? { file.description.training.operations }

    func run<B: Backend>(on backend: B) throws {
      let network = try file.network(on: backend)
      let evaluator = try Evaluator(network, batchSize: min(256, images.count))
      let writer = try NPYWriter(
        path: output, element: Float.self, rowShape: [network.configuration.latents])
      try evaluator.forEachBatch(
        of: images, normalisation: file.description.normalisation
      ) { _, batch in
        try writer.append(try backend.download(batch.code))
      }
      try writer.close()
    }
  }
}

struct Reconstruct: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Write reconstructions as PNG.",
    discussion: """
      With an output that ends in .png: one picture of inputs over their reconstructions. Else a \
      folder of one PNG an image, named by its number.

      Examples:
        sparrow reconstruct --model m.safetensors --data glyphs --output r.png
        sparrow reconstruct --model m.safetensors --data images:mine --output out
      """)

  @OptionGroup var model: ModelOption
  @OptionGroup var data: DataOptions
  @Option(help: "The part to reconstruct: test or train.") var part = Part.test
  @Option(parsing: .unconditional, help: "How many images, from the first on.") var count = 64
  @OptionGroup var device: DeviceOptions
  @Option(
    help: ArgumentHelp("The PNG file or the folder to write.", valueName: "path"),
    completion: .file())
  var output: String
  @Flag(help: "Replace what exists.") var force = false

  func validate() throws {
    try requirePositive(count, "--count")
    try requirePath(output, "--output")
  }

  private static func isPicture(_ path: String) -> Bool { path.lowercased().hasSuffix(".png") }
  private var isPicture: Bool { Self.isPicture(output) }

  /// How many images of an earlier call, by their names, lie in the folder beside those of this one.
  private func othersBefore(_ count: Int) -> Int {
    guard !isPicture, let entries = try? Folder.entries(of: output) else { return 0 }
    return entries.count { entry in
      guard let match = entry.name.wholeMatch(of: /(\d{6,})\.png/), let number = Int(match.1) else {
        return false
      }
      return number >= count
    }
  }

  func run() throws {
    try refuse(
      output: output, force: force, isFolder: !isPicture,
      reading: data.source().paths + [model.path()])
    let file = try model.load()
    let dataset = try load(data.source(), seed: file.description.training.seed)
    let images = part.images(of: dataset)
    try file.requireFit(images)
    let chosen = images.prefix(count)
    try device.run(Job(file: file, images: chosen, output: output))
    let others = othersBefore(chosen.count)
    if others > 0 {
      Console.note(
        "Note: \(counted(others, "image")) of before \(others == 1 ? "stays" : "stay") in \(output)"
      )
    }
    try Console.result("Written: \(output), \(counted(chosen.count, "image"))")
  }

  private struct Job: BackendTask {
    let file: ModelFile
    let images: ImageSet
    let output: String

    var operations: Set<String>? { file.description.training.evaluationOperations }
    var trainingOperations: Set<String>? { file.description.training.operations }

    func run<B: Backend>(on backend: B) throws {
      let evaluator = try Evaluator(
        try file.network(on: backend), batchSize: min(256, images.count))
      let normalisation = file.description.normalisation
      if Reconstruct.isPicture(output) {
        try ImageFile.writePNG(
          reconstructions(
            of: images, count: images.count, evaluator: evaluator, normalisation: normalisation),
          to: output)
        return
      }
      try Folder.make(output) {
        try evaluator.forEachBatch(of: images, normalisation: normalisation) { rows, batch in
          let outputs = try reconstructed(batch, like: images, normalisation, evaluator)
          for (row, image) in zip(rows, outputs) {
            try ImageFile.writePNG(image, to: output + "/" + String(format: "%06d.png", row))
          }
        }
      }
    }
  }
}
