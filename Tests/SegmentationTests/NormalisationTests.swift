import Foundation
import Imaging
import RandomNumbers
import Segmentation
import Testing

struct NormalisationTests {
  private func image(
    _ samples: [Float], channels: Int = 1, type: SampleType = .uint8
  ) -> SampleImage {
    SampleImage(
      width: samples.count / channels, height: 1, channels: channels, sampleType: type,
      samples: samples)
  }

  /// The definition, on sorted values.
  private func percentile(_ values: [Float], _ percent: Double) -> Float {
    let sorted = values.sorted()
    let place = percent / 100 * Double(sorted.count - 1)
    let below = Int(place)
    let above = min(below + 1, sorted.count - 1)
    return Float(
      Double(sorted[below]) + (place - Double(below)) * Double(sorted[above] - sorted[below]))
  }

  @Test(arguments: [SampleType.uint8, .uint16, .float32])
  func percentilesAreThoseOfTheSortedValues(_ type: SampleType) throws {
    var random = SplitMix64(seed: 5)
    let limit: UInt64 = type == .uint8 ? 256 : 65536
    let values = (0..<3001).map { _ in Float(random.nextIndex(below: limit)) }
    var counter = PercentileCounter(like: image([0], type: type))
    try counter.add(image(Array(values[..<1000]), type: type), path: "a")
    try counter.add(image(Array(values[1000...]), type: type), path: "b")
    for percent in [0, 1, 33.3, 50, 99.8, 100] {
      let got = counter.percentile(percent, channel: 0)
      #expect(abs(got - percentile(values, percent)) <= 1e-3, "\(percent) % of \(type)")
    }
  }

  @Test func eachChannelHasItsOwn() throws {
    let samples = (0..<1000).flatMap { (i: Int) -> [Float] in [Float(i % 101), 8, 9] }
    let rgb = image(samples, channels: 3)
    var counter = PercentileCounter(like: rgb)
    try counter.add(rgb, path: "a")
    let own = counter.normalisation(lowPercent: 0, highPercent: 100)
    #expect(own.low == [0, 8, 9])
    // A channel of one value is kept from a division by 0.
    #expect(own.high == [100, 9, 10])
    let common = counter.normalisation(lowPercent: 0, highPercent: 100, perChannel: false)
    #expect(common.low == [0, 0, 0] && common.high == [100, 100, 100])
    let result = own(rgb)
    #expect(result.samples[3 * 50] == 0.5)
    #expect(result.samples[1] == 0)
  }

  @Test func limitsWhatLiesFarOutside() {
    let normalisation = PercentileNormalisation(sampleType: .float32, low: [10], high: [20])
    let result = normalisation(image([10, 15, 20, 25, 1000, -1000, .nan], type: .float32))
    #expect(result.samples == [0, 0.5, 1, 1.5, 3, -1, -1])
  }

  @Test func refusesImagesOfAnotherKind() throws {
    let normalisation = PercentileNormalisation(sampleType: .uint16, low: [10], high: [20])
    try normalisation.check(image([1, 2], type: .uint16), path: "a")
    #expect(
      throws: FileError(
        path: "a",
        reason: "one of 8-bit images of 1 channel, but the model takes 16-bit images of 1 channel")
    ) { try normalisation.check(image([1, 2]), path: "a") }
    #expect(throws: FileError.self) {
      try normalisation.check(image([1, 2, 3], channels: 3, type: .uint16), path: "a")
    }
    var counter = PercentileCounter(like: image([1]))
    #expect(throws: FileError.self) { try counter.add(image([1], type: .uint16), path: "a") }
    let data = try JSONEncoder().encode(normalisation)
    #expect(try JSONDecoder().decode(PercentileNormalisation.self, from: data) == normalisation)
    let damaged = String(decoding: data, as: UTF8.self)
      .replacingOccurrences(of: "[10]", with: "[30]")
    #expect(throws: (any Error).self) {
      try JSONDecoder().decode(PercentileNormalisation.self, from: Data(damaged.utf8))
    }
  }

  /// Small things on nothing at all: the percentiles are one value, and what is to be seen is not.
  @Test func littleOnNothingIsSeen() throws {
    for type in [SampleType.uint8, .float32] {
      var samples = [Float](repeating: 7, count: 4000)
      (samples[11], samples[500]) = (40, 230)
      var counter = PercentileCounter(like: image([0], type: type))
      try counter.add(image(samples, type: type), path: "a")
      let normalisation = counter.normalisation()
      #expect(normalisation.low == [7] && normalisation.high == [230])
    }
    // Of floats some are kept to tell percentiles, but the extremes are those of all.
    var many = PercentileCounter(like: image([0], type: .float32))
    for place in 0..<3 {
      var samples = [Float](repeating: 0, count: 1 << 20)
      samples[1000 + place] = Float(50 + place)
      try many.add(image(samples, type: .float32), path: "a")
    }
    #expect(many.normalisation().low == [0] && many.normalisation().high == [52])
    var counter = PercentileCounter(like: image([0]))
    try counter.add(image([9, 9, 9]), path: "a")
    #expect(counter.normalisation().low == [9] && counter.normalisation().high == [10])
  }

  /// The largest floats fill what was not measured.
  @Test func fillingValuesDoNotCount() throws {
    let largest = Float.greatestFiniteMagnitude
    let samples = (0..<1000).map { Float($0) } + [largest, -largest, .infinity, .nan]
    var counter = PercentileCounter(like: image([0], type: .float32))
    try counter.add(image(samples, type: .float32), path: "a")
    let normalisation = counter.normalisation()
    #expect(abs(normalisation.low[0] - 9.99) < 0.01 && abs(normalisation.high[0] - 997) < 0.01)
    let changed = normalisation(image([largest, -largest, .nan], type: .float32)).samples
    #expect(changed == [3, -1, -1])
    var none = PercentileCounter(like: image([0], type: .float32))
    try none.add(image([largest, .nan], type: .float32), path: "a")
    #expect(throws: FileError.self) { try none.normalisation(of: "a") }
  }

  @Test func manyFloatsAreSampledWithoutPreference() throws {
    let count = 3 << 20
    // Rising values: a sampler that prefers early or late ones would be far off.
    let values = [Float](unsafeUninitializedCapacity: count) { buffer, initialized in
      for i in 0..<count { buffer[i] = Float(i) / Float(count) }
      initialized = count
    }
    var counter = PercentileCounter(like: image([0], type: .float32))
    try counter.add(image(values, type: .float32), path: "a")
    for percent in [1, 50, 99.8] {
      #expect(abs(Double(counter.percentile(percent, channel: 0)) - percent / 100) < 0.002)
    }
  }
}
