import Compute
import Foundation

/// Brings outlines between two classes to where the brightness has them in labelled images.
///
/// Objects brighter or darker than what surrounds them, as stained nuclei are, have blurred edges, and
/// whoever labels them draws outlines at about the same share of the way from the surroundings'
/// brightness to the object's own. A network that has learned from few images keeps to that share in
/// these and drifts from it where the brightness is another. With m0 and m1 the mean brightness of the
/// pixels of either class in a window around a pixel of brightness x, as the network sees the classes,
/// the pixel lies at
///
///     s = (x - m0) / (m1 - m0), not below -1/2 nor above 3/2,
///
/// of the way, and `weight * (s - share)` is added to the log odds of the second class. Where a window
/// has hardly a pixel of one class, the probabilities stay as they are.
///
/// Means in windows are those of Li, Kao, Gore and Ding 2008, "Minimization of region-scalable fitting
/// energy for image segmentation", IEEE Transactions on Image Processing 17; there the share is 1/2.
package struct BrightnessOutlines: Codable, Hashable, Sendable {
  /// Of the way from the first class's brightness to the second's; where outlines are.
  package var share: Float
  /// How much the brightness says, beside the network.
  package var weight: Float
  /// Windows are `2 * reach + 1` pixels wide and high, less what lies outside of the image.
  package var reach: Int

  /// About as wide as two nuclei.
  package static let standardReach = 24
  package static let weights: ClosedRange<Float> = 0...100

  /// The least pixels of a class whose mean counts.
  private static let leastPixels: Float = 4
  private static let bounds: ClosedRange<Float> = -0.5...1.5
  /// The shares that are tried, in hundredths.
  private static let shares = 5...95

  package init(share: Float, weight: Float, reach: Int = standardReach) {
    (self.share, self.weight, self.reach) = (share, weight, reach)
  }

  /// What is wrong with it, in one line.
  package var problem: String? {
    if !(share >= 0 && share <= 1) { return "outlines at a share of \(share) of the brightness" }
    if !Self.weights.contains(weight) { return "outlines with a weight of \(weight)" }
    return (1...256).contains(reach) ? nil : "outlines by windows of \(reach) pixels"
  }

  // MARK: Learning the share

  /// With the share at which labels of two classes agree best with the brightness: that of the best
  /// mean IoU when outlines are drawn by it alone. In use the classes' pixels are those of a
  /// prediction; so the share is fitted twice, at last to means over the regions that it draws. From
  /// image to image it differs by some hundredths, so that a few tell little of others; as if one more
  /// image had it, it comes towards the 1/2 of an edge that is blurred alike to both sides.
  ///
  /// - Parameters:
  ///   - images: with labels, 0, 1 and `SegmentationLoss.ignored`.
  /// - Returns: nil where no window has both classes.
  package init?(
    fittedTo images: [LabelledImage], weight: Float, reach: Int = standardReach
  ) {
    self.init(share: 0.5, weight: weight, reach: reach)
    for isDrawn in [false, true] {
      // By class, how many pixels lie at a share up to 0, 1, 2, ... hundredths, but at none before.
      var counts = [[Int]](repeating: [Int](repeating: 0, count: 101), count: 2)
      for image in images {
        guard var regions = image.labels else { continue }
        let labels = regions
        if isDrawn {
          for (pixel, place) in shares(of: image, regions: regions).enumerated() where !place.isNaN
          {
            regions[pixel] = place > share ? 1 : 0
          }
        }
        for (label, place) in zip(labels, shares(of: image, regions: regions))
        where label != SegmentationLoss.ignored && !place.isNaN {
          counts[Int(label)][Int(min(max(place * 100, 0), 100).rounded(.up))] += 1
        }
      }
      guard let best = Self.bestShare(counts) else { return nil }
      share = best
    }
    share = (Float(images.count) * share + 0.5) / Float(images.count + 1)
  }

  private func shares(of image: LabelledImage, regions: [UInt8]) -> [Float] {
    shares(
      brightness: Self.brightness(image.image.samples, channels: image.image.channels),
      regions: regions, width: image.image.width, height: image.image.height)
  }

  /// Of equals the first; nil where a class has no pixel.
  private static func bestShare(_ counts: [[Int]]) -> Float? {
    let totals = counts.map { $0.reduce(0, +) }
    guard totals.allSatisfy({ $0 > 0 }) else { return nil }
    var (best, bestSum): (Float?, Double) = (nil, -1)
    var below = counts.map { $0[..<shares.lowerBound].reduce(0, +) }
    for share in shares {
      for label in 0..<2 { below[label] += counts[label][share] }
      let above = [totals[0] - below[0], totals[1] - below[1]]
      let sum =
        Double(below[0]) / Double(totals[0] + below[1])
        + Double(above[1]) / Double(totals[1] + above[0])
      if sum > bestSum { (best, bestSum) = (Float(share) / 100, sum) }
    }
    return best
  }

  // MARK: Use

  /// Changes the probabilities of a part of an image.
  ///
  /// What is said of a pixel depends on the part only where its window reaches beyond it.
  ///
  /// - Parameters:
  ///   - probabilities: `[height, width, 2]` of the part.
  ///   - samples: `[height, width, channels]` of the part.
  ///   - inside: how many of the part's columns and rows, from the first on, are of the image; the
  ///     rest pads it.
  package func apply(
    to probabilities: inout [Float], samples: [Float], channels: Int, width: Int, height: Int,
    inside: (width: Int, height: Int)
  ) {
    precondition(probabilities.count == 2 * width * height, "two probabilities for each pixel")
    let labels = Prediction.labels(of: probabilities, classes: 2)
    var brightness = Self.brightness(samples, channels: channels)
    var regions = labels
    if inside != (width, height) {
      brightness = Self.cut(brightness, width: width, to: inside)
      regions = Self.cut(regions, width: width, to: inside)
    }
    let places = shares(
      brightness: brightness, regions: regions, width: inside.width, height: inside.height)
    for y in 0..<inside.height {
      for x in 0..<inside.width {
        let place = places[y * inside.width + x]
        guard !place.isNaN else { continue }
        // The odds' change, half of it on either side, so that neither overflows.
        let factor = exp(weight / 2 * (place - share))
        let pixel = 2 * (y * width + x)
        let first = probabilities[pixel] / factor
        let second = probabilities[pixel + 1] * factor
        probabilities[pixel] = first / (first + second)
        probabilities[pixel + 1] = second / (first + second)
      }
    }
  }

  /// The mean of the channels.
  private static func brightness(_ samples: [Float], channels: Int) -> [Float] {
    guard channels > 1 else { return samples }
    return stride(from: 0, to: samples.count, by: channels).map { start in
      samples[start..<start + channels].reduce(0, +) / Float(channels)
    }
  }

  private static func cut<Value>(
    _ values: [Value], width: Int, to inside: (width: Int, height: Int)
  ) -> [Value] {
    (0..<inside.height).flatMap { values[$0 * width..<$0 * width + inside.width] }
  }

  /// The least way from one mean to the other, as a share of their size or of the images' range: what
  /// rounding alone makes of equal ones is far below, and a step of 16-bit images mostly as well.
  private static let leastWay: Float = 1e-4

  /// s of each pixel; NaN where a window has hardly a pixel of one class, or the means are equal.
  ///
  /// - Parameter regions: 0 and 1; what is neither is in no mean.
  private func shares(
    brightness: [Float], regions: [UInt8], width: Int, height: Int
  ) -> [Float] {
    let means = (0..<2).map { label in
      let isMember = regions.map { $0 == UInt8(label) ? Float(1) : 0 }
      let counts = windowSums(isMember, width: width, height: height)
      let sums = windowSums(
        zip(isMember, brightness).map { $0 * $1 }, width: width, height: height)
      return zip(sums, counts).map { $1 >= Self.leastPixels ? $0 / $1 : .nan }
    }
    return brightness.indices.map { i in
      let way = means[1][i] - means[0][i]
      let size = max(1, abs(means[0][i]), abs(means[1][i]))
      guard abs(way) >= Self.leastWay * size else { return .nan }
      let place = (brightness[i] - means[0][i]) / way
      return min(max(place, Self.bounds.lowerBound), Self.bounds.upperBound)
    }
  }

  /// The sum over each pixel's window. Windows are put together of sums of 1, 2, 4, ... pixels in an
  /// order that is the same for all, so that the bits do not depend on where an image is cut.
  private func windowSums(_ values: [Float], width: Int, height: Int) -> [Float] {
    let paddedWidth = width + 2 * reach
    var plane = [Float](repeating: 0, count: paddedWidth * (height + 2 * reach))
    for y in 0..<height {
      let start = (y + reach) * paddedWidth + reach
      plane.replaceSubrange(start..<start + width, with: values[y * width..<(y + 1) * width])
    }
    plane = runs(of: plane, step: 1)
    plane = runs(of: plane, step: paddedWidth)
    return (0..<height).flatMap { plane[$0 * paddedWidth..<$0 * paddedWidth + width] }
  }

  /// For each element the sum of itself and of the `2 * reach` after it that lie `step` apart; what
  /// would lie behind the last is nothing.
  private func runs(of values: [Float], step: Int) -> [Float] {
    var (blocks, size, offset) = (values, 1, 0)
    var result = [Float](repeating: 0, count: values.count)
    let length = 2 * reach + 1
    while true {
      if length & size != 0 {
        let ahead = offset * step
        for i in 0..<max(0, result.count - ahead) { result[i] += blocks[i + ahead] }
        offset += size
      }
      guard 2 * size <= length else { return result }
      let ahead = size * step
      for i in 0..<max(0, blocks.count - ahead) { blocks[i] += blocks[i + ahead] }
      size *= 2
    }
  }
}
