import Foundation

extension ImageReader {
  /// Percentiles of the page's samples, exact and in bounded memory: 0 gives the smallest value,
  /// 100 the largest, and between two values it is interpolated, as NumPy's `percentile` does. With
  /// n values in order v[0] to v[n-1] and r = (n - 1) p / 100, the result is
  /// `v[floor r] + (r - floor r) (v[ceil r] - v[floor r])`.
  ///
  /// Integers are read once, floating-point values twice: first their upper 16 bits are counted,
  /// then the lower ones of those that a percentile lies among.
  ///
  /// - Parameters:
  ///   - percentages: From 0 to 100, in any order.
  ///   - channel: The channel to look at; all together where nil.
  /// - Throws: `FileError` where the file is damaged or holds a NaN.
  package func percentiles(_ percentages: [Double], channel: Int? = nil) throws -> [Double] {
    precondition(percentages.allSatisfy { (0...100).contains($0) }, "percentages from 0 to 100")
    precondition(channel.map { (0..<channels).contains($0) } ?? true, "no such channel")
    let count = width * height * (channel == nil ? channels : 1)
    let ranks = percentages.map { $0 / 100 * Double(count - 1) }
    let indices = Set(ranks.flatMap { [Int($0), min(Int($0.rounded(.up)), count - 1)] }).sorted()
    let values: [Int: Double]
    if sampleType == .float32 {
      values = try floats(at: indices, channel: channel)
    } else {
      var histogram = [Int](repeating: 0, count: 1 << 16)
      try forEachBand(as: UInt16.self, channel: channel) { samples, step in
        for i in stride(from: 0, to: samples.count, by: step) { histogram[Int(samples[i])] += 1 }
      }
      values = Self.places(indices, in: histogram).mapValues { Double($0.bin) }
    }
    return ranks.map { rank in
      let lower = Int(rank)
      let share = rank - Double(lower)
      guard let low = values[lower], let high = values[min(lower + 1, count - 1)], share > 0 else {
        return values[lower] ?? .nan
      }
      return low + share * (high - low)
    }
  }

  /// The bins where the values of these ranks lie, and their ranks within the bins.
  private static func places(
    _ indices: [Int], in histogram: [Int]
  ) -> [Int: (bin: Int, rank: Int)] {
    var places: [Int: (bin: Int, rank: Int)] = [:]
    var (bin, before) = (0, 0)
    for index in indices {
      while before + histogram[bin] <= index {
        before += histogram[bin]
        bin += 1
      }
      places[index] = (bin, index - before)
    }
    return places
  }

  private func floats(at indices: [Int], channel: Int?) throws -> [Int: Double] {
    var upper = [Int](repeating: 0, count: 1 << 16)
    var hasNaN = false
    try forEachBand(as: Float.self, channel: channel) { samples, step in
      for i in stride(from: 0, to: samples.count, by: step) {
        hasNaN = hasNaN || samples[i].isNaN
        upper[Int(samples[i].order >> 16)] += 1
      }
    }
    guard !hasNaN else { throw FileError(path: path, reason: "a sample is not a number (NaN)") }
    let places = Self.places(indices, in: upper)
    // A histogram of the lower bits for each of the few bins that matter.
    let bins = Set(places.values.map(\.bin)).sorted()
    var slots = [Int](repeating: -1, count: 1 << 16)
    for (slot, bin) in bins.enumerated() { slots[bin] = slot << 16 }
    var lower = [Int](repeating: 0, count: bins.count << 16)
    try forEachBand(as: Float.self, channel: channel) { samples, step in
      for i in stride(from: 0, to: samples.count, by: step) {
        let slot = slots[Int(samples[i].order >> 16)]
        if slot >= 0 { lower[slot + Int(samples[i].order & 0xFFFF)] += 1 }
      }
    }
    return places.mapValues { place in
      var (low, before) = (0, 0)
      while before + lower[slots[place.bin] + low] <= place.rank {
        before += lower[slots[place.bin] + low]
        low += 1
      }
      return Double(Float(order: UInt32(place.bin) << 16 | UInt32(low)))
    }
  }

  /// Calls `body` with the samples of bands of rows from the top, starting at the channel's first,
  /// and with the distance between the samples to look at.
  private func forEachBand<Sample: ImageSample & ExpressibleByIntegerLiteral>(
    as type: Sample.Type, channel: Int?, _ body: (UnsafeBufferPointer<Sample>, Int) -> Void
  ) throws {
    let samplesPerRow = width * channels
    let rowsPerBand = min(height, max(1, (1 << 20) / samplesPerRow))
    var band = [Sample](repeating: 0, count: rowsPerBand * samplesPerRow)
    try band.withUnsafeMutableBufferPointer { band in
      for start in stride(from: 0, to: height, by: rowsPerBand) {
        let rows = start..<min(height, start + rowsPerBand)
        let part = UnsafeMutableBufferPointer(rebasing: band[..<(rows.count * samplesPerRow)])
        try read(rows, into: part)
        body(
          UnsafeBufferPointer(rebasing: part[(channel ?? 0)...]), channel == nil ? 1 : channels)
      }
    }
  }
}

extension Float {
  /// A number that is in order as the floats are: -0 just below 0, infinities at the ends.
  fileprivate var order: UInt32 {
    bitPattern >> 31 == 1 ? ~bitPattern : bitPattern | 1 << 31
  }

  fileprivate init(order: UInt32) {
    self.init(bitPattern: order >> 31 == 1 ? order & ~(1 << 31) : ~order)
  }
}
