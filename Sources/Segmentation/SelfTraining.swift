import Compute
import Networks
import RandomNumbers

/// Learning from images without labels by what the network itself says of them (Lee 2013,
/// "Pseudo-Label"; Xie et al. 2020, "Self-training with Noisy Student").
///
/// After a share of the run, over which the rate of learning has fallen to zero, the network as it
/// then is, the teacher, labels the images. It looks at each in its eight turns and mirror images, at
/// full and at lower resolution, and the mean of what it says is better than what it says at once.
/// Pixels of which it is not sure may be left out, but then nothing holds an outline in its place, and
/// classes with larger weights grow. From there on the rate starts over, and crops come from both
/// kinds of images, changed by the same augmentation, so that the network has to say at once of a
/// changed image what it said of the plain one after all those views. Classes then weigh the same:
/// the teacher's labels lean to rare classes as the weights made it, and would lean twice. Nor do
/// classes fade any more: the images show by themselves how much they stand out.
package struct SelfTraining: Codable, Hashable, Sendable {
  /// The share of the run after which the images are labelled.
  package var start: Double
  /// The least probability of the most probable class at which a pixel counts.
  package var confidence: Float
  /// The least share of crops that come from images with labels of their own.
  package var labelledShare: Double
  /// At which other resolutions, as shares of the full one, the teacher looks.
  package var scales: [Double]
  /// Whether the weights of the classes still hold once the images are labelled.
  package var keepsClassWeights: Bool
  /// Whether classes still fade then, where the augmentation says so.
  package var keepsFading: Bool

  package init(
    start: Double = 0.4, confidence: Float = 0, labelledShare: Double = 0.2,
    scales: [Double] = [0.8], keepsClassWeights: Bool = false, keepsFading: Bool = false
  ) {
    self.keepsClassWeights = keepsClassWeights
    self.keepsFading = keepsFading
    self.start = start
    self.confidence = confidence
    self.labelledShare = labelledShare
    self.scales = scales
  }

  package init(from decoder: any Decoder) throws {
    let values = try decoder.container(keyedBy: CodingKeys.self)
    start = try values.decode(Double.self, forKey: .start)
    confidence = try values.decode(Float.self, forKey: .confidence)
    labelledShare = try values.decode(Double.self, forKey: .labelledShare)
    // Earlier versions looked at images as they are alone.
    scales = try values.decodeIfPresent([Double].self, forKey: .scales) ?? []
    // And kept the weights.
    keepsClassWeights = try values.decodeIfPresent(Bool.self, forKey: .keepsClassWeights) ?? true
    // And changed all crops alike.
    keepsFading = try values.decodeIfPresent(Bool.self, forKey: .keepsFading) ?? true
  }

  /// What is wrong with it, in one line.
  package var problem: String? {
    if !(start > 0 && start < 1) { return "self-training from \(start) of the run on" }
    if !(confidence >= 0 && confidence <= 1) { return "a confidence of \(confidence)" }
    if !(labelledShare > 0 && labelledShare <= 1) {
      return "a share of \(labelledShare) of crops with labels"
    }
    if scales.count > 8 || !scales.allSatisfy({ $0 >= 0.1 && $0 <= 4 }) {
      return "a teacher that looks at \(scales) of the resolution"
    }
    return nil
  }

  /// How often each labelled image stands beside the `unlabelled` others, where each image is drawn
  /// as often as another.
  package func copies(labelled: Int, unlabelled: Int) -> Int {
    let wanted = labelledShare * Double(unlabelled) / max(1 - labelledShare, 1e-6)
    return max(1, Int((wanted / Double(labelled)).rounded(.up)))
  }

  /// The images that are none of the labelled ones: they have another name or other samples.
  ///
  /// - Parameters:
  ///   - unlabelled: as read.
  ///   - labelled: normalised.
  package static func others(
    _ unlabelled: [LabelledImage], than labelled: [LabelledImage],
    normalisation: PercentileNormalisation
  ) -> [LabelledImage] {
    unlabelled.filter { image in
      !labelled.contains {
        $0.name == image.name && $0.image.width == image.image.width
          && $0.image.height == image.image.height
          && $0.image.samples == normalisation(image.image).samples
      }
    }
  }

  /// Of the pixels of crops that the network is still to see, the share that the teacher labels at
  /// most: with all its views it takes about four times as long for a pixel as a step of training.
  static let mostLabelled = 1.0 / 12

  /// As many of the images, drawn by the seed, as have `pixels` pixels together, but at least one.
  package static func drawn(
    _ images: [LabelledImage], pixels: Double, seed: UInt64
  ) -> [LabelledImage] {
    var generator = SplitMix64(seed: seed, stream: 0x12)
    var sum = 0.0
    let chosen = generator.shuffledIndices(count: images.count).prefix { index in
      let image = images[Int(index)].image
      defer { sum += Double(image.width * image.height) }
      return sum == 0 || sum + Double(image.width * image.height) <= pixels
    }
    return chosen.sorted().map { images[Int($0)] }
  }

  /// The labelled images and those that the teacher has labelled.
  ///
  /// - Parameters:
  ///   - labelled: normalised.
  ///   - others: as read.
  ///   - progress: called before each image with how many are labelled, and of how many.
  func images<B: Backend>(
    labelled: [LabelledImage], others: [LabelledImage], teacher: SegmenterModel, on backend: B,
    progress: (Int, Int) throws -> Void
  ) throws -> [LabelledImage] {
    // A teacher that adapts to each image teaches nothing more.
    let predictor = try SegmentationPredictor(
      teacher, settings: PredictionSettings(views: .eight, adaptation: 0), on: backend)
    var taught: [LabelledImage] = []
    for image in others {
      try progress(taught.count, others.count)
      let prediction = try predictor.predict(image.image, scales: scales)
      taught.append(
        LabelledImage(
          name: image.name, image: teacher.description.normalisation(image.image),
          labels: sureLabels(of: prediction)))
    }
    try progress(taught.count, others.count)
    let copies = copies(labelled: labelled.count, unlabelled: taught.count)
    return taught + (0..<copies).flatMap { _ in labelled }
  }

  /// The most probable class of each pixel, `SegmentationLoss.ignored` where it is not probable
  /// enough.
  package func sureLabels(of prediction: Prediction) -> [UInt8] {
    var labels = prediction.labels
    for pixel in labels.indices {
      let probability =
        prediction.probabilities[pixel * prediction.classes + Int(labels[pixel])]
      if probability < confidence { labels[pixel] = SegmentationLoss.ignored }
    }
    return labels
  }
}
