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
      model.safetensors, metrics.csv (epoch, loss, mse, l0, seconds and more), \
      reconstructions.png, test images over their reconstructions, and checkpoint.safetensors. \
      A run that was cut off, however, goes on with --resume and ends with the same bits.

      Examples:
        sparrow train --data glyphs --epochs 10 --output runs/glyphs
        sparrow train --data mnist:mnist --code topk:16 --output runs/topk
        sparrow train --data mnist:mnist --code jumprelu --target-l0 8 --output j8
        sparrow train --data mnist:mnist --latents 1024 --code topk:32 --output d
        sparrow train --data images:photos --batch 32 --device gpu --output run
        sparrow train --resume runs/topk
      """)

  @Option(
    name: .customLong("data"), help: DataOptions.help,
    completion: .sources)
  var data: String?
  @OptionGroup(title: "Network") var network: NetworkOptions
  @OptionGroup(title: "Training") var training: TrainingOptions
  @OptionGroup var device: DeviceOptions
  @Option(
    help: ArgumentHelp("The folder to write; made where absent.", valueName: "run"),
    completion: .directory)
  var output: String?
  @OptionGroup(title: "Trust") var trust: TrustOptions

  func validate() throws {
    if let data { _ = try dataSource(data) }
    if trust.run != nil {
      return try TrustOptions.refuseSettings(besides: ["data", "epochs"])
    }
    guard data != nil else {
      throw ValidationError("Missing expected argument '--data <source>'")
    }
    guard let output else {
      throw ValidationError("Missing expected argument '--output <run>'")
    }
    try requirePath(output, "--output")
  }

  func run() throws {
    if let run = trust.run { return try resume(run) }
    guard let data, let output else { return }
    let folder = RunFolder(path: output)
    let source = try dataSource(data)
    try refuse(output: output, reading: source.paths)
    try folder.refuseExistingRun()
    let dataset = try load(source, seed: training.seed)
    Console.note("Data: \(dataset.summary)")
    var training = training
    try training.fitBatch(toImages: dataset.train.count)
    let shape = try network.configuration(inputs: dataset.train.featureCount)
    let configuration = try training.configuration(
      for: shape, targetL0: network.targetL0, defaultEpochs: shape.isDictionary ? 10 : 50)
    let description = CheckpointDescription(
      model: ModelDescription(
        training: configuration, normalisation: .unit, imageWidth: dataset.train.width,
        imageHeight: dataset.train.height, imageChannels: dataset.train.channels, epochsDone: 0,
        data: dataset.name),
      source: source.absoluteText, content: dataset.contentSHA256, device: "",
      program: Sparrow.version)
    try device.train(
      TrainJob(
        description: description, dataset: dataset, folder: folder,
        session: RunSession(folder: folder.path), interval: trust.interval,
        verifyEvery: trust.verifyEvery, onDeviceFailure: trust.onDeviceFailure, resuming: nil))
  }

  private func resume(_ path: String) throws {
    let folder = RunFolder(path: path)
    try requireRun(folder.path)
    let session = RunSession(folder: folder.path)
    try session.open()
    guard let checkpoint = try lastCheckpoint(session.store, folder) else { return }
    var description = checkpoint.description
    let done = description.model.epochsDone
    if let epochs = training.epochs {
      try extend(&description.model.training, to: epochs, done: done, isWithin: checkpoint.run)
    }
    let configuration = description.model.training
    let isNewLength = configuration.epochs != checkpoint.description.model.training.epochs
    if done == configuration.epochs, folder.isComplete(epochs: done) {
      if data != nil { _ = try dataset(of: description, folder) }
      if isNewLength {
        try session.save(Checkpoint(description: description, run: checkpoint.run))
        session.store.removePrevious()
      }
      return try Console.result(
        "Finished: \(folder.path) has all of its \(counted(done, "epoch")); nothing is left to do")
    }
    let dataset = try self.dataset(of: description, folder)
    if let data { description.source = try dataSource(data).absoluteText }
    Console.note(
      "Resuming after \(checkpoint.run.progress(of: configuration)), "
        + "\(duration(checkpoint.run.seconds)) of training")
    try device.train(
      TrainJob(
        description: description, dataset: dataset, folder: folder, session: session,
        interval: trust.interval, verifyEvery: trust.verifyEvery,
        onDeviceFailure: trust.onDeviceFailure, resuming: checkpoint.run, isNewLength: isNewLength))
  }

  /// - Throws: where the images are not those of the run.
  private func dataset(
    of description: CheckpointDescription, _ folder: RunFolder
  ) throws -> Dataset {
    let source = data ?? description.source
    let dataset = try fromItsPlace(data == nil ? "--data" : nil) {
      try load(try dataSource(source), seed: description.model.training.seed)
    }
    Console.note("Data: \(dataset.summary)")
    guard dataset.contentSHA256 == description.content else {
      throw Problem(
        "\(source): not the images that the run in \(folder.path) was trained on: their content "
          + "differs")
    }
    return dataset
  }

  /// Nil where the run has ended and left no checkpoint.
  private func lastCheckpoint(
    _ store: CheckpointStore, _ folder: RunFolder
  ) throws -> Checkpoint? {
    guard store.isEmpty else { return try store.newest(Checkpoint.init(path:)) }
    let lack = "holds no checkpoint to resume from"
    if let model = try? ModelFile(path: folder.model).description,
      model.epochsDone == model.training.epochs
    {
      if let epochs = training.epochs, epochs != model.epochsDone {
        throw FileError(
          path: folder.path,
          reason: "\(lack), and its model has all of its \(counted(model.epochsDone, "epoch"))")
      }
      guard folder.isComplete(epochs: model.epochsDone) else {
        throw FileError(
          path: folder.path,
          reason: "\(lack); its model is whole, but metrics.csv or reconstructions.png is not")
      }
      try Console.result(
        "Finished: \(folder.path) has all of its \(counted(model.epochsDone, "epoch")); "
          + "nothing is left to do")
      return nil
    }
    throw FileError(path: folder.path, reason: lack)
  }

  private func extend(
    _ configuration: inout TrainingConfiguration, to epochs: Int, done: Int, isWithin run: RunState
  ) throws {
    guard epochs != configuration.epochs else { return }
    guard !configuration.dependsOnLength else {
      throw ValidationError(
        "--epochs \(epochs): what this run does in a step depends on its \(configuration.epochs) "
          + "epochs (schedule, annealing, balance or target), so that it cannot get others")
    }
    guard epochs >= done + (run.stepsIntoEpoch > 0 ? 1 : 0) else {
      throw ValidationError(
        "--epochs \(epochs): the run has done \(run.progress(of: configuration))")
    }
    configuration.epochs = epochs
    // What could not be read again must not be written over what can.
    if let problem = configuration.problem {
      throw ValidationError("--epochs \(epochs): \(problem)")
    }
  }
}

extension RunState {
  /// For example `epoch 4 of 50` or `step 120 of epoch 5 of 50`.
  func progress(of configuration: TrainingConfiguration) -> String {
    stepsIntoEpoch > 0
      ? "step \(stepsIntoEpoch) of epoch \(epochsDone + 1) of \(configuration.epochs)"
      : "epoch \(epochsDone) of \(configuration.epochs)"
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
  let fvu =
    report.fvu.isFinite || !report.mse.isFinite
    ? significant(report.fvu) : "undefined (all images are alike)"
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
