import ArgumentParser
import Compute
import Foundation
import Imaging
import Networks
import Segmentation
import Training

struct SegmentPretrain: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "pretrain",
    abstract: "Train a sparse convolutional autoencoder on unlabelled images.",
    discussion: """
      Minimises alpha ||x - xhat||^2 + beta ||z||_0 for each position of the code, over crops of \
      which squares are masked and to which noise is added. The output folder receives \
      model.safetensors, which `sparrow segment train --pretrained` takes as its front end, \
      metrics.csv and reconstructions.png: what the network saw, what it made of it, and the truth.

      Examples:
        sparrow segment pretrain --images imgs --output runs/front
        sparrow segment pretrain --images imgs --code jumprelu \\
          --target-l0 12 --minutes 6 --output runs/front
        sparrow segment pretrain --resume runs/front
      """)

  @Option(help: "The folder of images: PNG, JPEG or TIFF.", completion: .directory)
  var images: String?
  @OptionGroup(title: "Network") var network: SegmentNetworkOptions
  @Flag(help: "Give the decoder the encoder's maps as well; its weights are then kept too.")
  var skips = false
  @OptionGroup(title: "Training") var training: SegmentTrainingOptions
  @Option(parsing: .unconditional, help: "Weight of ||x - xhat||^2.") var alpha = 1.0
  @Option(
    parsing: .unconditional,
    help: "Weight of ||z||_0; with --target-l0 the weight that the loop starts from.")
  var beta: Double?
  @Option(
    name: .customLong("target-l0"), parsing: .unconditional,
    help: ArgumentHelp("The mean number of active latents of a position.", valueName: "count"))
  var targetL0: Double?
  @Option(parsing: .unconditional, help: "The share of the pixels that squares mask.")
  var masked = 0.25
  @Option(parsing: .unconditional, help: "The deviation of the noise, in parts of the range.")
  var noise = 0.1
  @OptionGroup var device: DeviceOptions
  @Option(
    help: ArgumentHelp("The folder to write; made where absent.", valueName: "run"),
    completion: .directory)
  var output: String?
  @OptionGroup(title: "Trust") var trust: SegmentTrustOptions

  func validate() throws {
    guard trust.run == nil else {
      return try SegmentTrustOptions.refuseSettings(besides: ["images"])
    }
    try requirePath(required(images, "images"), "--images")
    try requirePath(required(output, "output"), "--output")
    for (name, value) in [("--alpha", alpha), ("--beta", beta ?? 0)] {
      try requireWithin(value, PretrainedDescription.weights, name)
    }
    try requireWithin(noise, Corruption.noises, "--noise")
    try requireShare(masked, "--masked")
    try requirePositive(targetL0, "--target-l0")
  }

  func run() throws {
    if let run = trust.run { return try resume(run) }
    let images = try required(images, "images")
    let folder = SegmentRun(
      path: try required(output, "output"), picture: "reconstructions.png")
    try folder.refuseExisting(reading: [images])
    let (unlabelled, failures) = try readImages(images)
    var counter = PercentileCounter(like: unlabelled[0].image)
    for image in unlabelled { try counter.add(image.image, path: image.path) }
    let normalisation = try counter.normalisation(of: images)
    let normalised = unlabelled.map {
      LabelledImage(name: $0.name, image: normalisation($0.image), labels: nil)
    }
    var shape = try network.configuration(
      inputs: normalisation.channels, outputs: normalisation.channels, hasSkips: skips)
    if let targetL0, let k = shape.code.count {
      guard targetL0 == targetL0.rounded(), targetL0 < 0x1p24,
        targetL0 == Double(k) || network.code == nil
      else {
        throw ValidationError("--target-l0 \(significant(targetL0)) is not the K of \(shape.code)")
      }
      shape.code = shape.code.with(count: Int(targetL0))
    }
    if let targetL0, targetL0 > Double(shape.latents) {
      throw ValidationError(
        "--target-l0 \(significant(targetL0)) cannot be met: the code has \(shape.latents) latents")
    }
    if shape.code == .relu, targetL0 != nil {
      throw ValidationError("--target-l0 needs a code with a handle on L0, which relu has not")
    }
    var configuration = try training.configuration(shape, images: normalised)
    let target = shape.code.hasPenalty ? targetL0 : nil
    configuration.code = CodeTraining(
      beta: beta ?? (target == nil ? (shape.code.hasPenalty ? 1e-3 : 0) : 1e-3),
      target: target.map { TargetL0($0) })
    if let problem = configuration.problem { throw ValidationError(problem) }
    Console.note("Data: \(counted(unlabelled.count, "unlabelled image"))")
    Console.note("Network: \(shape.summary)\(skips ? ", with skips" : "")")
    noteUse(of: shape.code, latents: shape.latents, beta: beta)
    let model = PretrainedDescription(
      training: configuration, alpha: alpha,
      corruption: Corruption(maskShare: Float(masked), noise: Float(noise)),
      normalisation: normalisation, stepsDone: 0, images: normalised.count)
    try device.train(
      Job(
        keeping: SegmentKeeping(
          settings: PretrainingSettings(model: model, images: absolutePath(images)),
          content: contentSHA256(of: normalised), folder: folder,
          session: RunSession(folder: folder.path), trust: trust,
          verb: "pretrain", resuming: nil), images: normalised))
    try report(failures)
  }

  private func resume(_ path: String) throws {
    let folder = SegmentRun(path: path, picture: "reconstructions.png")
    let session = RunSession(folder: path)
    guard let saved = try trust.load(folder, session, as: PretrainingSettings.self) else {
      return
    }
    var settings = saved.description.settings
    if let images { settings.images = absolutePath(images) }
    let (unlabelled, failures) = try fromItsPlace(images == nil ? "--images" : nil) {
      try readImages(settings.images)
    }
    let normalised = try unlabelled.map { image in
      try settings.model.normalisation.check(image.image, path: image.path)
      return LabelledImage(
        name: image.name, image: settings.model.normalisation(image.image), labels: nil)
    }
    try trust.requireContent(
      normalised, saved.description.content, settings.images)
    try device.train(
      Job(
        keeping: SegmentKeeping(
          settings: settings, content: saved.description.content, folder: folder, session: session,
          trust: trust, verb: "pretrain", resuming: saved),
        images: normalised))
    try report(failures)
  }

  private struct Job: SegmentJob {
    var keeping: SegmentKeeping<PretrainingSettings>
    let images: [LabelledImage]

    var operations: Set<String>? {
      keeping.settings.model.training.network.operations(for: .pretraining)
    }

    func run<B: Backend>(on backend: B) throws {
      let (description, folder) = (keeping.settings.model, keeping.folder)
      let configuration = description.training
      let pixels = Double(
        configuration.cropSize * configuration.cropSize * configuration.network.inputs)
      let side = Double(configuration.cropSize / configuration.network.alignment)
      let log = StepLog(["mse", "l0"]) { figures in
        let half = figures.count / 2
        func mean(_ part: ArraySlice<Float>) -> Double {
          part.reduce(0.0) { $0 + Double($1) } / Double(half)
        }
        return [mean(figures[..<half]) / pixels, mean(figures[half...]) / (side * side)]
      }
      let model = try keeping.run(log: log, on: backend) { state, keeper, verification in
        try Pretrainer.train(
          configuration, alpha: description.alpha, corruption: description.corruption,
          images: images, normalisation: description.normalisation, from: state, keeper: keeper,
          verification: verification, on: backend, report: log.show)
      }
      // First, since it tells whether the model is of any use.
      let report = try Pretrainer.evaluate(model, images: images, on: backend)
      try keeping.session.check()
      try model.write(to: folder.model)
      try folder.write(log)
      try ImageFile.writePNG(report.picture, to: folder.picturePath)
      keeping.finish()
      try Console.result(
        "Restored: FVU \(report.fvu.isFinite ? significant(report.fvu) : "undefined"), "
          + "L0 \(String(format: "%.1f", report.l0)) of \(configuration.network.latents), "
          + counted(report.dead, "dead latent"))
      try Console.result("Written: \(folder.model), metrics.csv, \(folder.picture)")
    }
  }
}

/// Reads a folder of images without labels; what cannot be read is listed at the end.
///
/// - Parameters:
///   - what: the images are called in the line of progress.
///   - check: throws a `FileError` for an image that does not fit, given its path.
func readImages(
  _ path: String, _ what: String = "images",
  check: (SampleImage, String) throws -> Void = { _, _ in }
) throws -> (images: [LabelledImage], failures: [FileError]) {
  let cases = try ImageCases.list(path)
  var images: [LabelledImage] = []
  var failures: [FileError] = []
  let progress = FileProgress("reading \(what)")
  for (index, entry) in cases.enumerated() {
    do {
      let pages = try entry.read()
      for page in pages { try check(page.image, entry.paths[0]) }
      images += pages.map {
        LabelledImage(name: $0.name, path: entry.paths[0], image: $0.image, labels: nil)
      }
    } catch let error as FileError {
      failures.append(error)
    }
    progress.show(index + 1, of: cases.count)
  }
  progress.finish()
  guard !images.isEmpty else {
    throw failures.first ?? FileError(path: path, reason: "no image could be read")
  }
  noteLosses(of: images, failures)
  return (images, failures)
}
