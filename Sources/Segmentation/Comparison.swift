import Compute
import Networks
import RandomNumbers
import Training

/// The ways to a segmentation that a comparison tries under equal terms.
package enum ComparedMethod: String, CaseIterable, Codable, Sendable {
  /// The front end starts as pretrained and is trained on.
  case pretrained
  /// The front end starts as pretrained and stays so.
  case frozen
  /// All weights start at random.
  case scratch
  /// The front end is random and stays so.
  case random
  /// No network: a linear classifier of multiscale filters.
  case filters
}

/// A comparison of methods by cross-validation on labelled images.
package struct Comparison: Sendable {
  /// One training and its score on the images that were held back.
  package struct Run: Sendable {
    package let method: ComparedMethod
    package let fold: Int
    package let report: SegmentationReport
  }

  package let runs: [Run]

  /// The mean mIoU of a method over its folds, and its standard deviation.
  package func score(of method: ComparedMethod) -> (mean: Double, spread: Double)? {
    let scores = runs.filter { $0.method == method }.compactMap(\.report.overall.miou)
    guard !scores.isEmpty else { return nil }
    let mean = scores.reduce(0, +) / Double(scores.count)
    let squares = scores.reduce(0) { $0 + ($1 - mean) * ($1 - mean) }
    return (mean, scores.count > 1 ? (squares / Double(scores.count - 1)).squareRoot() : 0)
  }

  /// Methods by their mean, the best first; of equals the simpler one.
  package var ranking: [ComparedMethod] {
    ComparedMethod.allCases.reversed().compactMap { method in
      score(of: method).map { (method, $0.mean) }
    }.enumerated().sorted {
      $0.element.1 != $1.element.1 ? $0.element.1 > $1.element.1 : $0.offset < $1.offset
    }.map(\.element.0)
  }
}

extension Comparison {
  /// The files that the images are pages of, in their order. Pages of one file are alike: all of them
  /// are in one fold.
  package static func files(of images: [LabelledImage]) -> [String] {
    var seen: Set<String> = []
    return images.map(\.path).filter { seen.insert($0).inserted }
  }

  /// The images of each fold: every image is in one, and folds differ by one image at most.
  package static func folds(count: Int, of images: Int, seed: UInt64) -> [[Int]] {
    precondition(count >= 2 && count <= images, "\(count) folds of \(images) images")
    var generator = SplitMix64(seed: seed, stream: 0xf01d)
    let order = generator.shuffledIndices(count: images)
    return (0..<count).map { fold in
      stride(from: fold, to: images, by: count).map { Int(order[$0]) }.sorted()
    }
  }

  /// What is known of the images that a fold is trained on: nothing of those that are held back.
  package struct Preparation: Sendable {
    package var normalisation: PercentileNormalisation
    /// Of which the method chooses the front end.
    package var settings: SegmenterTraining

    package init(normalisation: PercentileNormalisation, settings: SegmenterTraining) {
      (self.normalisation, self.settings) = (normalisation, settings)
    }
  }

  /// Trains each method on all folds but one, in turn, and scores it on that one.
  ///
  /// - Parameters:
  ///   - images: as read, with labels.
  ///   - prepare: from the images of a fold that are trained on, as read.
  ///   - pretrained: for the methods that need it, which are left out without it.
  ///   - report: called before each run with the number of runs before it and in all, and after each
  ///     step of training.
  package static func run<B: Backend>(
    _ training: ConvolutionalTraining, images: [LabelledImage],
    classes: ClassMap, pretrained: PretrainedModel?, folds: Int, on backend: B,
    prepare: (_ known: [LabelledImage]) throws -> Preparation,
    report: (_ method: ComparedMethod, _ done: Int, _ total: Int, _ step: StepReport?) throws ->
      Void
  ) throws -> Comparison {
    let methods = ComparedMethod.allCases.filter {
      pretrained != nil || ($0 != .pretrained && $0 != .frozen)
    }
    let files = Self.files(of: images)
    let parts = Self.folds(count: folds, of: files.count, seed: training.seed).map { fold in
      let held = Set(fold.map { files[$0] })
      return images.indices.filter { held.contains(images[$0].path) }
    }
    var runs: [Run] = []
    let total = parts.count * methods.count
    for (fold, held) in parts.enumerated() {
      let others = images.indices.filter { !held.contains($0) }.map { images[$0] }
      guard others.contains(where: \.isLabelled) else {
        throw SegmentationError(
          "fold \(fold + 1) of \(parts.count): no pixel of the images to train on is labelled; use "
            + "other --folds")
      }
      let preparation = try prepare(others)
      let normalisation = preparation.normalisation
      let known = others.map {
        LabelledImage(name: $0.name, image: normalisation($0.image), labels: $0.labels)
      }
      for method in methods {
        let done = runs.count
        try report(method, done, total, nil)
        var scores = SegmentationReport(classes: classes.names)
        func add(_ index: Int, _ labels: [UInt8]) {
          let image = images[index]
          scores.add(
            image.name, prediction: labels, truth: image.labels ?? [], width: image.image.width,
            height: image.image.height)
        }
        if method == .filters {
          let baseline = FilterBaseline(known, seed: training.seed)
          for index in held { add(index, baseline.labels(of: normalisation(images[index].image))) }
        } else {
          var own = preparation.settings
          own.freezesFrontEnd = method == .frozen || method == .random
          own.frontEnd =
            switch method {
            case .pretrained, .frozen: .pretrained
            case .random: .random
            default: .scratch
            }
          let model = try SegmenterTrainer.train(
            training, own, images: known, normalisation: normalisation, classes: classes,
            pretrained: pretrained, verification: StepVerification<B>?.none, on: backend
          ) { try report(method, done, total, $0) }
          let predictor = try SegmentationPredictor(model, on: backend)
          for index in held { add(index, try predictor.predict(images[index].image).labels) }
        }
        runs.append(Run(method: method, fold: fold, report: scores))
      }
    }
    return Comparison(runs: runs)
  }
}
