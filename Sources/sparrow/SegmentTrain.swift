import ArgumentParser
import Compute
import Foundation
import Imaging
import Networks
import Segmentation
import Training

struct SegmentTrain: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "train",
    abstract: "Train a segmentation network on labelled images.",
    discussion: """
      Images and labels are matched by base name; labels are grey images whose values mean \
      classes. --classes names them, else each value that occurs is a class. With --scribbles, 0 \
      means unlabelled and only the marked pixels count. The output folder receives \
      model.safetensors, metrics.csv and training.png, the first image with its labels and the \
      model's answer. With --unlabelled, the network labels those images itself after 40 % of the \
      run, and learns from them as well.

      Examples:
        sparrow segment train --images imgs --labels masks --output runs/cells
        sparrow segment train --images imgs --labels masks --limit 2 \\
          --pretrained runs/front --classes membrane=0,cell=255 \\
          --minutes 4 --output runs/cells
        sparrow segment train --images one --labels one-mask \\
          --unlabelled all --output runs/few
        sparrow segment train --images nuclei --labels masks \\
          --augmentation sharp --outlines 20 \\
          --classes background=0,nucleus=255 --output runs/nuclei
        sparrow segment train --resume runs/cells
        sparrow segment predict --model runs/cells --images new --output out \\
          --overlay
      """)

  @OptionGroup(title: "Data") var data: LabelledOptions
  @OptionGroup(title: "Images without labels") var unlabelled: UnlabelledOptions
  @Option(
    help: ArgumentHelp(
      "A front end that `sparrow segment pretrain` made: a run or its model file.",
      valueName: "run"), completion: .directory)
  var pretrained: String?
  @Flag(help: "Keep encoder and code as they are, and train the decoder alone.")
  var frozen = false
  @OptionGroup(title: "Network") var network: SegmentNetworkOptions
  @OptionGroup(title: "Training") var training: SegmentTrainingOptions
  @OptionGroup(title: "Loss") var loss: SegmentLossOptions
  @OptionGroup(title: "Prediction") var adaptation: AdaptationOptions
  @OptionGroup(title: "Prediction") var outlines: OutlineOptions
  @OptionGroup var device: DeviceOptions
  @Option(
    help: ArgumentHelp("The folder to write; made where absent.", valueName: "run"),
    completion: .directory)
  var output: String?
  @OptionGroup(title: "Trust") var trust: SegmentTrustOptions

  func validate() throws {
    guard trust.run == nil else {
      return try SegmentTrustOptions.refuseSettings(besides: ["images", "labels", "unlabelled"])
    }
    try data.requireFolders()
    try requirePath(required(output, "output"), "--output")
    if frozen, pretrained == nil {
      throw ValidationError("--frozen needs a front end to keep: --pretrained")
    }
  }

  func run() throws {
    if let run = trust.run { return try resume(run) }
    let folder = SegmentRun(path: try required(output, "output"), picture: "training.png")
    let folders = try data.requireFolders()
    try folder.refuseExisting(
      reading: [folders.images, folders.labels] + (unlabelled.folder.map { [$0] } ?? []))
    let front = try pretrained.map { try PretrainedModel(path: modelPath($0)) }
    let (content, classes) = try data.load(seed: training.seed)
    let normalisation = try front?.description.normalisation ?? content.normalisation()
    let images = try content.images.map { image in
      try normalisation.check(image.image, path: image.path)
      return LabelledImage(
        name: image.name, image: normalisation(image.image), labels: image.labels)
    }
    let shape = try network.configuration(
      inputs: normalisation.channels, outputs: classes.count, hasSkips: true, pretrained: front)
    guard shape.code != .l1 || front != nil else {
      throw ValidationError(
        "--code l1 is relu where labels alone train it; give it a front end: "
          + "'sparrow segment pretrain --code l1'")
    }
    let configuration = try training.configuration(shape, images: images)
    let settings = SegmenterTraining(
      loss: loss.loss, classWeights: try loss.weights(of: images, classes: classes),
      augmentation: loss.augmentation(others: unlabelled.folder != nil), freezesFrontEnd: frozen,
      frontEnd: front == nil ? .scratch : .pretrained, selfTraining: unlabelled.settings,
      adaptation: adaptation.chosen ?? (unlabelled.folder == nil ? 0 : 0.2),
      outlines: try outlines.fitted(to: images, classes: classes))
    let others = try unlabelled.folder.map { try UnlabelledOptions.load($0, normalisation) }
    let names = classes.names.joined(separator: ", ")
    let more = others.map { ", \(counted($0.images.count, "image")) without labels" } ?? ""
    Console.note("Data: \(counted(images.count, "labelled image"))\(more), classes \(names)")
    if let others {
      let known =
        others.images.count
        - SelfTraining.others(others.images, than: images, normalisation: normalisation).count
      if known > 0 {
        Console.note(
          "Note: \(known) of the images without labels \(known == 1 ? "is" : "are") among the "
            + "labelled ones"
        )
      }
    }
    Console.note("Network: \(shape.summary), \(front == nil ? "from scratch" : "pretrained")")
    noteUse(of: shape.code, latents: shape.latents)
    if let outlines = settings.outlines {
      Console.note(
        "Outlines: at \(significant(Double(outlines.share), 2)) of the way from the brightness of "
          + "\(classes.names[0]) to that of \(classes.names[1])")
    }
    let model = SegmenterDescription(
      training: configuration, segmenting: settings, normalisation: normalisation,
      classes: classes, stepsDone: 0, images: images.count)
    try device.train(
      Job(
        keeping: SegmentKeeping(
          settings: SegmentationSettings(
            model: model, images: absolutePath(folders.images),
            labels: absolutePath(folders.labels), limit: data.limit,
            unlabelled: unlabelled.folder.map(absolutePath)),
          content: contentSHA256(of: images + (others?.images ?? [])), folder: folder,
          session: RunSession(folder: folder.path), trust: trust, verb: "train",
          resuming: nil), images: images, originals: content.images,
        unlabelled: others?.images ?? [], front: front))
    try report(content.failures + (others?.failures ?? []))
  }

  private func resume(_ path: String) throws {
    let folder = SegmentRun(path: path, picture: "training.png")
    let session = RunSession(folder: path)
    guard let saved = try trust.load(folder, session, as: SegmentationSettings.self) else {
      return
    }
    var settings = saved.description.settings
    if let images = data.images { settings.images = absolutePath(images) }
    if let labels = data.labels { settings.labels = absolutePath(labels) }
    if let folder = unlabelled.folder { settings.unlabelled = absolutePath(folder) }
    let model = settings.model
    let areGiven = data.images != nil && data.labels != nil
    let content = try fromItsPlace(areGiven ? nil : "--images and --labels") {
      try LabelledOptions.load(
        images: settings.images, labels: settings.labels, limit: settings.limit,
        seed: model.training.seed
      ) { _ in model.classes }.content
    }
    let images = try content.images.map { image in
      try model.normalisation.check(image.image, path: image.path)
      return LabelledImage(
        name: image.name, image: model.normalisation(image.image), labels: image.labels)
    }
    let others = try settings.unlabelled.map { path in
      try fromItsPlace(unlabelled.folder == nil ? "--unlabelled" : nil) {
        try UnlabelledOptions.load(path, model.normalisation)
      }
    }
    try trust.requireContent(
      images + (others?.images ?? []), saved.description.content, settings.images)
    try device.train(
      Job(
        keeping: SegmentKeeping(
          settings: settings, content: saved.description.content, folder: folder, session: session,
          trust: trust, verb: "train", resuming: saved), images: images,
        originals: content.images, unlabelled: others?.images ?? [], front: nil))
    try report(content.failures + (others?.failures ?? []))
  }

  private struct Job: SegmentJob {
    var keeping: SegmentKeeping<SegmentationSettings>
    let images, originals, unlabelled: [LabelledImage]
    /// For the start of a run alone.
    let front: PretrainedModel?

    var operations: Set<String>? {
      keeping.settings.model.training.network.operations(for: .training)
    }

    func run<B: Backend>(on backend: B) throws {
      let (description, folder) = (keeping.settings.model, keeping.folder)
      let settings = description.segmenting
      let log = StepLog(["loss", "cross_entropy", "dice"]) { figures in
        let (entropy, dice) = (Double(figures[0]), Double(figures[1]))
        return [
          Double(settings.loss.crossEntropyWeight) * entropy
            + Double(settings.loss.diceWeight) * dice, entropy, dice,
        ]
      }
      let progress = FileProgress("labelling images")
      let model = try keeping.run(log: log, on: backend) { state, keeper, verification in
        try SegmenterTrainer.train(
          description.training, settings, images: images, unlabelled: unlabelled,
          normalisation: description.normalisation, classes: description.classes,
          pretrained: front, from: state, keeper: keeper, verification: verification, on: backend,
          labelling: {
            progress.show($0, of: $1)
            if $0 == $1 { progress.finish() }
          }, report: log.show)
      }
      // First, since it tells whether the model is of any use.
      let predictor = try SegmentationPredictor(model, on: backend)
      let prediction = try predictor.predict(originals[0].image)
      try keeping.session.check()
      try model.write(to: folder.model)
      try folder.write(log)
      try ImageFile.writePNG(
        SegmentationPicture.comparison(
          originals[0].image, truth: originals[0].labels, prediction: prediction,
          classes: description.classes, normalisation: description.normalisation),
        to: folder.picturePath)
      keeping.finish()
      try Console.result("Written: \(folder.model), metrics.csv, \(folder.picture)")
    }
  }
}

/// `--images`, `--labels` and what the labels mean.
struct LabelledOptions: ParsableArguments {
  @Option(
    help: "The folder of images: PNG, JPEG or TIFF; nnU-Net's imagesTr as it is.",
    completion: .directory)
  var images: String?
  @Option(
    help: "The folder of label images, matched by base name: PNG or TIFF.", completion: .directory)
  var labels: String?
  @Option(
    help: ArgumentHelp(
      "Which values are which class, such as membrane=0,cell=255 or cell=1|2|3.",
      valueName: "classes"))
  var classes: String?
  @Option(
    parsing: .unconditional,
    help: ArgumentHelp("A label value that means unlabelled.", valueName: "value"))
  var ignore: Int?
  @Flag(help: "Labels are scribbles: 0 means unlabelled.") var scribbles = false
  @Option(
    parsing: .unconditional,
    help: ArgumentHelp("Use so many of the labelled files, drawn by the seed.", valueName: "count")
  )
  var limit: Int?

  func validate() throws {
    if let limit { try requirePositive(limit, "--limit") }
    if let ignore, !(0...ClassMap.maximumValue).contains(ignore) {
      throw ValidationError("--ignore \(ignore) is not within 0...\(ClassMap.maximumValue)")
    }
    _ = try namedClasses()
  }

  private func namedClasses() throws -> ClassMap? {
    guard let classes else { return nil }
    do {
      return try ClassMap(
        parsing: classes, ignoring: ignore.map { [$0] } ?? [], scribbles: scribbles)
    } catch {
      throw ValidationError("--classes \(classes): \(error)")
    }
  }

  /// - Throws: `ValidationError` where one is missing or empty.
  @discardableResult
  func requireFolders() throws -> (images: String, labels: String) {
    let folders = (try required(images, "images"), try required(labels, "labels"))
    try requirePath(folders.0, "--images")
    try requirePath(folders.1, "--labels")
    return folders
  }

  /// Reads the pairs, or as many as `--limit` says.
  func load(
    seed: UInt64, known: ClassMap? = nil
  ) throws -> (content: LabelledFolder.Content, classes: ClassMap) {
    let (images, labels) = try requireFolders()
    return try Self.load(images: images, labels: labels, limit: limit, seed: seed) { folder in
      try namedClasses() ?? known
        ?? folder.inferClasses(ignoring: ignore.map { [$0] } ?? [], scribbles: scribbles)
    }
  }

  static func load(
    images: String, labels: String, limit: Int?, seed: UInt64,
    classes: (LabelledFolder) throws -> ClassMap
  ) throws -> (content: LabelledFolder.Content, classes: ClassMap) {
    var folder = try LabelledFolder(images: images, labels: labels)
    if let limit {
      guard limit <= folder.pairs.count else {
        throw Problem("--limit \(limit), but \(images) has \(folder.pairs.count) labelled files")
      }
      folder = folder.limited(to: limit, seed: seed)
    }
    let map = try classes(folder)
    let progress = FileProgress("reading images")
    let content = try folder.read(classes: map) { progress.show($0, of: $1) }
    progress.finish()
    guard !content.images.isEmpty else {
      throw content.failures.first ?? FileError(path: images, reason: "no image could be read")
    }
    noteLosses(of: content.images, content.failures)
    guard content.images.contains(where: \.isLabelled) else {
      throw FileError(path: labels, reason: "no pixel is labelled as any of \(map.description)")
    }
    let missing = map.names.indices.filter { index in
      !content.images.contains { $0.labels?.contains(UInt8(index)) ?? false }
    }
    for index in missing {
      Console.note("Warning: no pixel is labelled as \(map.names[index])")
    }
    return (content, map)
  }
}

/// What the training of a segmenter minimises, and how crops are changed.
struct SegmentLossOptions: ParsableArguments {
  enum Weights: String, CaseIterable, ExpressibleByArgument { case none, balanced }
  enum Changes: String, CaseIterable, ExpressibleByArgument { case none, light, sharp, standard }

  @Option(
    help: ArgumentHelp(
      "Weights of the classes in the cross-entropy: none, or balanced by their frequency.",
      discussion: """
        Where images without labels are learned from, the weights hold until they are labelled.
        """))
  var classWeights = Weights.balanced
  @Option(parsing: .unconditional, help: "Weight of the soft Dice beside the cross-entropy.")
  var dice = 1.0
  @Option(
    name: .customLong("augmentation"),
    help: ArgumentHelp(
      """
      Changes of crops: none, light (flips, turns, brightness), standard (any angle and scale, \
      elastic, gamma, noise, blur) or sharp.
      """,
      discussion: """
        Sharp is standard without gamma and blur, for outlines that lie at a share of the brightness.
        """))
  var changes = Changes.standard
  @Option(
    parsing: .unconditional,
    help: ArgumentHelp(
      "How much less classes stand out from each other in half of the crops, up to 1.",
      discussion: """
        Their means come nearer to each other by a share between 0 and this. It helps where classes \
        stand out less in other images than in the labelled ones, and costs where they do not; \
        once images without labels are labelled, classes fade no more \
        (default: 0.8 with --unlabelled and standard or sharp changes, else 0).
        """, valueName: "share"))
  var fading: Double?

  func validate() throws {
    try requireWithin(dice, SegmentationLoss.weights, "--dice")
    if let fading, !(0...1).contains(fading) {
      throw ValidationError("--fading \(fading) is not within 0 and 1")
    }
  }

  var loss: SegmentationLoss { SegmentationLoss(diceWeight: Float(dice)) }

  /// - Parameter others: whether images without labels are learned from.
  func augmentation(others: Bool) -> Augmentation {
    let augmentation: Augmentation =
      switch changes {
      case .none: .none
      case .light: .light
      case .sharp: .sharp
      case .standard: .standard
      }
    let standard = others && (changes == .standard || changes == .sharp) ? 0.8 : 0
    return augmentation.fadingClasses(by: Float(fading ?? standard))
  }

  /// Of each class 1, or proportional to the square root of how rare it is, 1 on average over pixels.
  func weights(of images: [LabelledImage], classes: ClassMap) throws -> [Float] {
    guard classWeights == .balanced else {
      return [Float](repeating: 1, count: classes.count)
    }
    var counts = [Double](repeating: 0, count: classes.count)
    for image in images {
      for label in image.labels ?? [] where Int(label) < counts.count { counts[Int(label)] += 1 }
    }
    let total = counts.reduce(0, +)
    let raw = counts.map { $0 > 0 ? (total / $0).squareRoot() : 0 }
    let mean = zip(raw, counts).reduce(0) { $0 + $1.0 * $1.1 } / max(total, 1)
    return raw.map { Float($0 / max(mean, 1e-12)) }
  }
}

/// Progress over files, on standard error where it takes long.
final class FileProgress {
  private let what: String
  private let start = ContinuousClock.now
  private var shown: ContinuousClock.Instant?

  init(_ what: String) { self.what = what }

  func show(_ done: Int, of total: Int) {
    // The first line comes sooner than the others, lest work of some seconds be done in silence.
    let isDue =
      shown.map { $0.secondsSince() > (Console.isTerminal ? 0.1 : 5) }
      ?? (start.secondsSince() > (Console.isTerminal ? 1 : 2))
    guard isDue else { return }
    shown = .now
    let line = "\(what): \(done) of \(total)"
    Console.isTerminal ? Console.overwrite(line) : Console.note(line)
  }

  func finish() { if shown != nil { Console.clearLine() } }
}
