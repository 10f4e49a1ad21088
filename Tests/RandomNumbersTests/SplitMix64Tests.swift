import Foundation
import RandomNumbers
import Testing

struct SplitMix64Tests {
  @Test func drawsThePublishedSequence() {
    // From Vigna's splitmix64.c with x = 1234567.
    var random = SplitMix64(seed: 1_234_567)
    let drawn = (0..<5).map { _ in random.next() }
    #expect(
      drawn == [
        6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423,
        4_593_380_528_125_082_431, 16_408_922_859_458_223_821,
      ])
  }

  @Test func skipGoesWhereDrawingWould() {
    var a = SplitMix64(seed: 9)
    var b = a
    for _ in 0..<1000 { _ = a.next() }
    b.skip(1000)
    #expect(a == b)
  }

  @Test func streamsAndSeedsDiffer() {
    var states = Set<UInt64>()
    for seed in 0..<100 {
      for stream in 0..<100 {
        states.insert(SplitMix64(seed: UInt64(seed), stream: UInt64(stream)).state)
      }
    }
    #expect(states.count == 10_000)
  }

  @Test func survivesJSON() throws {
    var random = SplitMix64(seed: 3)
    _ = random.next()
    let data = try JSONEncoder().encode(random)
    #expect(try JSONDecoder().decode(SplitMix64.self, from: data) == random)
  }

  @Test func uniformsFillTheirRange() {
    var random = SplitMix64(seed: 5)
    let drawn = (0..<100_000).map { _ in random.nextUniform() }
    #expect(drawn.allSatisfy { $0 >= 0 && $0 < 1 })
    #expect(abs(drawn.reduce(0, +) / 100_000 - 0.5) < 0.005)
    var counts = [Int](repeating: 0, count: 6)
    for _ in 0..<60_000 { counts[Int(random.nextIndex(below: 6))] += 1 }
    #expect(counts.allSatisfy { abs($0 - 10_000) < 500 })
  }

  @Test func normalsHaveTheirMoments() {
    var random = SplitMix64(seed: 7)
    let count = 200_000.0
    let drawn = (0..<200_000).map { _ in random.nextNormal() }
    let mean = drawn.reduce(0, +) / count
    #expect(abs(mean) < 0.01)
    #expect(abs(drawn.map { $0 * $0 }.reduce(0, +) / count - 1) < 0.02)
    #expect(abs(drawn.map { $0 * $0 * $0 * $0 }.reduce(0, +) / count - 3) < 0.15)
    #expect(abs(Double(drawn.filter { abs($0) < 1 }.count) / count - 0.6827) < 0.005)
  }

  @Test func logarithmIsTheSystems() {
    for x in [1e-300, 0.001, 0.5, 0.7071, 0.99999, 1, 1.4142135623730951, 2, 3, 1e300] {
      let (own, system) = (portableLogarithm(x), Foundation.log(x))
      #expect(abs(own - system) <= 4e-15 * max(abs(system), 1e-2))
    }
  }

  @Test func shuffleIsAPermutationAndPinnedDown() {
    var random = SplitMix64(seed: 1)
    #expect(random.shuffledIndices(count: 0) == [])
    #expect(random.shuffledIndices(count: 1) == [0])
    #expect(random == SplitMix64(seed: 1))
    // From an independent implementation of the same specification.
    #expect(random.shuffledIndices(count: 10) == [9, 0, 1, 4, 8, 2, 3, 7, 6, 5])
    let shuffled = random.shuffledIndices(count: 1000)
    #expect(shuffled.sorted() == Array(0..<1000))
    #expect(zip(shuffled, 0...).filter { $0 == $1 }.count < 10)
    // Every order of three comes up equally often.
    var counts: [[UInt32]: Int] = [:]
    for _ in 0..<6000 { counts[random.shuffledIndices(count: 3), default: 0] += 1 }
    #expect(counts.count == 6)
    #expect(counts.values.allSatisfy { abs($0 - 1000) < 150 })
  }
}
