import Imaging

/// What brings images of one kind to about [0, 1]: x -> (x - low) / (high - low), limited to
/// [-1, 3], with low and high two percentiles of the training images. It is stored with a model.
package struct PercentileNormalisation: Codable, Hashable, Sendable {
  /// The result's limits: what lies far outside of the percentiles, such as a hot pixel, tells a
  /// network nothing more.
  package static let limits: ClosedRange<Float> = -1...3

  /// Channels of the images.
  package let channels: Int
  package let sampleType: SampleType
  /// One for each channel.
  package let low, high: [Float]

  package init(sampleType: SampleType, low: [Float], high: [Float]) {
    precondition(!low.isEmpty && low.count == high.count, "a pair for each channel")
    precondition(zip(low, high).allSatisfy { $0 < $1 }, "low is below high")
    channels = low.count
    self.sampleType = sampleType
    self.low = low
    self.high = high
  }

  package init(from decoder: any Decoder) throws {
    let values = try decoder.container(keyedBy: CodingKeys.self)
    channels = try values.decode(Int.self, forKey: .channels)
    sampleType = try values.decode(SampleType.self, forKey: .sampleType)
    low = try values.decode([Float].self, forKey: .low)
    high = try values.decode([Float].self, forKey: .high)
    guard channels > 0, low.count == channels, high.count == channels,
      zip(low, high).allSatisfy({ $0 < $1 && $0.isFinite && $1.isFinite })
    else {
      throw DecodingError.dataCorruptedError(
        forKey: .low, in: values, debugDescription: "\(low) and \(high) are no percentiles")
    }
  }

  /// Refuses an image of another kind than those the percentiles come from.
  ///
  /// - Throws: `FileError` naming both kinds.
  package func check(_ image: SampleImage, path: String) throws {
    try check(channels: image.channels, sampleType: image.sampleType, path: path)
  }

  /// Changes samples in place, channels interleaved. NaN becomes the lower limit.
  package func apply(to samples: UnsafeMutableBufferPointer<Float>) {
    precondition(samples.count % channels == 0, "samples do not fill pixels")
    let scales = zip(low, high).map { 1 / ($1 - $0) }
    let (lowest, highest) = (Self.limits.lowerBound, Self.limits.upperBound)
    for c in 0..<channels {
      let (low, scale) = (low[c], scales[c])
      for i in stride(from: c, to: samples.count, by: channels) {
        let value = (samples[i] - low) * scale
        samples[i] = value > lowest ? (value < highest ? value : highest) : lowest
      }
    }
  }

  /// The image with its samples changed.
  package func callAsFunction(_ image: SampleImage) -> SampleImage {
    precondition(image.channels == channels, "\(image.channels) channels, not \(channels)")
    var image = image
    image.samples.withUnsafeMutableBufferPointer { apply(to: $0) }
    return image
  }
}

/// Counts the samples of images, to tell their percentiles: exactly where samples are integers, and
/// from at most 2^20 of them, drawn without preference, where they are floats.
package struct PercentileCounter: Sendable {
  private static let reservoirSize = 1 << 20
  /// Floats of this magnitude stand for no measurement: the largest there are fill what a map does
  /// not cover.
  private static let fill: Float = 1e38

  private let sampleType: SampleType
  private let channels: Int
  /// Of each channel, for integers: how often each value comes.
  private var counts: [[UInt64]]
  /// Of each channel, for floats: some values, and how many they were drawn from.
  private var reservoirs: [Reservoir]
  /// Of each channel, for floats: the least and the largest.
  private var extremes: [(least: Float, largest: Float)]

  /// For images like `image`, which is not counted by this.
  package init(like image: SampleImage) {
    sampleType = image.sampleType
    channels = image.channels
    let bins =
      switch image.sampleType {
      case .uint8: 256
      case .uint16: 65536
      case .float32: 0
      }
    counts = Array(repeating: Array(repeating: 0, count: bins), count: image.channels)
    reservoirs = (0..<image.channels).map { Reservoir(size: Self.reservoirSize, stream: $0) }
    extremes = Array(repeating: (.infinity, -.infinity), count: image.channels)
  }

  /// Counts one more image.
  ///
  /// - Throws: `FileError` for an image of another kind than the first.
  package mutating func add(_ image: SampleImage, path: String) throws {
    guard image.channels == channels, image.sampleType == sampleType else {
      throw FileError(
        path: path,
        reason: "\(image.shapeDescription), but the images before are \(sampleType.words) with "
          + "\(channels) channel\(channels == 1 ? "" : "s")")
    }
    image.samples.withUnsafeBufferPointer { samples in
      for c in 0..<channels {
        if sampleType == .float32 {
          for i in stride(from: c, to: samples.count, by: channels)
          where abs(samples[i]) < Self.fill {
            reservoirs[c].add(samples[i])
            extremes[c].least = min(extremes[c].least, samples[i])
            extremes[c].largest = max(extremes[c].largest, samples[i])
          }
        } else {
          counts[c].withUnsafeMutableBufferPointer { counts in
            let last = Float(counts.count - 1)
            for i in stride(from: c, to: samples.count, by: channels) {
              counts[Int(min(max(samples[i], 0), last))] += 1
            }
          }
        }
      }
    }
  }

  /// The value below which `percent` of the n samples lie: of the sorted ones the one at the place
  /// p = percent / 100 (n - 1), between two by linear interpolation. 0 where nothing was counted.
  ///
  /// - Parameter channel: nil for all channels together.
  package func percentile(_ percent: Double, channel: Int?) -> Float {
    precondition((0...100).contains(percent), "\(percent) is no percentage")
    let used = channel.map { $0..<$0 + 1 } ?? (0..<channels)
    if sampleType == .float32 {
      let sorted = used.flatMap { reservoirs[$0].values }.sorted()
      guard !sorted.isEmpty else { return 0 }
      let place = percent / 100 * Double(sorted.count - 1)
      let below = Int(place)
      let above = min(below + 1, sorted.count - 1)
      let share = place - Double(below)
      return Float(Double(sorted[below]) * (1 - share) + Double(sorted[above]) * share)
    }
    var sums = [UInt64](repeating: 0, count: counts[0].count)
    for c in used {
      for (value, count) in counts[c].enumerated() { sums[value] += count }
    }
    let total = sums.reduce(0, +)
    guard total > 0 else { return 0 }
    let place = percent / 100 * Double(total - 1)
    let below = UInt64(place)
    let above = min(below + 1, total - 1)
    let share = place - Double(below)
    return Float(
      Double(Self.value(at: below, of: sums)) * (1 - share)
        + Double(Self.value(at: above, of: sums)) * share)
  }

  /// The least and the largest value, those of floats from all and not from some; 0 where nothing was
  /// counted.
  private func range(channel: Int?) -> (Float, Float) {
    guard sampleType == .float32 else {
      return (percentile(0, channel: channel), percentile(100, channel: channel))
    }
    let used = channel.map { extremes[$0..<$0 + 1] } ?? extremes[...]
    let least = used.map(\.least).min() ?? 0
    let largest = used.map(\.largest).max() ?? 0
    return least <= largest ? (least, largest) : (0, 0)
  }

  /// What maps the two percentiles to 0 and 1.
  ///
  /// - Parameter perChannel: whether each channel has its own; else all have those of all samples.
  package func normalisation(
    lowPercent: Double = 1, highPercent: Double = 99.8, perChannel: Bool = true
  ) -> PercentileNormalisation {
    var low: [Float] = []
    var high: [Float] = []
    for c in 0..<channels {
      if !perChannel && c > 0 {
        low.append(low[0])
        high.append(high[0])
        continue
      }
      let channel = perChannel ? c : nil
      var first = percentile(lowPercent, channel: channel)
      var last = percentile(highPercent, channel: channel)
      if last <= first {
        // As where small things lie on nothing: they are what is to be seen.
        (first, last) = range(channel: channel)
      }
      low.append(first)
      // Where all images are of one value, nothing is to be seen at any scale.
      high.append(last > first ? last : max(first + 1, first.nextUp))
    }
    return PercentileNormalisation(sampleType: sampleType, low: low, high: high)
  }

  /// As `normalisation()`.
  ///
  /// - Throws: `FileError` for `path` where a channel has no sample in any image that is a number.
  package func normalisation(of path: String) throws -> PercentileNormalisation {
    for c in 0..<channels where sampleType == .float32 && reservoirs[c].values.isEmpty {
      throw FileError(
        path: path, reason: "no sample of channel \(c + 1) is a finite number of reasonable size")
    }
    return normalisation()
  }

  private static func value(at place: UInt64, of counts: [UInt64]) -> Int {
    var passed: UInt64 = 0
    for (value, count) in counts.enumerated() {
      passed += count
      if passed > place { return value }
    }
    return counts.count - 1
  }
}
