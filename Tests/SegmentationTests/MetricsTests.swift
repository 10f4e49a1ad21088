import Foundation
import RandomNumbers
import Segmentation
import Testing

struct SegmentationMetricsTests {
  @Test func figuresFollowTheirFormulas() throws {
    var matrix = ConfusionMatrix(classCount: 3)
    matrix.add(prediction: [0, 0, 1, 1, 1, 0], truth: [0, 1, 1, 1, 0, 255])
    // Class 0: TP 1, FP 1, FN 1; class 1: TP 2, FP 1, FN 1; class 2 is nowhere.
    #expect(matrix.counts == [1, 1, 0, 1, 2, 0, 0, 0, 0])
    #expect(matrix[truth: 1, prediction: 0] == 1)
    #expect(matrix.intersectionOverUnion(of: 0) == 1 / 3.0)
    #expect(matrix.intersectionOverUnion(of: 1) == 0.5)
    #expect(matrix.intersectionOverUnion(of: 2) == nil)
    #expect(matrix.dice(of: 0) == 0.5)
    #expect(matrix.dice(of: 1) == 4 / 6.0)
    let miou = try #require(matrix.meanIntersectionOverUnion)
    #expect(abs(miou - 5 / 12.0) < 1e-15)
    #expect(matrix.accuracy == 0.6)
    #expect(matrix.total == 5)
    #expect(ConfusionMatrix(classCount: 2).accuracy == nil)
    #expect(ConfusionMatrix(classCount: 2).meanIntersectionOverUnion == nil)
    // A class that was only predicted counts as 0.
    var wrong = ConfusionMatrix(classCount: 3)
    wrong.add(prediction: [0, 2], truth: [0, 0])
    #expect(wrong.meanIntersectionOverUnion == 0.25)
    let data = try JSONEncoder().encode(matrix)
    #expect(try JSONDecoder().decode(ConfusionMatrix.self, from: data) == matrix)
    var sum = matrix
    sum += wrong
    #expect(sum.total == 7)
  }

  /// One matrix over the set: not the mean of the images' figures.
  @Test func setsAreCountedTogether() throws {
    var report = SegmentationReport(classes: ["a", "b"])
    report.add("one", prediction: [0, 1], truth: [0, 1], width: 2, height: 1)
    report.add("two", prediction: [0, 0, 0, 0], truth: [0, 0, 1, 1], width: 4, height: 1)
    #expect(report.images.map(\.miou) == [1, 0.25])
    #expect(report.overall.iou == [0.6, 1 / 3.0])
    #expect(report.overall.accuracy == 4 / 6.0)
  }

  /// By the definition: every pixel of one outline against every pixel of the other.
  private func slowScores(
    _ prediction: [UInt8], _ truth: [UInt8], width: Int, height: Int, index: UInt8, distance: Int
  ) -> [Int] {
    func outline(_ labels: [UInt8]) -> [(Int, Int)] {
      var pixels: [(Int, Int)] = []
      for y in 0..<height {
        for x in 0..<width
        where labels[y * width + x] == index && truth[y * width + x] != 255 {
          let neighbours = [(x - 1, y), (x + 1, y), (x, y - 1), (x, y + 1)].filter {
            (0..<width).contains($0.0) && (0..<height).contains($0.1)
              && truth[$0.1 * width + $0.0] != 255
          }
          if neighbours.contains(where: { labels[$0.1 * width + $0.0] != index }) {
            pixels.append((x, y))
          }
        }
      }
      return pixels
    }
    func near(_ a: [(Int, Int)], _ b: [(Int, Int)]) -> Int {
      a.filter { p in
        b.contains {
          let (dx, dy) = ($0.0 - p.0, $0.1 - p.1)
          return dx * dx + dy * dy <= distance * distance
        }
      }.count
    }
    let (given, real) = (outline(prediction), outline(truth))
    return [given.count, near(given, real), real.count, near(real, given)]
  }

  @Test func outlinesAreThoseOfTheDefinition() {
    var random = SplitMix64(seed: 9)
    for (width, height, distance) in [
      (1, 1, 0), (7, 1, 1), (1, 9, 2), (31, 23, 0), (31, 23, 1), (40, 37, 2), (23, 31, 4),
      (9, 9, 99),
    ] {
      func blobs() -> [UInt8] {
        var labels = [UInt8](repeating: 0, count: width * height)
        for _ in 0..<8 {
          let (x, y) = (
            Int(random.nextIndex(below: UInt64(width))),
            Int(random.nextIndex(below: UInt64(height)))
          )
          let (radius, label) = (Int(random.nextIndex(below: 6)), UInt8(random.nextIndex(below: 3)))
          for j in max(0, y - radius)...min(height - 1, y + radius) {
            for i in max(0, x - radius)...min(width - 1, x + radius) {
              labels[j * width + i] = label
            }
          }
        }
        return labels
      }
      let prediction = blobs()
      var truth = blobs()
      for i in truth.indices where random.nextIndex(below: 15) == 0 { truth[i] = 255 }
      let scores = BoundaryScore.scores(
        prediction: prediction, truth: truth, width: width, height: height, classCount: 3,
        distance: distance)
      for index in 0..<3 {
        let score = scores[index]
        let counts = [score.predicted, score.predictedNear, score.real, score.realNear].map {
          Int($0)
        }
        #expect(
          counts
            == slowScores(
              prediction, truth, width: width, height: height, index: UInt8(index),
              distance: distance),
          "class \(index) of \(width)x\(height) within \(distance)")
      }
    }
  }

  @Test func boundaryScoresForgiveTheToleranceAlone() {
    func square(at x: Int) -> [UInt8] {
      (0..<100 * 100).map { pixel in
        (x..<x + 40).contains(pixel % 100) && (30..<70).contains(pixel / 100) ? 1 : 0
      }
    }
    func f(_ shift: Int) -> Double? {
      BoundaryScore.scores(
        prediction: square(at: 20 + shift), truth: square(at: 20), width: 100, height: 100,
        classCount: 2, distance: 2)[1].f
    }
    #expect(f(0) == 1 && f(2) == 1)
    #expect((f(3) ?? 1) < 0.8)
    // Both lie wholly elsewhere.
    #expect(f(60) == 0)
    let empty = [UInt8](repeating: 0, count: 10000)
    let none = BoundaryScore.scores(
      prediction: empty, truth: empty, width: 100, height: 100, classCount: 2, distance: 2)
    #expect(none[1].f == nil)
    let missed = BoundaryScore.scores(
      prediction: empty, truth: square(at: 20), width: 100, height: 100, classCount: 2, distance: 2)
    #expect(missed[1].f == 0)
    #expect(BoundaryScore.distance(width: 512, height: 512) == 6)
    #expect(BoundaryScore.distance(width: 30, height: 40) == 1)
  }

  private struct Written: Decodable {
    let miou: Double
    let iou: [String: Double?]
    let dice: [String: Double?]
    let accuracy: Double
    let confusion: [[Int]]
    let images: [Image]
    struct Image: Decodable {
      let name: String
      let miou: Double
    }
  }

  @Test func reportsAreWrittenInThreeForms() throws {
    var report = SegmentationReport(classes: ["back,ground", "cell", "none"])
    report.add(
      "a\"b", prediction: [0, 1, 1, 1], truth: [0, 0, 1, 255], width: 2, height: 2)
    let json = try JSONDecoder().decode(Written.self, from: report.json())
    #expect(json.miou == 0.5 && json.accuracy == 2 / 3.0)
    #expect(json.iou["cell"] == 0.5)
    #expect(json.iou["none"] == Double??.some(nil))
    #expect(json.dice["back,ground"] == 2 / 3.0)
    #expect(json.confusion == [[1, 1, 0], [0, 1, 0], [0, 0, 0]])
    #expect(json.images.map(\.name) == ["a\"b"])
    let lines = report.csv().split(separator: "\n")
    #expect(lines.count == 3)
    #expect(lines[0].hasPrefix("image,pixels,accuracy,miou,\"iou_back,ground\",iou_cell,iou_none,"))
    #expect(lines[1].hasPrefix("\"a\"\"b\",3,0.6666666666666666,0.5,0.5,0.5,,"))
    #expect(lines[2].hasPrefix("all,3,0.6666666666666666,"))
    // What is combined with a comma, and CR with LF, hides neither from those that read it.
    var odd = SegmentationReport(classes: ["a", "b"])
    for name in ["a,\u{301}b", "a\r\nb", "a\"\u{301}"] {
      odd.add(name, prediction: [0], truth: [1], width: 1, height: 1)
    }
    #expect(odd.csv().contains("\n\"a,\u{301}b\",1,0.0"))
    #expect(odd.csv().unicodeScalars.split(separator: "\n").count == 6)
    #expect(odd.csv().contains("\"a\r\nb\",1,"))
    // Each pair of quotes, and the name's own twice.
    #expect(odd.csv().utf8.count { $0 == UInt8(ascii: "\"") } == 8)
    let table = report.table()
    #expect(table.contains("back,ground  0.5000  0.6667"))
    #expect(table.contains("pixel accuracy 0.6667"))
    #expect(table.contains("50.00 %"))
  }
}
