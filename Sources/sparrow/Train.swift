import ArgumentParser
import Compute
import Datasets
import Foundation
import Imaging
import Networks
import Training

enum Preset: String, CaseIterable, ExpressibleByArgument {
  case collapsed
}

struct Train: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Train an autoencoder on images.",
    discussion: """
      The defaults are the collapsed autoencoder: dense layers inputs-64-64-64-inputs, ReLU, a \
      sigmoid at the end, Adam. The output folder receives model.safetensors, metrics.csv (epoch, \
      loss, mse, l0, seconds) and reconstructions.png, test images over their reconstructions.

      Examples:
        sparrow train --data glyphs --epochs 10 --output runs/glyphs
        sparrow train --data mnist:mnist --seed 1 --output runs/mnist-1
        sparrow train --data images:photos --batch 32 --device gpu --output run
      """)

  @OptionGroup var data: DataOptions
  @Option(help: "The network: collapsed.") var preset = Preset.collapsed
  @Option(parsing: .unconditional, help: "Passes over the training images.") var epochs = 50
  @Option(parsing: .unconditional, help: "Images in a step.") var batch = 256
  @Option(parsing: .unconditional, help: "Adam's step size.") var learningRate = 1e-3
  @Option(
    parsing: .unconditional,
    help: "The seed of the initial weights, the order of the images and the glyphs.")
  var seed: UInt64 = 0
  @OptionGroup var device: DeviceOptions
  @Option(
    help: ArgumentHelp("The folder to write; made where absent.", valueName: "run"),
    completion: .directory)
  var output: String

  func validate() throws {
    try requirePositive(epochs, "--epochs")
    try requirePositive(batch, "--batch")
    guard learningRate > 0, learningRate.isFinite else {
      throw ValidationError("--learning-rate must be a positive number, not \(learningRate)")
    }
    try requirePath(output, "--output")
  }

  func run() throws {
    let folder = RunFolder(path: output)
    try folder.refuseExistingRun()
    let dataset = try load(data.source(), seed: seed)
    Console.note("Data: \(dataset.summary)")
    guard batch <= dataset.train.count else {
      throw TrainingError.batchLargerThanSet(batch: batch, count: dataset.train.count)
    }
    try device.run(Job(options: self, dataset: dataset, folder: folder))
  }

  private struct Job: BackendTask {
    let options: Train
    let dataset: Dataset
    let folder: RunFolder

    func run<B: Backend>(on backend: B) throws {
      let configuration = TrainingConfiguration(
        network: .collapsed(inputs: dataset.train.featureCount), epochs: options.epochs,
        batchSize: options.batch, learningRate: options.learningRate, seed: options.seed)
      let trainer = try Trainer(
        configuration, images: dataset.train, normalisation: .unit, on: backend)
      try folder.create()
      let widths = configuration.network.widths.map(String.init).joined(separator: "-")
      Console.note(
        "Network: \(widths), \(trainer.step.network.arena.layout.parameterCount) parameters")

      let display = TrainingDisplay(epochs: options.epochs)
      var lastSaved = ContinuousClock.now
      do {
        try trainer.run { event in
          display.show(event)
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
