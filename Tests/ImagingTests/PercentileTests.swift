import Foundation
import Imaging
import TestSupport
import Testing

struct PercentileTests {
  /// The definition, over sorted values.
  static func expected(_ values: [Double], _ percentages: [Double]) -> [Double] {
    let sorted = values.sorted()
    return percentages.map { percentage in
      let rank = percentage / 100 * Double(sorted.count - 1)
      let (low, high) = (sorted[Int(rank)], sorted[Int(rank.rounded(.up))])
      return low == high ? low : low + (rank - rank.rounded(.down)) * (high - low)
    }
  }

  static let percentages = [99.8, 1, 0, 100, 50, 37.5, 1e-9]

  func check<Sample: ImageSample>(_ image: Raster<Sample>, _ values: [Double]) throws {
    let folder = try TemporaryFolder()
    try RowWriter.write(image, to: folder.file("a.tif"))
    let reader = try ImageReader(path: folder.file("a.tif"))
    #expect(
      try reader.percentiles(Self.percentages) == Self.expected(values, Self.percentages))
    for channel in 0..<image.channels {
      let own = stride(from: channel, to: values.count, by: image.channels).map { values[$0] }
      #expect(
        try reader.percentiles(Self.percentages, channel: channel)
          == Self.expected(own, Self.percentages))
    }
  }

  @Test(arguments: [1, 3])
  func everyTypeIsExact(channels: Int) throws {
    // The last has several bands.
    for (width, height) in [(1, 1), (2, 1), (37, 21), (1999, 701)] {
      let bytes = Fixtures.image(UInt8.self, channels: channels, width: width, height: height)
      try check(bytes, bytes.samples.map(Double.init))
      let words = Fixtures.image(UInt16.self, channels: channels, width: width, height: height)
      try check(words, words.samples.map(Double.init))
      let floats = Fixtures.image(Float.self, channels: channels, width: width, height: height)
      try check(floats, floats.samples.map(Double.init))
    }
  }

  @Test func floatsOfEverySizeAndSign() throws {
    let values: [Float] = [
      -1e30, 1e30, -0.0, 0, .leastNonzeroMagnitude, -.leastNonzeroMagnitude, 1, 1.0000001,
      1.0000002, -1, -1.0000001, 65536, 3.5,
      1.0000001, 0.1, 7,
    ]
    try check(
      Raster(width: 4, height: 4, channels: 1, samples: values), values.map(Double.init))
  }

  @Test func notANumberIsAnError() throws {
    let folder = try TemporaryFolder()
    let path = folder.file("a.tif")
    try RowWriter.write(
      Raster<Float>(width: 2, height: 1, channels: 1, samples: [1, .nan]), to: path)
    let reader = try ImageReader(path: path)
    #expect(
      failure { _ = try reader.percentiles([50]) } == "\(path): a sample is not a number (NaN)")
  }
}
