import ArgumentParser
import Compute
import Datasets
import Foundation
import Imaging
import Networks
import Training

struct Train: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Train an autoencoder on images.",
    discussion: """
      Minimises alpha ||x - xhat||^2 + beta ||z||_0. The defaults are the collapsed autoencoder: \
      dense layers inputs-64-64-64-inputs, ReLU, a sigmoid at the end, Adam. --code makes the \
      code sparse, and --target-l0 holds a number of active latents. The output folder receives \
      model.safetensors, metrics.csv (epoch, loss, mse, l0, seconds and more) and \
      reconstructions.png, test images over their reconstructions.

      Examples:
        sparrow train --data glyphs --epochs 10 --output runs/glyphs
        sparrow train --data mnist:mnist --code topk:16 --output runs/topk
        sparrow train --data mnist:mnist --code jumprelu --target-l0 8 --output j8
        sparrow train --data mnist:mnist --latents 1024 --code topk:32 --output d32
        sparrow train --data images:photos --batch 32 --device gpu --output run
      """)

  @OptionGroup var data: DataOptions
  @OptionGroup(title: "Network") var network: NetworkOptions
  @OptionGroup(title: "Training") var training: TrainingOptions
  @OptionGroup var device: DeviceOptions
  @Option(
    help: ArgumentHelp("The folder to write; made where absent.", valueName: "run"),
    completion: .directory)
  var output: String

  func validate() throws {
    try requirePath(output, "--output")
  }

  func run() throws {
    let folder = RunFolder(path: output)
    try folder.refuseExistingRun()
    let dataset = try load(data.source(), seed: training.seed)
    Console.note("Data: \(dataset.summary)")
    guard training.batch <= dataset.train.count else {
      throw TrainingError.batchLargerThanSet(batch: training.batch, count: dataset.train.count)
    }
    let shape = try network.configuration(inputs: dataset.train.featureCount)
    let configuration = try training.configuration(
      for: shape, targetL0: network.targetL0, defaultEpochs: shape.isDictionary ? 10 : 50)
    try device.run(Job(configuration: configuration, dataset: dataset, folder: folder))
  }

  private struct Job: BackendTask {
    let configuration: TrainingConfiguration
    let dataset: Dataset
    let folder: RunFolder

    func run<B: Backend>(on backend: B) throws {
      let trainer = try Trainer(
        configuration, images: dataset.train, normalisation: .unit, on: backend)
      try folder.create()
      Console.note(
        configuration.summary(
          parameters: trainer.step.network.arena.layout.parameterCount))

      let display = TrainingDisplay(epochs: configuration.epochs)
      var lastSaved = ContinuousClock.now
      do {
        try trainer.run { event in
          display.show(event)
          if case .warning(let line) = event { Console.note("Warning: \(line)") }
          guard case .epoch(let metrics) = event else { return }
          try folder.append(metrics)
          // A long run that is cut off leaves a model of a minute ago at most.
          if lastSaved.secondsSince() > 60 {
            try save(trainer, configuration)
            lastSaved = .now
          }
        }
      } catch let error as TrainingError {
        Console.clearLine()
        if case .diverged = error { try save(trainer, configuration) }
        throw error
      }
      try save(trainer, configuration)

      let evaluator = try Evaluator(
        trainer.step.network, batchSize: min(256, dataset.test.count))
      let report = try evaluator.evaluate(dataset.test, normalisation: .unit)
      try ImageFile.writePNG(
        reconstructions(of: dataset.test, count: 64, evaluator: evaluator, normalisation: .unit),
        to: folder.picture)
      try Console.result(summary(of: report))
      try Console.result("Written: \(folder.model), metrics.csv, reconstructions.png")
    }

    private func save<B: Backend>(
      _ trainer: Trainer<B>, _ configuration: TrainingConfiguration
    ) throws {
      let description = ModelDescription(
        training: configuration, normalisation: .unit, imageWidth: dataset.train.width,
        imageHeight: dataset.train.height, imageChannels: dataset.train.channels,
        epochsDone: trainer.lastGoodEpoch, data: dataset.name)
      try ModelFile(description: description, parameters: trainer.lastGoodParameters)
        .write(to: folder.model)
    }
  }
}

/// Loads with progress on standard error where it takes long.
func load(_ source: DataSource, seed: UInt64?) throws -> Dataset {
  let start = ContinuousClock.now
  var shown = start
  defer { if shown > start { Console.clearLine() } }
  return try source.load(seed: seed) { done, total in
    guard start.secondsSince() > 1, shown.secondsSince() > (Console.isTerminal ? 0.1 : 5) else {
      return
    }
    shown = .now
    let line = "reading the data: \(done) of \(total)"
    Console.isTerminal ? Console.overwrite(line) : Console.note(line)
  }
}

/// For example "Test: MSE 0.00591, FVU 0.0881, L0 54.2 of 64, 3 dead latents, 10000 images".
func summary(of report: EvaluationReport) -> String {
  let fvu = report.fvu.isFinite ? significant(report.fvu) : "undefined (all images are alike)"
  return "Test: MSE \(significant(report.mse)), FVU \(fvu), "
    + "L0 \(String(format: "%.1f", report.l0)) of \(report.latents), "
    + "\(counted(report.dead, "dead latent")), \(counted(report.images, "image"))"
}

/// For example `1 image` or `3 images`.
func counted(_ count: Int, _ noun: String) -> String { "\(count) \(noun)\(count == 1 ? "" : "s")" }

extension TrainingConfiguration {
  /// What will be trained and how, in a few lines.
  func summary(parameters: Int) -> String {
    let widths = network.widths.map(String.init).joined(separator: "-")
    var lines = ["Network: \(widths), code \(network.code), \(parameters) parameters"]
    guard network.code != .relu else { return lines[0] }
    var parts = ["\(schedule.kind) rate \(significant(learningRate))"]
    if schedule.warmup > 0 { parts.append("warm-up \(significant(schedule.warmup)) epochs") }
    if let annealing { parts.append("K from \(annealing.start) to \(annealing.end)") }
    if let targetL0 { parts.append("beta held for an L0 of \(significant(targetL0.value))") }
    parts.append(balance == nil ? "no remedy for dead latents" : "biases of idle latents raised")
    if network.allowsSparseArithmetic { parts.append("\(chosenArithmetic) arithmetic") }
    lines.append("Training: " + parts.joined(separator: ", "))
    return lines.joined(separator: "\n")
  }
}
