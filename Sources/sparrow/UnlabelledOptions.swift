import ArgumentParser
import Imaging
import Segmentation

/// `--unlabelled` and how such images are learned from.
struct UnlabelledOptions: ParsableArguments {
  @Option(
    name: .customLong("unlabelled"),
    help: ArgumentHelp(
      "A folder of images without labels to learn from as well.",
      discussion: """
        After 40 % of the run the network labels them itself, from eight views at two resolutions, \
        and the rest of the run learns from them too. The labelled images may be among them. Of \
        many images as many are drawn as the length of the run is worth.
        """, valueName: "folder"), completion: .directory)
  var folder: String?
  @Option(
    parsing: .unconditional,
    help: "How probable its class must be for a pixel without label to count (default: 0, all).")
  var confidence: Double?

  func validate() throws {
    if let folder { try requirePath(folder, "--unlabelled") }
    guard let confidence else { return }
    guard (0...1).contains(confidence) else {
      throw ValidationError("--confidence \(confidence) is not within 0 and 1")
    }
    guard folder != nil else { throw ValidationError("--confidence is of --unlabelled") }
  }

  var settings: SelfTraining? {
    folder.map { _ in SelfTraining(confidence: Float(confidence ?? 0)) }
  }

  /// The folder's images as read, and the files that could not be.
  static func load(
    _ folder: String, _ normalisation: PercentileNormalisation
  ) throws -> (images: [LabelledImage], failures: [FileError]) {
    try readImages(folder, "images without labels") { try normalisation.check($0, path: $1) }
  }
}
