import ArgumentParser
import Compute
import Datasets
import Foundation
import Imaging
import Networks
import ReferenceBackend
import Training

/// What a sweep varies: the K of a code, or the L0 it is held at.
enum SweptCode: String, CaseIterable, ExpressibleByArgument {
  case topk, batchtopk, jumprelu, hardconcrete, l1

  /// The code for a value, and the target that comes with it.
  func code(_ value: Double) throws -> (Code, targetL0: Double?) {
    switch self {
    case .topk, .batchtopk:
      guard value == value.rounded(), value >= 1, value < 0x1p24 else {
        throw ValidationError("--values are the K of \(rawValue): whole numbers from 1 on")
      }
      guard let code = Code("\(rawValue):\(Int(value))") else { break }
      return (code, nil)
    case .jumprelu, .hardconcrete, .l1:
      guard let code = Code(rawValue) else { break }
      return (code, value)
    }
    throw ValidationError("--code \(rawValue)")
  }
}

struct SweepCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "sweep",
    abstract: "Train one model for each of several sparsities, in one pass.",
    discussion: """
      Every batch is formed once and trains all models; each comes out as if trained alone. The \
      values are the K of topk and batchtopk, and the target L0 of the others. The output folder \
      receives a folder for each model, sweep.csv, and sweep.png, the fraction of variance \
      unexplained against the L0 on the test part. The same command goes on with a sweep that was \
      cut off, however, from its last checkpoint, and ends with the same bits.

      Examples:
        sparrow sweep --data mnist:mnist --code topk --values 4,8,16 --output k
        sparrow sweep --data glyphs --latents 256 --code topk --values 4,16 \\
          --output d
      """)

  @OptionGroup var data: DataOptions
  @OptionGroup(title: "Network") var shape: ShapeOptions
  @Option(
    help: ArgumentHelp(
      "The code: topk, batchtopk, jumprelu, hardconcrete or l1.", valueName: "code"))
  var code: SweptCode
  @Option(
    help: ArgumentHelp("Its values, with commas: K, or the target L0.", valueName: "values"),
    transform: parseValues)
  var values: [Double]
  @OptionGroup(title: "Training") var training: TrainingOptions
  @OptionGroup var device: DeviceOptions
  @Option(
    help: ArgumentHelp("The folder to write or to continue.", valueName: "folder"),
    completion: .directory)
  var output: String
  @OptionGroup(title: "Trust") var keeping: KeepingOptions<EpochRun>
  @OptionGroup(title: "Trust") var verifying: VerifyingOptions
  @OptionGroup var json: JSONOption

  func validate() throws {
    try requirePath(output, "--output")
    for value in values { _ = try code.code(value) }
    // To as many digits as the models' folders have in their names.
    guard Set(values.map { significant($0, 6) }).count == values.count else {
      throw ValidationError("--values has the same value twice, to six digits")
    }
  }

  func run() throws {
    try refuse(output: output, reading: data.source().paths)
    let dataset = try load(data.source(), seed: training.seed)
    Console.note("Data: \(dataset.summary)")
    var training = training
    try training.fitBatch(toImages: dataset.train.count)
    let configurations = try values.map { value in
      let (code, target) = try code.code(value)
      try requirePositive(target, "--values")
      let network = try shape.network(inputs: dataset.train.featureCount, code: code)
      if let target, target > Double(network.latents) {
        throw ValidationError("--values: \(target) of \(network.latents) latents cannot be met")
      }
      return try training.configuration(
        for: network, targetL0: target, defaultEpochs: network.isDictionary ? 10 : 50)
    }
    let folder = SweepFolder(path: output)
    var description = SweepDescription(
      configurations: configurations, values: values, data: dataset.name,
      content: dataset.contentSHA256)
    let found = try folder.open(description, source: data.text)
    if let found { description = found.description }
    try device.train(
      SweepJob(
        description: description, dataset: dataset, folder: folder, code: code.rawValue,
        keeping: keeping, verifyEvery: verifying.interval, isJSON: json.isOn, resuming: found?.runs)
    )
  }
}

/// A sweep on a backend: from its start or from a checkpoint to the files it leaves.
private struct SweepJob: KeptTraining {
  var description: SweepDescription
  let dataset: Dataset
  let folder: SweepFolder
  let code: String
  let keeping: KeepingOptions<EpochRun>
  let verifyEvery: Int?
  let isJSON: Bool
  /// Where each model goes on; from the start when nil.
  var resuming: [RunState]?

  var session: RunSession { folder.session }
  var onDeviceFailure: OnDeviceFailure { keeping.onDeviceFailure }
  private var configurations: [TrainingConfiguration] { description.configurations }
  private var epochs: Int { configurations[0].epochs }

  var operations: Set<String>? {
    configurations.map(\.operations).reduce(into: Set()) { $0.formUnion($1) }
  }

  var startingPlace: String? {
    resuming.map { $0[0].progress(of: configurations[0]) }
  }

  var advice: String {
    session.store.isEmpty || session.isLost
      ? "" : "; the same command goes on from the last checkpoint"
  }

  var memoryNeed: MemoryNeed {
    MemoryNeed(
      memory: TrainingMemory(sweep: configurations, images: dataset.train.count),
      batch: configurations[0].batchSize, fixedParts: "images, parameters and moments")
  }

  mutating func returnToLastCheckpoint() throws {
    let checkpoint = try session.store.newest(SweepCheckpoint.init(path:))
    (description, resuming) = (checkpoint.description, checkpoint.runs)
  }

  func run<B: Backend>(on backend: B) throws {
    let sweep = try Sweep(configurations, images: dataset.train, normalisation: .unit, on: backend)
    StopSignals.listen()
    defer { StopSignals.stopListening() }
    let keeper = try prepare(sweep, RunOrigin(backend))
    let verification = verification(of: sweep, on: backend)
    do {
      while sweep.epochsDone < epochs { try train(sweep, keeper) }
      verification?.noteResult()
      StopSignals.stopListening()
      try finish(sweep, keeper)
    } catch {
      // What is being written is what is gone on from, and is not to be left unfinished.
      try? keeper.finish()
      if let divergence = error as? SweepDivergence {
        Console.clearLine()
        throw Problem(
          "\(code) \(significant(description.values[divergence.model])): training diverged, the loss "
            + "or a weight is not finite in epoch \(divergence.epoch); no model is written (try a "
            + "smaller --learning-rate)")
      }
      let place =
        sweep.stepsIntoEpoch > 0
        ? "step \(sweep.stepsIntoEpoch) of epoch \(sweep.epochsDone + 1)"
        : "epoch \(sweep.epochsDone)"
      throw runEnd(error, after: place, advice: advice)
    }
  }

  /// Brings the sweep and its folder to where it goes on.
  private func prepare<B: Backend>(
    _ sweep: Sweep<B>, _ origin: RunOrigin
  ) throws -> RunKeeper<[RunState]> {
    try session.check()
    var saved = description
    (saved.device, saved.program) = (origin.device, origin.program)
    let description = saved
    let keeper = RunKeeper<[RunState]>(
      store: session.store, interval: keeping.interval, requestedStop: { StopSignals.signal },
      contents: { try SweepCheckpoint(description: description, runs: $0).contents() })
    if let resuming, let startingPlace {
      Console.note("Continuing after \(startingPlace)")
      try sweep.restore(resuming)
      if sweep.epochsDone < epochs {
        RunOrigin(device: self.description.device, program: self.description.program)
          .noteChange(to: origin)
      }
    } else {
      // First, so that the folder is a sweep's whenever the process may end.
      try keeper.save(sweep.states())
      try keeper.finish()
    }
    try folder.prepare(description, histories: sweep.histories)
    return keeper
  }

  /// Has steps done again where that is asked for.
  private func verification<B: Backend>(
    of sweep: Sweep<B>, on backend: B
  ) -> StepVerification<ReferenceBackend>? {
    guard let verification = StepVerification(every: verifyEvery, for: backend) else { return nil }
    let verifiers = zip(configurations, description.values).map { configuration, value in
      StepVerifier(
        configuration, images: dataset.train, normalisation: .unit, device: backend,
        model: "\(code) \(significant(value))", verification: verification)
    }
    sweep.verificationInterval = verification.interval
    sweep.verify = { try verifiers[$0].verify($1) }
    return verification
  }

  private func train<B: Backend>(
    _ sweep: Sweep<B>, _ keeper: RunKeeper<[RunState]>
  ) throws {
    let start = ContinuousClock.now
    var shown = start
    let begun = sweep.stepsIntoEpoch
    try sweep.runEpoch(keeper: keeper) { done, steps in
      guard shown.secondsSince() > (Console.isTerminal ? 0.2 : 10) else { return }
      shown = .now
      let left = start.secondsSince() / Double(done - begun) * Double(steps - done)
      let line =
        "epoch \(sweep.epochsDone + 1)/\(epochs)  batch \(done)/\(steps)  "
        + "\(duration(left)) left in it"
      Console.isTerminal ? Console.overwrite(line) : Console.note(line)
    } report: { metrics in
      Console.clearLine()
      Console.note(
        "epoch \(sweep.epochsDone)/\(epochs)  "
          + zip(description.values, metrics).map {
            "\(code) \(significant($0)): mse \(significant($1.mse))"
          }.joined(separator: "  ") + "  \(String(format: "%.2f", metrics[0].seconds)) s")
      try session.check()
      for (index, figures) in metrics.enumerated() {
        try folder.run(description, index).append(figures)
      }
    }
  }

  /// Writes the results of a sweep that is done; its last checkpoint stays, so that the same command
  /// can write them again.
  private func finish<B: Backend>(_ sweep: Sweep<B>, _ keeper: RunKeeper<[RunState]>) throws {
    let parameters = try sweep.parameters()
    if keeping.interval == nil {
      try keeper.save(sweep.states())
      try keeper.finish()
    }
    let rows = try description.values.enumerated().map { index, value in
      let report = try sweep.evaluate(index, on: dataset.test, normalisation: .unit)
      guard report.mse.isFinite else {
        throw Problem(
          "\(code) \(significant(value)): training diverged, the errors of the test images are not "
            + "finite; no model is written (try a smaller --learning-rate)")
      }
      return SweepRow(value: value, report)
    }
    try session.check()
    for (index, configuration) in configurations.enumerated() {
      let model = ModelDescription(
        training: configuration, normalisation: .unit, imageWidth: dataset.train.width,
        imageHeight: dataset.train.height, imageChannels: dataset.train.channels,
        epochsDone: epochs, data: dataset.name)
      try ModelFile(description: model, parameters: parameters[index])
        .write(to: folder.run(description, index).model)
    }
    try session.check()
    let files = try folder.finish(rows, code: code, data: description.data)
    session.store.removePrevious()
    if isJSON { return try Console.result(json: Output(code: code, results: rows)) }
    try Console.result(
      table(
        [code, "L0", "FVU", "MSE", "dead", "latents"],
        rows.map {
          [
            significant($0.value), String(format: "%.2f", $0.l0.value),
            $0.fvu.value.isFinite || !$0.mse.value.isFinite
              ? significant($0.fvu.value) : "undefined",
            significant($0.mse.value), "\($0.dead)", "\($0.latents)",
          ]
        }))
    try Console.result("Written: \(([folder.path] + files).joined(separator: ", "))")
  }

  private struct Output: Encodable {
    let code: String
    let results: [SweepRow]
  }
}

/// One model's figures on the test part.
struct SweepRow: Encodable {
  let value: Double
  let l0, fvu, mse: JSONNumber
  let dead, latents: Int

  init(value: Double, _ report: EvaluationReport) {
    self.value = value
    (l0, fvu, mse) = (JSONNumber(report.l0), JSONNumber(report.fvu), JSONNumber(report.mse))
    (dead, latents) = (report.dead, report.latents)
  }
}

/// The folder of a sweep: a folder for each model, the checkpoints, and the results.
private struct SweepFolder {
  let path: String
  let session: RunSession
  private static let results = ["sweep.csv", "sweep.png"]

  init(path: String) {
    self.path = RunFolder(path: path).path
    session = RunSession(
      CheckpointStore(folder: self.path, results: Self.results), folder: self.path)
  }

  func run(_ description: SweepDescription, _ index: Int) -> RunFolder {
    let code = "\(description.configurations[index].network.code)"
    let name = code.contains(":") ? code : "\(code):\(significant(description.values[index], 6))"
    return RunFolder(path: "\(path)/\(name.replacingOccurrences(of: ":", with: "-"))")
  }

  /// Takes the folder for this process alone, and makes it where it does not exist.
  ///
  /// - Parameters:
  ///   - fresh: the sweep that is asked for, not begun.
  ///   - source: what `--data` names.
  /// - Returns: where the sweep in it stands; nil where there is none yet.
  /// - Throws: `FileError` where the folder holds something else, or where another process has it;
  ///   `Problem` where the images are not those of the sweep in it.
  func open(_ fresh: SweepDescription, source: String) throws -> SweepCheckpoint? {
    if !FileManager.default.fileExists(atPath: path) {
      try Folder.requireWritable(above: path)
    } else if session.store.isEmpty {
      try requireEmpty()
    }
    try session.open(making: true)
    guard !session.store.isEmpty else {
      // Another process may have been there in between.
      try requireEmpty()
      return nil
    }
    let found = try session.store.newest(SweepCheckpoint.init(path:))
    guard found.description.isSame(as: fresh) else {
      throw FileError(
        path: path,
        reason:
          "holds another sweep: other values, options or data than these; choose another --output")
    }
    guard found.description.content == fresh.content else {
      throw Problem(
        "\(source): not the images that the sweep in \(path) was trained on: their content differs")
    }
    return found
  }

  /// Of anything but what a sweep makes before its first checkpoint.
  private func requireEmpty() throws {
    let names = try? FileManager.default.contentsOfDirectory(atPath: path)
    let isEmpty = names?.allSatisfy { $0 == "run.lock" || session.store.isUnfinished($0) } ?? false
    guard !isEmpty else { return }
    throw FileError(
      path: path,
      reason: names?.contains("sweep.json") ?? false
        ? "holds a sweep of an older version of Sparrow; choose another --output"
        : "exists and holds no sweep; choose another --output")
  }

  /// Makes the models' folders, with the figures of the epochs done, and without what killed
  /// processes left.
  func prepare(_ description: SweepDescription, histories: [[EpochMetrics]]) throws {
    for (index, history) in histories.enumerated() {
      let run = run(description, index)
      try Folder.make(run.path)
      let files = CheckpointStore(folder: run.path)
      files.removeUnfinished()
      // Training would notice it only at its end.
      try files.requirePlaces()
      try run.write(history)
    }
  }

  /// Writes the results.
  ///
  /// - Returns: the names of the files; there is no picture where no model can be shown in one.
  func finish(_ rows: [SweepRow], code: String, data: String) throws -> [String] {
    // As in other tables, nothing where there is no value: that of equal images has no fraction.
    func text(_ number: JSONNumber) -> String { number.value.isFinite ? "\(number.value)" : "" }
    let lines = rows.map {
      "\($0.value),\(text($0.l0)),\(text($0.fvu)),\(text($0.mse)),\($0.dead),\($0.latents)\n"
    }
    try AtomicFile.write(
      Array(("\(code),l0,fvu,mse,dead,latents\n" + lines.joined()).utf8),
      to: path + "/sweep.csv")
    let shown = rows.filter { $0.l0.value > 0 && $0.fvu.value > 0 && $0.fvu.value.isFinite }
      .sorted { $0.l0.value < $1.l0.value }
    guard !shown.isEmpty else { return ["sweep.csv"] }
    var plot = Plot(
      "Fraction of variance unexplained against L0", subtitle: data,
      x: PlotAxis("L0", scale: .logarithmic), y: PlotAxis("FVU", scale: .logarithmic))
    plot.add(code, x: shown.map(\.l0.value), y: shown.map(\.fvu.value))
    try ImageFile.writePNG(try plot.image(), to: path + "/sweep.png")
    return Self.results
  }
}

/// For example `4,8,16`.
private func parseValues(_ text: String) throws -> [Double] {
  let values = text.split(separator: ",", omittingEmptySubsequences: false).map {
    Double($0.trimmingCharacters(in: .whitespaces))
  }
  guard !values.isEmpty, values.allSatisfy({ ($0 ?? 0) > 0 && ($0 ?? 0).isFinite }) else {
    throw ValidationError(
      "--values takes positive numbers with commas, such as 4,8,16, not '\(text)'")
  }
  return values.compactMap { $0 }
}
