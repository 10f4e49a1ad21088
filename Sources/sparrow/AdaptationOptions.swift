import ArgumentParser
import Networks
import Segmentation

/// `--adapt`
struct AdaptationOptions: ParsableArguments {
  @Option(
    name: .customLong("adapt"), parsing: .unconditional,
    help: ArgumentHelp(
      "How far a model adapts to each image that it segments, from 0 to 1.",
      discussion: """
        The means and variances that its normalisations go by come so far from those of the training \
        towards the image's own. It helps where images differ from the labelled ones in light or \
        stain, and costs where they do not (default: as the model was trained; that is 0.2 with \
        --unlabelled, else 0).
        """, valueName: "share"))
  var share: Double?

  func validate() throws {
    if let share, !(0...1).contains(share) {
      throw ValidationError("--adapt \(share) is not within 0 and 1")
    }
  }

  var isGiven: Bool { share != nil }
  var chosen: Float? { share.map { Float($0) } }
}

extension SegmenterModel {
  /// The operations of a prediction.
  func operations(_ settings: PredictionSettings) -> Set<String> {
    network.operations(
      for: settings.adaptation(of: self) > 0 ? .adaptedPrediction : .prediction)
  }
}
