import ArgumentParser
import Compute
import Datasets
import Foundation
import Imaging
import Networks
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
      unexplained against the L0 on the test part. The same command continues a sweep that was \
      interrupted, from the last epoch that all models finished.

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
  @OptionGroup var json: JSONOption

  func validate() throws {
    try requirePath(output, "--output")
    for value in values { _ = try code.code(value) }
    guard Set(values).count == values.count else {
      throw ValidationError("--values has the same value twice")
    }
  }

  func run() throws {
    let dataset = try load(data.source(), seed: training.seed)
    Console.note("Data: \(dataset.summary)")
    var training = training
    try training.fitBatch(toImages: dataset.train.count)
    let configurations = try values.map { value in
      let (code, target) = try code.code(value)
      let network = try shape.network(inputs: dataset.train.featureCount, code: code)
      if let target, target > Double(network.latents) {
        throw ValidationError("--values: \(target) of \(network.latents) latents cannot be met")
      }
      return try training.configuration(
        for: network, targetL0: target, defaultEpochs: network.isDictionary ? 10 : 50)
    }
    let folder = SweepFolder(path: output)
    let lock = try folder.lock()
    defer { withExtendedLifetime(lock) {} }
    let ledger = try folder.open(
      SweepLedger(
        configurations: configurations, values: values, data: dataset.name,
        content: dataset.contentSHA256), source: data.text)
    let (rows, files) = try device.run(
      Job(dataset: dataset, folder: folder, ledger: ledger, code: code.rawValue))
    if json.isOn { return try Console.result(json: Output(code: code.rawValue, results: rows)) }
    try Console.result(
      table(
        [code.rawValue, "L0", "FVU", "MSE", "dead", "latents"],
        rows.map {
          [
            significant($0.value), String(format: "%.2f", $0.l0.value), significant($0.fvu.value),
            significant($0.mse.value), "\($0.dead)", "\($0.latents)",
          ]
        }))
    try Console.result("Written: \(([output] + files).joined(separator: ", "))")
  }

  private struct Output: Encodable {
    let code: String
    let results: [SweepRow]
  }

  private struct Job: BackendTask {
    let dataset: Dataset
    let folder: SweepFolder
    let ledger: SweepLedger
    let code: String

    func run<B: Backend>(on backend: B) throws -> (rows: [SweepRow], files: [String]) {
      do {
        return try train(on: backend)
      } catch let divergence as SweepDivergence {
        Console.clearLine()
        throw Problem(
          "\(code) \(significant(ledger.values[divergence.model])): training diverged, the loss or a "
            + "weight is not finite in epoch \(divergence.epoch); no model is written (try a smaller "
            + "--learning-rate)")
      }
    }

    private func train<B: Backend>(on backend: B) throws -> (rows: [SweepRow], files: [String]) {
      var ledger = ledger
      let sweep = try Sweep(
        ledger.configurations, images: dataset.train, normalisation: .unit, on: backend)
      if ledger.epochsDone > 0 {
        Console.note(
          "Continuing after epoch \(ledger.epochsDone) of \(ledger.configurations[0].epochs)")
        try sweep.restore(try folder.states(of: ledger), epochsDone: ledger.epochsDone)
      }
      let epochs = ledger.configurations[0].epochs
      while sweep.epochsDone < epochs {
        var shown = ContinuousClock.now
        let start = shown
        let metrics = try sweep.runEpoch { done, steps in
          guard shown.secondsSince() > (Console.isTerminal ? 0.2 : 10) else { return }
          shown = .now
          let left = start.secondsSince() / Double(done) * Double(steps - done)
          let line =
            "epoch \(sweep.epochsDone + 1)/\(epochs)  batch \(done)/\(steps)  "
            + "\(duration(left)) left in it"
          Console.isTerminal ? Console.overwrite(line) : Console.note(line)
        }
        Console.clearLine()
        Console.note(
          "epoch \(sweep.epochsDone)/\(epochs)  "
            + zip(ledger.values, metrics).map {
              "\(code) \(significant($0)): mse \(significant($1.mse))"
            }.joined(separator: "  ") + "  \(String(format: "%.2f", metrics[0].seconds)) s")
        for (index, figures) in metrics.enumerated() { ledger.histories[index].append(figures) }
        ledger.epochsDone = sweep.epochsDone
        try folder.save(ledger, states: try sweep.states())
      }
      let parameters = try sweep.parameters()
      var rows: [SweepRow] = []
      for (index, configuration) in ledger.configurations.enumerated() {
        let description = ModelDescription(
          training: configuration, normalisation: .unit, imageWidth: dataset.train.width,
          imageHeight: dataset.train.height, imageChannels: dataset.train.channels,
          epochsDone: epochs, data: dataset.name)
        try ModelFile(description: description, parameters: parameters[index])
          .write(to: folder.run(ledger, index).model)
        let report = try sweep.evaluate(index, on: dataset.test, normalisation: .unit)
        rows.append(SweepRow(value: ledger.values[index], report))
      }
      return (rows, try folder.finish(ledger, rows: rows, code: code))
    }
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

/// The folder of a sweep: a folder for each model, `sweep.json` with what is done, and the models'
/// states after the last epoch that all of them finished.
struct SweepFolder {
  let path: String
  private var ledgerPath: String { path + "/sweep.json" }

  init(path: String) {
    self.path = path.count > 1 && path.hasSuffix("/") ? String(path.dropLast()) : path
  }

  func run(_ ledger: SweepLedger, _ index: Int) -> RunFolder {
    let code = "\(ledger.configurations[index].network.code)"
    let name = code.contains(":") ? code : "\(code):\(significant(ledger.values[index], 6))"
    return RunFolder(path: path + "/" + name.replacingOccurrences(of: ":", with: "-"))
  }

  private func statePath(_ index: Int, epoch: Int) -> String {
    "\(path)/state-\(epoch)-\(index).safetensors"
  }

  /// The epoch of the state that a file's name tells; nil of other files.
  private func epoch(ofState name: String) -> Int? {
    name.wholeMatch(of: /state-([0-9]+)-[0-9]+\.safetensors/).flatMap { Int($0.1) }
  }

  private var names: [String]? { try? FileManager.default.contentsOfDirectory(atPath: path) }

  /// Takes the folder for this process alone, and makes it where it does not exist.
  ///
  /// - Throws: `FileError` where the folder holds something else than a sweep, or where another
  ///   process has it.
  func lock() throws -> RunLock {
    if !FileManager.default.fileExists(atPath: path) {
      try Folder.requireWritable(above: path)
      try Folder.make(path)
    } else if !FileManager.default.fileExists(atPath: ledgerPath) {
      try requireEmpty()
    }
    return try RunLock(folder: path)
  }

  /// Of anything but what a sweep makes before its ledger.
  private func requireEmpty() throws {
    let isEmpty = names?.allSatisfy { $0 == "run.lock" || isUnfinished($0) } ?? false
    guard isEmpty else {
      throw FileError(path: path, reason: "exists and holds no sweep; choose another --output")
    }
  }

  /// Whether a file is one of a sweep's that was not finished.
  private func isUnfinished(_ name: String) -> Bool {
    guard let target = AtomicFile.target(ofUnfinished: name) else { return false }
    return ["sweep.json", "sweep.csv", "sweep.png"].contains(target)
      || epoch(ofState: target) != nil
  }

  /// Removes what killed processes left: files that were not finished, and states that the ledger
  /// does not tell of.
  private func removeRemains(_ ledger: SweepLedger) {
    for name in names ?? [] where isUnfinished(name) { unlink("\(path)/\(name)") }
    removeOldStates(ledger)
    for index in ledger.configurations.indices {
      CheckpointStore(folder: run(ledger, index).path).removeUnfinished()
    }
  }

  private func removeOldStates(_ ledger: SweepLedger) {
    for name in names ?? [] {
      if let epoch = epoch(ofState: name), epoch != ledger.epochsDone { unlink("\(path)/\(name)") }
    }
  }

  /// Starts a sweep in the folder, which `lock` has taken, or finds where the one in it stands.
  ///
  /// - Parameters:
  ///   - fresh: the sweep that is asked for, not begun.
  ///   - source: what `--data` names.
  /// - Throws: `FileError` where the folder holds something else; `Problem` where the images are
  ///   not those of the sweep in it.
  func open(_ fresh: SweepLedger, source: String) throws -> SweepLedger {
    guard FileManager.default.fileExists(atPath: ledgerPath) else {
      try requireEmpty()
      try prepare(fresh)
      return fresh
    }
    var found = try SweepLedger(path: ledgerPath)
    guard found.configurations == fresh.configurations, found.values == fresh.values,
      found.data == fresh.data
    else {
      throw FileError(
        path: path, reason: "holds another sweep: other values, options or data than these")
    }
    guard found.content ?? fresh.content == fresh.content else {
      throw Problem(
        "\(source): not the images that the sweep in \(path) was trained on: their content differs")
    }
    // A ledger of before the sum was kept gets that of the images it goes on with.
    found.content = fresh.content
    try prepare(found)
    return found
  }

  private func prepare(_ ledger: SweepLedger) throws {
    // First: the folder is a sweep's whenever the process may end, and before states that it does
    // not tell of go, the ledger is on the disk.
    try ledger.write(to: ledgerPath)
    for index in ledger.configurations.indices { try Folder.make(run(ledger, index).path) }
    removeRemains(ledger)
  }

  func states(of ledger: SweepLedger) throws -> [TrainingState] {
    try ledger.configurations.enumerated().map { index, configuration in
      try TrainingState(
        path: statePath(index, epoch: ledger.epochsDone),
        layout: configuration.network.parameterLayout)
    }
  }

  /// Makes the states of the epoch just done those to continue from.
  func save(_ ledger: SweepLedger, states: [TrainingState]) throws {
    for (index, state) in states.enumerated() {
      try state.write(
        to: statePath(index, epoch: ledger.epochsDone),
        layout: ledger.configurations[index].network.parameterLayout)
    }
    try ledger.write(to: ledgerPath)
    for (index, history) in ledger.histories.enumerated() {
      try run(ledger, index).write(history)
    }
    removeOldStates(ledger)
  }

  /// Writes the results; the last states stay, so that the same command can write them again.
  ///
  /// - Returns: the names of the files; there is no picture where no model can be shown in one.
  func finish(_ ledger: SweepLedger, rows: [SweepRow], code: String) throws -> [String] {
    let lines = rows.map {
      "\($0.value),\($0.l0.value),\($0.fvu.value),\($0.mse.value),\($0.dead),\($0.latents)\n"
    }
    try AtomicFile.write(
      Array(("\(code),l0,fvu,mse,dead,latents\n" + lines.joined()).utf8),
      to: path + "/sweep.csv")
    let shown = rows.filter { $0.l0.value > 0 && $0.fvu.value > 0 && $0.fvu.value.isFinite }
      .sorted { $0.l0.value < $1.l0.value }
    guard !shown.isEmpty else { return ["sweep.csv"] }
    var plot = Plot(
      "Fraction of variance unexplained against L0", subtitle: ledger.data,
      x: PlotAxis("L0", scale: .logarithmic), y: PlotAxis("FVU", scale: .logarithmic))
    plot.add(code, x: shown.map(\.l0.value), y: shown.map(\.fvu.value))
    try ImageFile.writePNG(try plot.image(), to: path + "/sweep.png")
    return ["sweep.csv", "sweep.png"]
  }
}

/// For example `4,8,16`.
private func parseValues(_ text: String) throws -> [Double] {
  let values = text.split(separator: ",", omittingEmptySubsequences: false).map {
    Double($0.trimmingCharacters(in: .whitespaces))
  }
  guard !values.isEmpty, values.allSatisfy({ ($0 ?? 0) > 0 && ($0 ?? 0).isFinite }) else {
    throw ValidationError(
      "--values takes positive numbers with commas, such as 4,8,16, not \(text)")
  }
  return values.compactMap { $0 }
}
