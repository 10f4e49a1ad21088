import Compute

/// How well the outlines of one class agree, as Perazzi et al. (2016) measure it: the harmonic mean
/// of the shares of the predicted outline near the true one (precision) and of the true outline near
/// the predicted one (recall).
///
/// A class's outline are its pixels with one of their four neighbours of another class. Near is
/// within a distance: that of the disc by which the other outline would be dilated.
package struct BoundaryScore: Codable, Equatable, Sendable {
  /// Pixels of the predicted outline, and those of them that are near the true one.
  package var predicted: UInt64 = 0, predictedNear: UInt64 = 0
  /// Pixels of the true outline, and those of them that are near the predicted one.
  package var real: UInt64 = 0, realNear: UInt64 = 0

  package init() {}

  /// Nil where nothing was predicted.
  package var precision: Double? {
    predicted > 0 ? Double(predictedNear) / Double(predicted) : nil
  }

  /// Nil where nothing was to be found.
  package var recall: Double? { real > 0 ? Double(realNear) / Double(real) : nil }

  /// 2 P R / (P + R); 0 where only one of the outlines exists, nil where neither does.
  package var f: Double? {
    guard predicted > 0 || real > 0 else { return nil }
    guard let precision, let recall, precision + recall > 0 else { return 0 }
    return 2 * precision * recall / (precision + recall)
  }

  package static func += (left: inout BoundaryScore, right: BoundaryScore) {
    left.predicted += right.predicted
    left.predictedNear += right.predictedNear
    left.real += right.real
    left.realNear += right.realNear
  }

  /// The share of an image's diagonal that Perazzi et al. allow.
  package static let defaultTolerance = 0.0075

  /// Pixels that are allowed in an image: `tolerance` times its diagonal, rounded up.
  package static func distance(width: Int, height: Int, tolerance: Double = defaultTolerance) -> Int
  {
    let diagonal = Double(width * width + height * height).squareRoot()
    return Int((tolerance * diagonal).rounded(.up))
  }

  /// The score of each class in one image. Pixels whose true label is ignored belong to no outline
  /// and make none of their neighbours one.
  ///
  /// - Parameter distance: in pixels.
  package static func scores(
    prediction: [UInt8], truth: [UInt8], width: Int, height: Int, classCount: Int, distance: Int
  ) -> [BoundaryScore] {
    precondition(
      prediction.count == width * height && truth.count == prediction.count,
      "labels do not fill the image")
    precondition(distance >= 0, "a distance is not negative")
    return (0..<classCount).map { index in
      let given = Outline(
        prediction, truth: truth, of: UInt8(index), width: width, height: height)
      let real = Outline(truth, truth: truth, of: UInt8(index), width: width, height: height)
      var score = BoundaryScore()
      score.predicted = UInt64(given.count)
      score.real = UInt64(real.count)
      guard given.count > 0, real.count > 0 else { return score }
      score.predictedNear = UInt64(given.countNear(real, distance: distance))
      score.realNear = UInt64(real.countNear(given, distance: distance))
      return score
    }
  }
}

/// The outline of one class in one image.
private struct Outline {
  let width, height: Int
  let pixels: [Int]
  var count: Int { pixels.count }

  init(_ labels: [UInt8], truth: [UInt8], of index: UInt8, width: Int, height: Int) {
    self.width = width
    self.height = height
    let ignored = SegmentationLoss.ignored
    var pixels: [Int] = []
    labels.withUnsafeBufferPointer { labels in
      truth.withUnsafeBufferPointer { truth in
        func differs(_ pixel: Int) -> Bool { labels[pixel] != index && truth[pixel] != ignored }
        for y in 0..<height {
          for x in 0..<width {
            let pixel = y * width + x
            guard labels[pixel] == index, truth[pixel] != ignored else { continue }
            if x > 0 && differs(pixel - 1) || x + 1 < width && differs(pixel + 1)
              || y > 0 && differs(pixel - width) || y + 1 < height && differs(pixel + width)
            {
              pixels.append(pixel)
            }
          }
        }
      }
    }
    self.pixels = pixels
  }

  /// How many pixels have one of `other` within `distance`.
  func countNear(_ other: Outline, distance: Int) -> Int {
    let distance = min(distance, width + height)
    let far = Int32(clamping: distance + 1)
    // Up and down to the next pixel of the other outline; at most `far`.
    var vertical = [Int32](repeating: far, count: width * height)
    return vertical.withUnsafeMutableBufferPointer { vertical in
      for pixel in other.pixels { vertical[pixel] = 0 }
      for i in stride(from: width, to: vertical.count, by: 1) {
        vertical[i] = min(vertical[i], vertical[i - width] + 1)
      }
      for i in stride(from: vertical.count - width - 1, through: 0, by: -1) {
        vertical[i] = min(vertical[i], vertical[i + width] + 1)
      }
      var near = 0
      for pixel in pixels {
        let (x, row) = (pixel % width, pixel - pixel % width)
        for column in max(0, x - distance)...min(width - 1, x + distance) {
          let down = Int(vertical[row + column])
          let across = column - x
          if down * down + across * across <= distance * distance {
            near += 1
            break
          }
        }
      }
      return near
    }
  }
}
