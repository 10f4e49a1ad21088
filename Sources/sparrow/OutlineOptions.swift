import ArgumentParser
import Segmentation

/// `--outlines`
struct OutlineOptions: ParsableArguments {
  @Option(
    name: .customLong("outlines"), parsing: .unconditional,
    help: ArgumentHelp(
      "How much the brightness says where outlines between two classes are, up to 100.",
      discussion: """
        For objects brighter or darker than what surrounds them, such as stained nuclei. The labelled \
        images tell at which share of the way from the surroundings' brightness to the object's own \
        outlines lie; w times how far above it a pixel lies is added to the log odds. 20 is about as \
        much as the network itself says. What is predicted with must have been trained with some \
        (default: as the model was trained; there 0).
        """, valueName: "weight"))
  var weight: Float?

  func validate() throws {
    if let weight, !BrightnessOutlines.weights.contains(weight) {
      throw ValidationError("--outlines \(weight) is not within 0 and 100")
    }
  }

  var isGiven: Bool { weight != nil }

  /// For a training.
  func fitted(to images: [LabelledImage], classes: ClassMap) throws -> BrightnessOutlines? {
    guard let weight, weight > 0 else { return nil }
    guard classes.count == 2 else {
      throw Problem("--outlines: between two classes; there are \(classes.count)")
    }
    guard let outlines = BrightnessOutlines(fittedTo: images, weight: weight) else {
      throw Problem("--outlines: in no labelled image do the two classes lie side by side")
    }
    return outlines
  }

  /// For a prediction by a model.
  func check(_ model: SegmenterModel) throws {
    guard let weight, weight > 0, model.description.segmenting.outlines == nil else { return }
    throw Problem("--outlines \(weight): the model was trained without --outlines")
  }
}
