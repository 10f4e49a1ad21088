import Segmentation
import Testing

@Suite struct ResamplingTests {
  @Test func theSameResolutionIsTheSameImage() {
    let values = (0..<24).map { Float($0 * $0) }
    #expect(
      Resampling.resize(values, height: 3, width: 4, channels: 2, toHeight: 3, toWidth: 4)
        == values)
  }

  /// Against figures worked out by hand: of four samples two, weights (1, 3, 3, 1) / 8 within and
  /// what is left of them at the ends.
  @Test func halvingWeighsByTheTriangle() {
    let half = Resampling(from: 4, to: 2).apply([8, 0, 0, 0], outer: 1, inner: 1)
    // Centres at 0.5 and 2.5 with a reach of 2: 0.75, 0.75, 0.25, and 0.25, 0.75, 0.75.
    #expect(abs(half[0] - 8 * 0.75 / 1.75) < 1e-6)
    #expect(half[1] == 0)
    let next = Resampling(from: 4, to: 2).apply([0, 8, 0, 0], outer: 1, inner: 1)
    #expect(abs(next[0] - 8 * 0.75 / 1.75) < 1e-6)
    #expect(abs(next[1] - 8 * 0.25 / 1.75) < 1e-6)
  }

  /// A row twice as long has each sample's neighbours in the ratio 3 to 1.
  @Test func doublingInterpolates() {
    let twice = Resampling(from: 3, to: 6).apply([0, 4, 8], outer: 1, inner: 1)
    #expect(twice == [0, 1, 3, 5, 7, 8])
  }

  /// What is linear stays so away from the ends, and what is constant everywhere.
  @Test(arguments: [(17, 9), (17, 14), (9, 17), (512, 410), (1, 5), (5, 1)])
  func keepsWhatIsConstantAndWhatIsLinear(from: Int, to: Int) {
    let resampling = Resampling(from: from, to: to)
    let constant = resampling.apply([Float](repeating: 3, count: from), outer: 1, inner: 1)
    #expect(constant.count == to)
    #expect(constant.allSatisfy { abs($0 - 3) < 1e-5 })
    let linear = resampling.apply((0..<from).map { Float($0) }, outer: 1, inner: 1)
    let ratio = Double(from) / Double(to)
    for i in 0..<to {
      let centre = (Double(i) + 0.5) * ratio - 0.5
      guard centre >= ratio, centre <= Double(from) - 1 - ratio else { continue }
      // Weights on a grid are not quite symmetrical about a centre between its points.
      #expect(abs(Double(linear[i]) - centre) < 0.13 * ratio)
    }
  }

  @Test func channelsAndRowsStayApart() {
    // Channel 0 depends on the column alone, channel 1 on the row alone.
    let (height, width) = (6, 10)
    var values: [Float] = []
    for y in 0..<height { for x in 0..<width { values += [Float(x), Float(100 * y)] } }
    let small = Resampling.resize(
      values, height: height, width: width, channels: 2, toHeight: 3, toWidth: 5)
    #expect(small.count == 3 * 5 * 2)
    for y in 0..<3 {
      for x in 0..<5 {
        #expect(small[(y * 5 + x) * 2] == small[x * 2])
        #expect(small[(y * 5 + x) * 2 + 1] == small[y * 5 * 2 + 1])
      }
    }
    #expect(small[2] > small[0] && small[11] > small[1])
  }

  @Test func anImageHasAtLeastOnePixel() {
    let image = SampleImage(
      width: 2, height: 30, channels: 1, sampleType: .uint8,
      samples: [Float](repeating: 7, count: 60))
    let small = image.resized(by: 0.1)
    #expect(small.width == 1 && small.height == 3)
    #expect(small.samples.allSatisfy { abs($0 - 7) < 1e-5 })
  }
}
