import Compute
import RandomNumbers

/// Classes that stand out less from each other than in the image a crop is cut from, as they do in
/// other images, for example where a stain is weaker.
///
/// With m the mean of a pixel's class over the crop and M the mean of the crop, both per channel:
/// x -> x - a (m - M), where m - M is blurred, so that no edge is drawn along the labels, and a
/// changes in a straight line from the crop's left edge to its right one. Texture, noise and the
/// light's course within a class stay.
struct ClassFading {
  /// Of the blur, in pixels.
  static let deviation: Float = 1.5

  /// a at the left edge and at the right one.
  let left, right: Float

  /// Draws the options' change; nil where this crop has none. Where they leave it out, nothing is
  /// drawn.
  init?(options: Augmentation, random: inout SplitMix64) {
    guard let fading = options.classFading, random.nextUniform() < fading.share else { return nil }
    left = random.nextUniform(0, fading.limit)
    right = random.nextUniform(0, fading.limit)
  }

  /// Changes a square crop of `size * size * channels` samples. One of which less than half is
  /// labelled stays as it is: its change would show where it is labelled.
  func apply(
    to samples: UnsafeMutableBufferPointer<Float>, labels: UnsafeMutableBufferPointer<UInt8>,
    size: Int, channels: Int
  ) {
    let ignored = Int(SegmentationLoss.ignored)
    var counts = [Int](repeating: 0, count: 256)
    // In Double, since a crop has more pixels than a Float counts well.
    var sums = [Double](repeating: 0, count: 256 * channels)
    for (pixel, label) in labels.enumerated() {
      counts[Int(label)] += 1
      for c in 0..<channels {
        sums[Int(label) * channels + c] += Double(samples[pixel * channels + c])
      }
    }
    let labelled = labels.count - counts[ignored]
    guard 2 * labelled >= labels.count else { return }
    var differences = [Float](repeating: 0, count: 256 * channels)
    for c in 0..<channels {
      let whole = (0..<ignored).reduce(0) { $0 + sums[$1 * channels + c] } / Double(labelled)
      for k in 0..<ignored where counts[k] > 0 {
        differences[k * channels + c] = Float(sums[k * channels + c] / Double(counts[k]) - whole)
      }
    }
    withUnsafeTemporaryAllocation(of: Float.self, capacity: samples.count) { map in
      for (pixel, label) in labels.enumerated() {
        for c in 0..<channels {
          map[pixel * channels + c] = differences[Int(label) * channels + c]
        }
      }
      gaussianBlur(map, width: size, height: size, channels: channels, deviation: Self.deviation)
      for pixel in labels.indices {
        let share = left + (right - left) * Float(pixel % size) / Float(size)
        for c in 0..<channels {
          samples[pixel * channels + c] -= share * map[pixel * channels + c]
        }
      }
    }
  }
}
