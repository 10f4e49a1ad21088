import Datasets
import Testing

struct GlyphsTests {
  @Test func theSeedDecidesEveryByteOnEveryPlatform() {
    let data = Glyphs.dataset(trainCount: 500, testCount: 100, seed: 1)
    #expect(fingerprint(data.train.pixels) == 10_250_791_552_985_437_341)
    #expect(fingerprint(data.train.labels ?? []) == 1_525_663_894_005_309_173)
    #expect(fingerprint(data.test.pixels) == 12_635_728_333_468_445_021)
    let other = Glyphs.dataset(trainCount: 500, testCount: 100, seed: 2)
    #expect(other.train.pixels != data.train.pixels)
  }

  @Test func aLargerSetStartsWithTheSmaller() {
    let small = Glyphs.dataset(trainCount: 100, testCount: 10)
    let large = Glyphs.dataset(trainCount: 3000, testCount: 20)
    #expect(large.train.pixels.starts(with: small.train.pixels))
    #expect(large.test.pixels.starts(with: small.test.pixels))
    #expect(!large.train.pixels.starts(with: small.test.pixels))
  }

  @Test func imagesAreGlyphsAndNotNoiseOrBlank() {
    let set = Glyphs.dataset(trainCount: 2000, testCount: 1).train
    #expect((set.width, set.height, set.channels) == (28, 28, 1))
    for index in 0..<set.count {
      let pixels = set.image(at: index).samples
      let ink = pixels.filter { $0 > 100 }.count
      #expect(ink > 15 && ink < 350, "glyph \(index) has \(ink) dark pixels")
      #expect(pixels.filter { $0 < 30 }.count > 300)
      // The pen keeps inside the frame: hardly any ink on the border.
      let border = (0..<28).flatMap { (i: Int) -> [Int] in [i, 27 * 28 + i, i * 28, i * 28 + 27] }
      #expect(border.filter { pixels[$0] > 100 }.count <= 12)
    }
  }

  @Test func everyClassComesUp() throws {
    let set = Glyphs.dataset(trainCount: 3600, testCount: 1).train
    let labels = try #require(set.labels)
    var counts = [Int](repeating: 0, count: Glyphs.classNames.count)
    for label in labels { counts[Int(label)] += 1 }
    #expect(counts.count == 36)
    #expect(counts.allSatisfy { $0 > 50 && $0 < 150 })
    #expect(Set(Glyphs.classNames).count == counts.count)
  }

  /// The labels mean something: the nearest class mean tells most glyphs.
  @Test func classesCanBeTold() throws {
    let data = Glyphs.dataset(trainCount: 4000, testCount: 400)
    let classes = Glyphs.classNames.count
    var means = [[Float]](repeating: [Float](repeating: 0, count: 784), count: classes)
    var counts = [Float](repeating: 0, count: classes)
    for (index, label) in try #require(data.train.labels).enumerated() {
      counts[Int(label)] += 1
      for (i, pixel) in data.train.image(at: index).samples.enumerated() {
        means[Int(label)][i] += Float(pixel)
      }
    }
    var right = 0
    for (index, label) in try #require(data.test.labels).enumerated() {
      let pixels = data.test.image(at: index).samples
      let distances = (0..<classes).map { c in
        zip(means[c], pixels).reduce(Float(0)) {
          let difference = $1.0 / counts[c] - Float($1.1)
          return $0 + difference * difference
        }
      }
      let nearest = distances.indices.min { distances[$0] < distances[$1] }
      if nearest == Int(label) { right += 1 }
    }
    #expect(right > 240, "\(right) of 400")
  }

  @Test func progressEndsAtTheTotal() {
    var reports: [(Int, Int)] = []
    _ = Glyphs.dataset(trainCount: 2100, testCount: 50) { reports.append(($0, $1)) }
    #expect(reports.map(\.0) == [2048, 2100, 2150])
    #expect(reports.allSatisfy { $0.1 == 2150 })
  }
}
