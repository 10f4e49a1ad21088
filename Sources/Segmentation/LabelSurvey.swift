import Imaging

/// Collects the values of label images, to infer classes where the user names none.
package struct LabelSurvey: Sendable {
  /// More values than this are no labels but, say, a photograph.
  package static let maximumCount = 32

  private let ignored: [Int]
  private let scribbles: Bool
  private var isPresent = [Bool](repeating: false, count: ClassMap.maximumValue + 1)
  private var distinct = 0

  /// - Parameters:
  ///   - ignored: values that mean unlabelled.
  ///   - scribbles: whether 0 means unlabelled.
  package init(ignoring ignored: [Int] = [], scribbles: Bool = false) {
    self.ignored = ClassMap.ignored(ignored, scribbles: scribbles)
    self.scribbles = scribbles
  }

  /// Values of a JPEG that are less far apart are one value and what the compression made of it.
  private static let blur = 16

  /// Takes note of the values of one more label image.
  ///
  /// - Parameter isJPEG: whether the values went through a compression that changes some.
  /// - Throws: `FileError` where the label is in colour, not of whole numbers, brings the number of
  ///   values above 32, or has been blurred.
  package mutating func add(_ label: SampleImage, path: String, isJPEG: Bool = false) throws {
    var last = -1
    var values: [Int] = []
    var seen = isPresent
    var own: Set<Int> = []
    try label.forEachLabel(path: path) { _, value in
      // Labels come in runs.
      guard value != last else { return }
      last = value
      if isJPEG, own.insert(value).inserted,
        let near = own.first(where: { $0 != value && abs($0 - value) < Self.blur })
      {
        throw FileError(
          path: path,
          reason: "a JPEG, which changes labels' values (\(min(near, value)) lies beside "
            + "\(max(near, value))): save it as PNG or TIFF where it was made, or name its classes")
      }
      guard !seen[value] else { return }
      seen[value] = true
      if !ignored.contains(value) { values.append(value) }
      guard distinct + values.count <= Self.maximumCount else {
        throw FileError(
          path: path,
          reason: "more than \(Self.maximumCount) different values: no label image, unless classes "
            + "are named for its values")
      }
    }
    isPresent = seen
    distinct += values.count
  }

  /// A class for each value in rising order, named by it; of two values 0 and 255, or 0 and 1, the
  /// classes are `background` and `foreground`. Scribbles' classes are the values above 0.
  ///
  /// - Throws: `FileError` for `path` where there are less than two classes.
  package func classMap(path: String) throws -> ClassMap {
    let values = isPresent.indices.filter { isPresent[$0] && !ignored.contains($0) }
    guard values.count >= 2 else {
      let found = values.isEmpty ? "no value" : "only the value \(values[0])"
      throw FileError(
        path: path,
        reason: "the labels have \(found)\(ignored.isEmpty ? "" : " besides the ignored"), "
          + "but a segmentation has at least two classes")
    }
    let isMask = values == [0, 255] || values == [0, 1]
    let names = isMask ? ["background", "foreground"] : values.map(String.init)
    do {
      return try ClassMap(
        classes: zip(names, values).map { .init(name: $0, values: [$1]) }, ignoring: ignored)
    } catch {
      throw FileError(path: path, reason: error.description)
    }
  }
}
