import Imaging
import Segmentation
import Testing

struct CellGeneratorTests {
  @Test func theSeedDecidesThePictures() {
    let generator = CellGenerator(seed: 3)
    let picture = generator.picture(2, width: 70, height: 50)
    #expect(picture == CellGenerator(seed: 3).picture(2, width: 70, height: 50))
    #expect(picture != generator.picture(1, width: 70, height: 50))
    #expect(picture != CellGenerator(seed: 4).picture(2, width: 70, height: 50))
  }

  /// A picture too large for the memory can be drawn part by part.
  @Test func partsAgreeWithTheWhole() {
    let generator = CellGenerator(seed: 11)
    let whole = generator.picture(x: -40, y: 900, width: 130, height: 110)
    let part = generator.picture(x: 3, y: 941, width: 57, height: 40)
    for row in 0..<40 {
      let start = (row + 41) * 130 + 43
      #expect(
        Array(whole.image.samples[start..<start + 57])
          == Array(part.image.samples[row * 57..<(row + 1) * 57]))
      #expect(
        Array(whole.indices[start..<start + 57])
          == Array(part.indices[row * 57..<(row + 1) * 57]))
    }
  }

  @Test func labelsHaveTheDocumentedValues() throws {
    let picture = CellGenerator(seed: 1).picture(0, width: 256, height: 256)
    #expect(Set(picture.labels.samples) == [0, 128, 255])
    let label = SampleImage(
      width: 256, height: 256, channels: 1, sampleType: .uint8,
      samples: picture.labels.samples.map(Float.init))
    #expect(try CellGenerator.classes.indices(of: label, path: "labels") == picture.indices)
    #expect(CellGenerator.classes.names == ["cytoplasm", "membrane", "nucleus"])
  }

  /// What makes them tissue: cells closed by membranes, nuclei inside of cells, and light that
  /// tells the classes apart on average but not pixel by pixel.
  @Test func cellsAreClosedAndClassesOverlapInLight() {
    let side = 384
    let picture = CellGenerator(seed: 5).picture(0, width: side, height: side)
    var counts = [0, 0, 0]
    var sums = [0.0, 0.0, 0.0]
    var squares = [0.0, 0.0, 0.0]
    for (index, value) in zip(picture.indices, picture.image.samples) {
      counts[Int(index)] += 1
      sums[Int(index)] += Double(value)
      squares[Int(index)] += Double(value) * Double(value)
    }
    let shares = counts.map { Double($0) / Double(side * side) }
    #expect((0.12...0.3).contains(shares[1]), "membranes \(shares[1])")
    #expect((0.1...0.3).contains(shares[2]), "nuclei \(shares[2])")
    let means = (0..<3).map { sums[$0] / Double(counts[$0]) }
    let deviations = (0..<3).map {
      (squares[$0] / Double(counts[$0]) - means[$0] * means[$0]).squareRoot()
    }
    #expect(means[0] - means[2] > 0.5 * deviations[0], "\(means), \(deviations)")
    #expect(means[0] - means[1] > deviations[0])
    // No threshold tells nuclei from cytoplasm.
    #expect(means[0] - means[2] < 3 * deviations[2])

    // Inside of the membranes, areas the size of a cell; a leak would join many.
    var seen = picture.indices.map { $0 == 1 }
    var areas: [Int] = []
    for start in seen.indices where !seen[start] {
      var area = 0
      var stack = [start]
      seen[start] = true
      while let pixel = stack.popLast() {
        area += 1
        let (x, y) = (pixel % side, pixel / side)
        for (i, j) in [(x - 1, y), (x + 1, y), (x, y - 1), (x, y + 1)]
        where i >= 0 && j >= 0 && i < side && j < side && !seen[j * side + i] {
          seen[j * side + i] = true
          stack.append(j * side + i)
        }
      }
      areas.append(area)
    }
    #expect((areas.max() ?? 0) < 5 * 44 * 44, "\(areas.max() ?? 0)")
    #expect(areas.filter { $0 > 300 }.count > 60)
    // No nucleus touches a membrane.
    for y in 0..<side {
      for x in 1..<side {
        let pair = [picture.indices[y * side + x - 1], picture.indices[y * side + x]].sorted()
        #expect(pair != [1, 2])
      }
    }
  }
}
