import Foundation
import Imaging

/// How well predicted masks agree with labels: for each image, and for all their pixels together.
package struct SegmentationReport: Sendable {
  /// The figures of one image, or of all.
  package struct Scores: Sendable, Equatable {
    package let name: String
    package fileprivate(set) var confusion: ConfusionMatrix
    /// One for each class.
    package fileprivate(set) var boundaries: [BoundaryScore]

    package var miou: Double? { confusion.meanIntersectionOverUnion }
    package var accuracy: Double? { confusion.accuracy }
    package var iou: [Double?] {
      (0..<confusion.classCount).map { confusion.intersectionOverUnion(of: $0) }
    }
    package var dice: [Double?] { (0..<confusion.classCount).map { confusion.dice(of: $0) } }
    package var boundaryF: [Double?] { boundaries.map(\.f) }
  }

  /// The classes' names, in the order of their indices.
  package let classes: [String]
  /// How far outlines may be apart, as a share of an image's diagonal.
  package let tolerance: Double
  package private(set) var images: [Scores] = []
  /// Of the pixels and outlines of all images together.
  package private(set) var overall: Scores

  package init(classes: [String], tolerance: Double = BoundaryScore.defaultTolerance) {
    self.classes = classes
    self.tolerance = tolerance
    overall = Scores(
      name: "all", confusion: ConfusionMatrix(classCount: classes.count),
      boundaries: Array(repeating: BoundaryScore(), count: classes.count))
  }

  /// Adds an image. Pixels whose true label is `SegmentationLoss.ignored` have no part.
  package mutating func add(
    _ name: String, prediction: [UInt8], truth: [UInt8], width: Int, height: Int
  ) {
    var confusion = ConfusionMatrix(classCount: classes.count)
    confusion.add(prediction: prediction, truth: truth)
    let boundaries = BoundaryScore.scores(
      prediction: prediction, truth: truth, width: width, height: height,
      classCount: classes.count,
      distance: BoundaryScore.distance(width: width, height: height, tolerance: tolerance))
    images.append(Scores(name: name, confusion: confusion, boundaries: boundaries))
    overall.confusion += confusion
    for index in boundaries.indices { overall.boundaries[index] += boundaries[index] }
  }
}

extension SegmentationReport {
  /// The figures as a JSON object with the keys `miou`, `iou`, `dice`, `accuracy`, `boundary_f`,
  /// `mean_boundary_f`, `mean_dice`, `pixels`, `classes`, `confusion` (rows are the truth) and
  /// `images`, in which each image has the same figures and its `name`. The figures of classes are
  /// objects by the classes' names. What has no value, such as the IoU of a class that is nowhere,
  /// is null.
  ///
  /// - Parameter secondsPerImage: becomes `seconds_per_image` where it is known.
  package func json(secondsPerImage: Double? = nil) throws -> Data {
    var object = figures(of: overall)
    object["classes"] = classes
    if let secondsPerImage { object["seconds_per_image"] = secondsPerImage }
    object["images"] = images.map { scores in
      figures(of: scores).merging(["name": scores.name]) { first, _ in first }
    }
    return try JSONSerialization.data(
      withJSONObject: object, options: [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes])
  }

  private func figures(of scores: Scores) -> [String: Any] {
    func value(_ number: Double?) -> Any { number ?? NSNull() }
    func byClass(_ numbers: [Double?]) -> [String: Any] {
      Dictionary(uniqueKeysWithValues: zip(classes, numbers.map(value)))
    }
    let confusion = scores.confusion
    return [
      "miou": value(scores.miou), "iou": byClass(scores.iou), "dice": byClass(scores.dice),
      "accuracy": value(scores.accuracy), "boundary_f": byClass(scores.boundaryF),
      "mean_boundary_f": value(mean(scores.boundaryF)), "mean_dice": value(confusion.meanDice),
      "pixels": confusion.total,
      "confusion": classes.indices.map { truth in
        classes.indices.map { confusion[truth: truth, prediction: $0] }
      },
    ]
  }

  /// The first columns of `csv()`.
  private static let firstColumns = ["image", "pixels", "accuracy", "miou"]

  /// Whether the file begins as `csv()` does, or is empty.
  ///
  /// - Throws: `FileError` where it cannot be read.
  package static func isTable(_ path: String) throws -> Bool {
    let file = try InputFile(path: path)
    var start = [UInt8](repeating: 0, count: min(file.size, firstColumns.joined().utf8.count + 4))
    let count = try start.withUnsafeMutableBytes { try file.read(into: $0) }
    return count == 0
      || start[..<count].elementsEqual((firstColumns.joined(separator: ",") + ",").utf8)
  }

  /// A line for each image and one, named `all`, for all together; empty where there is no value.
  package func csv() -> String {
    var header = Self.firstColumns
    for figure in ["iou", "dice", "boundary_f"] { header += classes.map { "\(figure)_\($0)" } }
    var lines = [header]
    for scores in images + [overall] {
      let figures =
        [scores.accuracy, scores.miou] + scores.iou + scores.dice + scores.boundaryF
      lines.append(
        [scores.name, "\(scores.confusion.total)"] + figures.map { $0.map { "\($0)" } ?? "" })
    }
    return Self.csv(lines)
  }

  private static func csv(_ lines: [[String]]) -> String {
    lines.map { fields in
      fields.map { field in
        // By scalars: a comma and what is combined with it are one character, as are CR and LF.
        field.unicodeScalars.contains { ",\"\n\r".unicodeScalars.contains($0) }
          ? "\"\(field.replacingOccurrences(of: "\"", with: "\"\"", options: .literal))\"" : field
      }.joined(separator: ",") + "\n"
    }.joined()
  }

  /// For people: a line for each class, their means, and the share of each true class that was given
  /// each class.
  package func table() -> String {
    func text(_ number: Double?) -> String {
      guard let number else { return "-" }
      return String(format: "%.4f", number)
    }
    var figures = [["class", "IoU", "Dice", "boundary F", "pixels"]]
    for (index, name) in classes.enumerated() {
      figures.append([
        name, text(overall.iou[index]), text(overall.dice[index]),
        text(overall.boundaryF[index]), "\(overall.confusion.truth(of: index))",
      ])
    }
    figures.append([
      "mean", text(overall.miou), text(overall.confusion.meanDice),
      text(mean(overall.boundaryF)), "\(overall.confusion.total)",
    ])
    var shares = [["truth \\ given"] + classes]
    for (truth, name) in classes.enumerated() {
      let whole = overall.confusion.truth(of: truth)
      shares.append(
        [name]
          + classes.indices.map { given in
            guard whole > 0 else { return "-" }
            let part = overall.confusion[truth: truth, prediction: given]
            return String(format: "%.2f %%", 100 * Double(part) / Double(whole))
          })
    }
    return Self.aligned(figures) + "pixel accuracy \(text(overall.accuracy))\n\n"
      + Self.aligned(shares)
  }

  /// Columns two spaces apart, the first at its left edge and the others at their right one.
  private static func aligned(_ lines: [[String]]) -> String {
    let widths = lines[0].indices.map { column in
      lines.map { $0[column].count }.max() ?? 0
    }
    return lines.map { line in
      line.enumerated().map { column, text in
        let space = String(repeating: " ", count: widths[column] - text.count)
        return column == 0 ? text + space : space + text
      }.joined(separator: "  ") + "\n"
    }.joined()
  }
}
