import Compute
import Networks

/// Learning from images without labels by what the network itself says of them (Lee 2013,
/// "Pseudo-Label"; Xie et al. 2020, "Self-training with Noisy Student").
///
/// After a share of the run the network as it then is, the teacher, labels the images; pixels of
/// which it is not sure are left out. From there on crops come from both kinds of images, changed
/// by the same augmentation, so that the network has to say of a changed image what it said of the
/// plain one.
package struct SelfTraining: Codable, Hashable, Sendable {
  /// The share of the run after which the images are labelled.
  package var start: Double
  /// The least probability of the most probable class at which a pixel counts.
  package var confidence: Float
  /// The least share of crops that come from images with labels of their own.
  package var labelledShare: Double

  package init(start: Double = 0.4, confidence: Float = 0.7, labelledShare: Double = 0.2) {
    self.start = start
    self.confidence = confidence
    self.labelledShare = labelledShare
  }

  /// What is wrong with it, in one line.
  package var problem: String? {
    if !(start > 0 && start < 1) { return "self-training from \(start) of the run on" }
    if !(confidence >= 0 && confidence <= 1) { return "a confidence of \(confidence)" }
    if !(labelledShare > 0 && labelledShare <= 1) {
      return "a share of \(labelledShare) of crops with labels"
    }
    return nil
  }

  /// How often each labelled image stands beside the `unlabelled` others, where each image is drawn
  /// as often as another.
  package func copies(labelled: Int, unlabelled: Int) -> Int {
    let wanted = labelledShare * Double(unlabelled) / max(1 - labelledShare, 1e-6)
    return max(1, Int((wanted / Double(labelled)).rounded(.up)))
  }

  /// The labelled images and those that the teacher has labelled.
  ///
  /// - Parameters:
  ///   - labelled: normalised.
  ///   - unlabelled: as read; one with the name and size of a labelled one is that one, and is left
  ///     out.
  func images<B: Backend>(
    labelled: [LabelledImage], unlabelled: [LabelledImage], teacher: SegmenterModel, on backend: B
  ) throws -> [LabelledImage] {
    let predictor = try SegmentationPredictor(teacher, on: backend)
    let others = unlabelled.filter { image in
      !labelled.contains {
        $0.name == image.name && $0.image.width == image.image.width
          && $0.image.height == image.image.height
      }
    }
    let taught = try others.map { image in
      let prediction = try predictor.predict(image.image)
      return LabelledImage(
        name: image.name, image: teacher.description.normalisation(image.image),
        labels: sureLabels(of: prediction))
    }
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
