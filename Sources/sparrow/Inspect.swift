import ArgumentParser
import Compute
import Datasets
import Foundation
import Imaging
import Networks
import Training

struct Inspect: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Look into a model: its dictionary, how often latents fire, what excites them.",
    discussion: """
      The output folder receives dictionary.png, what each latent adds to a reconstruction, the \
      most frequent first; firing.png and l0.png, histograms of how often latents fire and of how \
      many are active in an image; exciters.png, the images that excite a latent most; and \
      inspection.json, everything as numbers. ||mu||/||sigma|| is the norm of the mean image by \
      that of the pixels' standard deviations. Where the data has labels, a linear probe learns \
      them from the training part's codes and is scored on the test part.

      Examples:
        sparrow inspect --model m.safetensors --data mnist:mnist --output look
        sparrow inspect --model m.safetensors --data glyphs --output look \\
          --latent 3 17 --no-probe --force
      """)

  @OptionGroup var model: ModelOption
  @OptionGroup var data: DataOptions
  @Option(help: "The part to look at: test or train.") var part = Part.test
  @OptionGroup var device: DeviceOptions
  @Option(
    help: ArgumentHelp("The folder to write; made where absent.", valueName: "folder"),
    completion: .directory)
  var output: String
  @Flag(help: "Write into a folder that exists.") var force = false
  @OptionGroup var json: JSONOption
  @Option(
    parsing: .upToNextOption,
    help: ArgumentHelp(
      "The latents in exciters.png, by number from 0, instead of the most frequent ones.",
      valueName: "number"))
  var latent: [Int] = []
  @Option(
    parsing: .unconditional,
    help: "How many of the most frequent latents are in exciters.png (default: 16).")
  var top: Int?
  @Flag(
    inversion: .prefixedNo,
    help: "Fit the linear probe, or not; by default where there are labels.")
  var probe: Bool?

  func validate() throws {
    if let top { try requirePositive(top, "--top") }
    if top != nil, !latent.isEmpty {
      throw ValidationError("--top and --latent exclude each other")
    }
    try requirePath(output, "--output")
  }

  func run() throws {
    var isFolder: ObjCBool = false
    if FileManager.default.fileExists(atPath: output, isDirectory: &isFolder), !isFolder.boolValue {
      throw FileError(path: output, reason: "--output is a file, not a folder")
    }
    try refuse(
      output: output, force: force, isFolder: true, reading: data.source().paths + [model.path()])
    let file = try model.load()
    let latents = file.description.training.network.latents
    for number in latent where !(0..<latents).contains(number) {
      throw Problem("--latent \(number): the model has the latents 0 to \(latents - 1)")
    }
    let dataset = try load(data.source(), seed: file.description.training.seed)
    try file.requireFit(dataset.test)
    let hasLabels = dataset.train.labels != nil && dataset.test.labels != nil
    if probe == true, !hasLabels {
      throw Problem("--probe needs labels, and --data \(data.text) has none")
    }
    let progress = SlowProgress()
    let outcome = try device.run(
      Job(
        options: self, file: file, dataset: dataset, withProbe: probe ?? hasLabels,
        progress: progress))
    let report = InspectionOutput(outcome, model: try model.path(), data: dataset.name, part: part)
    try write(outcome, report)
    progress.end()
    if json.isOn {
      try Console.result(json: report)
    } else {
      try Console.result(outcome.summary(part: part))
      try Console.result(
        "Written: \(output)/dictionary.png, firing.png, l0.png, exciters.png, inspection.json")
    }
  }

  /// The latents that exciters.png shows.
  private func chosen(_ codes: CodeStatistics) -> [Int] {
    guard latent.isEmpty else {
      var seen = Set<Int>()
      return latent.filter { seen.insert($0).inserted }
    }
    return codes.byFrequency.prefix(top ?? 16).filter { codes.firings[$0] > 0 }
  }

  private struct Job: BackendTask {
    let options: Inspect
    let file: ModelFile
    let dataset: Dataset
    let withProbe: Bool
    let progress: SlowProgress

    func run<B: Backend>(on backend: B) throws -> InspectionOutcome {
      let images = options.part.images(of: dataset)
      let normalisation = file.description.normalisation
      let network = try file.network(on: backend)
      let latents = network.configuration.latents
      let evaluator = try Evaluator(network, batchSize: min(256, images.count))
      let codes = try evaluator.codeStatistics(
        of: images, normalisation: normalisation, latents: latents
      ) { progress.show("encoding", $0, $1) }

      let order = codes.byFrequency
      let limit = InspectionPictures.dictionaryLimit(width: images.width, height: images.height)
      let shown = Array(order.prefix(limit))
      let chosen = options.chosen(codes)
      let wanted = shown + Set(chosen).subtracting(shown).sorted()
      let dictionary = try LearnedDictionary(
        of: network, latents: wanted,
        amplitudes: wanted.map { Float(codes.meanActive($0) ?? 0) }
      ) { progress.show("decoding single latents", $0, $1) }
      let probe =
        withProbe
        ? try evaluator.probe(
          dataset, normalisation: normalisation, latents: latents, l0: codes.l0Summary.mean,
          progress: progress.show) : nil
      return InspectionOutcome(
        device: backend.name, images: images, codes: codes,
        inputs: InputStatistics(images, normalisation: normalisation), kind: dictionary.kind,
        shown: shown, chosen: chosen,
        atoms: Dictionary(uniqueKeysWithValues: zip(wanted, dictionary.atoms)), probe: probe)
    }
  }

  private func write(_ outcome: InspectionOutcome, _ report: InspectionOutput) throws {
    try Folder.make(output)
    let (images, codes) = (outcome.images, outcome.codes)
    func atom(_ latent: Int) -> [Float]? {
      codes.firings[latent] > 0 ? outcome.atoms[latent] : nil
    }
    let what = outcome.kind == .weights ? "decoder rows" : "decoder responses"
    let count =
      outcome.shown.count < codes.latents
      ? "\(outcome.shown.count) of \(codes.latents)" : "\(codes.latents)"
    let colours = images.channels == 1 ? "red adds, blue takes away" : "grey is no change"
    try ImageFile.writePNG(
      InspectionPictures.dictionary(
        outcome.shown.map(atom), width: images.width, height: images.height,
        channels: images.channels,
        caption: [
          "\(count) \(what), the most frequent first",
          "\(colours), each on its own scale; crossed out: \(codes.dead) dead",
        ]), to: "\(output)/dictionary.png")
    try ImageFile.writePNG(
      InspectionPictures.firingPlot(codes.firingHistogram).image(), to: "\(output)/firing.png")
    try ImageFile.writePNG(
      InspectionPictures.l0Plot(codes.l0Summary, latents: codes.latents).image(),
      to: "\(output)/l0.png")
    try ImageFile.writePNG(
      InspectionPictures.exciters(
        outcome.chosen.map { latent in
          InspectionPictures.ExciterRow(
            latent: latent, frequency: codes.frequency(latent), atom: atom(latent),
            images: codes.exciters(of: latent).map { images.image(at: $0.image) })
        }, width: images.width, height: images.height, channels: images.channels,
        caption: outcome.chosen.isEmpty
          ? ["No latent fires on these images"]
          : ["Latents, what they add, and the images that excite them most"]),
      to: "\(output)/exciters.png")
    try AtomicFile.write(
      Array(try Console.text(json: report).utf8) + [10], to: "\(output)/inspection.json")
  }
}

/// What an inspection found, ready to be drawn and written.
struct InspectionOutcome {
  let device: String
  let images: ImageSet
  let codes: CodeStatistics
  let inputs: InputStatistics
  let kind: LearnedDictionary.Kind
  /// The latents in dictionary.png and in exciters.png, in their order there.
  let shown, chosen: [Int]
  let atoms: [Int: [Float]]
  let probe: ProbeReport?

  func summary(part: Part) -> String {
    let l0 = codes.l0Summary
    var lines = [
      "\(part == .test ? "Test" : "Train"): \(counted(images.count, "image")), "
        + String(format: "L0 %.1f +- %.1f", l0.mean, l0.deviation)
        + " of \(codes.latents), \(counted(codes.dead, "dead latent"))",
      "Inputs: ||mu|| \(significant(inputs.meanNorm)), ||sigma|| "
        + "\(significant(inputs.deviationNorm)), ratio "
        + (inputs.ratio.isFinite ? significant(inputs.ratio) : "undefined (all images are alike)"),
    ]
    if let probe {
      let subset =
        probe.trainingImages < probe.trainingImagesInAll
        ? " (learnt from \(probe.trainingImages) of \(probe.trainingImagesInAll) images)" : ""
      lines.append(
        String(
          format: "Probe: %.2f %% of the test labels, %.2f %% by always naming the most frequent",
          probe.accuracy * 100, probe.majorityAccuracy * 100) + subset)
    }
    return lines.joined(separator: "\n")
  }
}

/// What takes longer than two seconds is shown on standard error.
final class SlowProgress {
  private let start = ContinuousClock.now
  private var shown: ContinuousClock.Instant?

  func show(_ what: String, _ done: Int, _ total: Int) {
    guard start.secondsSince() > 2 else { return }
    if let shown, shown.secondsSince() < (Console.isTerminal ? 0.1 : 5) { return }
    shown = .now
    let line = "\(what): \(done) of \(total)"
    Console.isTerminal ? Console.overwrite(line) : Console.note(line)
  }

  func end() { if shown != nil { Console.clearLine() } }
}
