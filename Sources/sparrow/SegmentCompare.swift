import ArgumentParser
import Compute
import Foundation
import Imaging
import Networks
import Segmentation
import Training

struct SegmentCompare: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "compare",
    abstract: "Say which way of training suits your labels, by cross-validation.",
    discussion: """
      Trains on all labelled images but some and scores on those, in turn, with equal steps, crops \
      and changes: pretrained (the front end of --pretrained, trained on), frozen (the same, kept \
      as it is), scratch, random (a random front end, kept), and filters, a linear classifier of \
      multiscale filters without any network.

      Examples:
        sparrow segment compare --images imgs --labels masks \\
          --pretrained runs/front --steps 200
        sparrow segment compare --images imgs --labels masks --folds 5 --json
      """)

  @OptionGroup(title: "Data") var data: LabelledOptions
  @Option(
    help: ArgumentHelp(
      "A front end that `sparrow segment pretrain` made; without it, two methods are left out.",
      valueName: "run"), completion: .directory)
  var pretrained: String?
  @Option(
    parsing: .unconditional,
    help: "How many parts the labelled images are cut into (default: 3, or as many as there are).")
  var folds: Int?
  @OptionGroup(title: "Network") var network: SegmentNetworkOptions
  @OptionGroup(title: "Training") var training: SegmentTrainingOptions
  @OptionGroup(title: "Loss") var loss: SegmentLossOptions
  @OptionGroup var device: DeviceOptions
  @OptionGroup var json: JSONOption

  func validate() throws {
    try data.requireFolders()
    if let folds, folds < 2 {
      throw ValidationError("--folds must be at least 2, not \(folds)")
    }
  }

  func run() throws {
    let front = try pretrained.map { try PretrainedModel(path: modelPath($0)) }
    let (content, classes) = try data.load(seed: training.seed)
    let images = content.images
    guard images.count >= 2 else {
      throw Problem("a comparison needs two labelled images or more, and there is one")
    }
    let files = Comparison.files(of: images).count
    let folds = folds ?? min(3, files)
    guard folds <= files else {
      throw Problem("--folds \(folds), but there are \(files) labelled images")
    }
    let normalisation = try front?.description.normalisation ?? content.normalisation()
    for image in images { try normalisation.check(image.image, path: image.path) }
    let shape = try network.configuration(
      inputs: normalisation.channels, outputs: classes.count, hasSkips: true, pretrained: front)
    let job = Job(
      configuration: try training.configuration(shape, images: images),
      images: images, classes: classes, front: front, folds: folds
    ) {
      // What is held back must not be known of; but a front end has learned from what it has.
      Comparison.Preparation(
        normalisation: try front?.description.normalisation ?? PercentileNormalisation(of: $0),
        settings: SegmenterTraining(
          loss: loss.loss, classWeights: try loss.weights(of: $0, classes: classes),
          augmentation: loss.augmentation(others: false), freezesFrontEnd: false,
          frontEnd: .scratch))
    }
    let (comparison, name) = try device.run(job)
    try json.isOn
      ? Console.result(json: Output(comparison, device: name))
      : Console.result(text(comparison))
    try report(content.failures)
  }

  private func text(_ comparison: Comparison) -> String {
    let rows = comparison.ranking.compactMap { method in
      comparison.score(of: method).map { score in
        [
          method.rawValue, String(format: "%.4f", score.mean), String(format: "%.4f", score.spread),
        ]
      }
    }
    let best = comparison.ranking.first?.advice ?? ""
    return table(["method", "mIoU", "spread"], rows) + "\n\n" + best
  }

  private struct Output: Encodable {
    struct Method: Encodable {
      let name: String
      let miou, spread: JSONNumber
      let folds: [JSONNumber]
    }
    let methods: [Method]
    let best, device: String

    init(_ comparison: Comparison, device: String) {
      methods = comparison.ranking.compactMap { method in
        comparison.score(of: method).map { score in
          Method(
            name: method.rawValue, miou: JSONNumber(score.mean), spread: JSONNumber(score.spread),
            folds: comparison.runs.filter { $0.method == method }.map {
              JSONNumber($0.report.overall.miou ?? .nan)
            })
        }
      }
      best = comparison.ranking.first?.rawValue ?? ""
      self.device = device
    }
  }

  private struct Job: BackendTask {
    let configuration: ConvolutionalTraining
    let images: [LabelledImage]
    let classes: ClassMap
    let front: PretrainedModel?
    let folds: Int
    let prepare: ([LabelledImage]) throws -> Comparison.Preparation

    func run<B: Backend>(on backend: B) throws -> (Comparison, String) {
      var shown = ContinuousClock.now
      let comparison = try Comparison.run(
        configuration, images: images, classes: classes, pretrained: front,
        folds: folds, on: backend, prepare: prepare
      ) { method, done, total, step in
        guard let step else {
          return Console.noteLine("run \(done + 1)/\(total): \(method.rawValue)")
        }
        guard Console.isTerminal, shown.secondsSince() > 0.2 else { return }
        shown = .now
        Console.overwrite(
          "run \(done + 1)/\(total): \(method.rawValue)  step \(step.step)/\(step.steps)  "
            + "\(duration(step.remaining)) left of this run")
      }
      Console.clearLine()
      return (comparison, backend.name)
    }
  }
}

extension ComparedMethod {
  /// What to do where this method came first.
  var advice: String {
    switch self {
    case .pretrained: "Use the pretrained front end: sparrow segment train --pretrained RUN"
    case .frozen:
      "Use the pretrained front end as it is: sparrow segment train --pretrained RUN --frozen"
    case .scratch: "Train from scratch: sparrow segment train without --pretrained"
    case .random:
      "No training of the front end beat a random one: label more, or train for more --steps"
    case .filters:
      "No network beat linear filters: label more, or train for more --steps"
    }
  }
}
