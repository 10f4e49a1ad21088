import Compute

/// How many pixels of each true class were given each class, over any number of images.
package struct ConfusionMatrix: Codable, Equatable, Sendable {
  package let classCount: Int
  /// Row `truth`, column `prediction`: `counts[truth * classCount + prediction]`.
  package private(set) var counts: [UInt64]

  package init(classCount: Int) {
    precondition((1...Int(SegmentationLoss.ignored)).contains(classCount), "1 to 255 classes")
    self.classCount = classCount
    counts = Array(repeating: 0, count: classCount * classCount)
  }

  package init(from decoder: any Decoder) throws {
    let values = try decoder.container(keyedBy: CodingKeys.self)
    classCount = try values.decode(Int.self, forKey: .classCount)
    counts = try values.decode([UInt64].self, forKey: .counts)
    guard (1...255).contains(classCount), counts.count == classCount * classCount else {
      throw DecodingError.dataCorruptedError(
        forKey: .counts, in: values, debugDescription: "\(counts.count) counts are no square")
    }
  }

  /// Counts an image. Pixels whose true label is `SegmentationLoss.ignored` have no part.
  ///
  /// - Precondition: all other labels, and all predictions beside them, are below `classCount`.
  package mutating func add(prediction: [UInt8], truth: [UInt8]) {
    precondition(prediction.count == truth.count, "one prediction for each label")
    counts.withUnsafeMutableBufferPointer { counts in
      for (given, real) in zip(prediction, truth) where real != SegmentationLoss.ignored {
        precondition(
          Int(real) < classCount && Int(given) < classCount, "no class \(real) or \(given)")
        counts[Int(real) * classCount + Int(given)] += 1
      }
    }
  }

  /// Adds another set's counts.
  package static func += (left: inout ConfusionMatrix, right: ConfusionMatrix) {
    precondition(left.classCount == right.classCount, "matrices of other classes")
    for i in left.counts.indices { left.counts[i] += right.counts[i] }
  }

  package subscript(truth truth: Int, prediction prediction: Int) -> UInt64 {
    counts[truth * classCount + prediction]
  }

  /// All pixels counted.
  package var total: UInt64 { counts.reduce(0, +) }

  /// Pixels truly of a class.
  package func truth(of index: Int) -> UInt64 {
    (0..<classCount).reduce(0) { $0 + self[truth: index, prediction: $1] }
  }

  /// Pixels that were given a class.
  package func predictions(of index: Int) -> UInt64 {
    (0..<classCount).reduce(0) { $0 + self[truth: $1, prediction: index] }
  }

  /// TP / (TP + FP + FN); nil of a class that is neither in the truth nor in the predictions.
  package func intersectionOverUnion(of index: Int) -> Double? {
    let hits = self[truth: index, prediction: index]
    return ratio(hits, truth(of: index) + predictions(of: index) - hits)
  }

  /// 2 TP / (2 TP + FP + FN); nil of a class that is neither in the truth nor in the predictions.
  package func dice(of index: Int) -> Double? {
    ratio(2 * self[truth: index, prediction: index], truth(of: index) + predictions(of: index))
  }

  /// The mean of the classes' intersection over union, of those that have one.
  package var meanIntersectionOverUnion: Double? {
    mean((0..<classCount).map { intersectionOverUnion(of: $0) })
  }

  /// The mean of the classes' Dice, of those that have one.
  package var meanDice: Double? { mean((0..<classCount).map { dice(of: $0) }) }

  /// The share of pixels that were given their class; nil where none was counted.
  package var accuracy: Double? {
    ratio((0..<classCount).reduce(0) { $0 + self[truth: $1, prediction: $1] }, total)
  }

  private func ratio(_ part: UInt64, _ whole: UInt64) -> Double? {
    whole > 0 ? Double(part) / Double(whole) : nil
  }
}

/// The mean of the values there are; nil where there is none.
func mean(_ values: [Double?]) -> Double? {
  let present = values.compactMap(\.self)
  return present.isEmpty ? nil : present.reduce(0, +) / Double(present.count)
}
