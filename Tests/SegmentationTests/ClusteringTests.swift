import RandomNumbers
import Segmentation
import Testing

struct ClusteringTests {
  /// Rows around `count` centres far apart, in turn.
  private func groups(_ count: Int, dimension: Int, rows: Int) -> [Float] {
    var random = SplitMix64(seed: 7)
    let centres = (0..<count * dimension).map { _ in random.nextUniform(-10, 10) }
    var matrix: [Float] = []
    for row in 0..<rows {
      for d in 0..<dimension {
        matrix.append(centres[row % count * dimension + d] + 0.1 * Float(random.nextNormal()))
      }
    }
    return matrix
  }

  @Test(arguments: [(2, 1), (4, 3), (6, 8), (9, 19)])
  func findsGroupsThatAreApart(_ count: Int, _ dimension: Int) {
    let rows = groups(count, dimension: dimension, rows: 900)
    // Started anew where one start is unlucky.
    let best = (1...5).map { seed in
      KMeans(rows: rows, dimension: dimension, clusterCount: count, seed: UInt64(seed))
    }.min { $0.inertia < $1.inertia }
    guard let best else { return }
    let owners = best.assign(rows)
    #expect(Set(owners).count == count)
    #expect(owners.indices.allSatisfy { owners[$0] == owners[$0 % count] })
    #expect(best.inertia < 0.02 * Double(dimension))
  }

  @Test func rowsBelongToTheNearestCentre() {
    var random = SplitMix64(seed: 1)
    let rows = (0..<500 * 11).map { _ in random.nextUniform() }
    let model = KMeans(rows: rows, dimension: 11, clusterCount: 7, seed: 3)
    let owners = model.assign(rows)
    for row in 0..<500 {
      let distances = (0..<7).map { k in
        (0..<11).reduce(Float(0)) { sum, d in
          let difference = rows[row * 11 + d] - model.centres[k * 11 + d]
          return sum + difference * difference
        }
      }
      let least = distances.min() ?? 0
      #expect(distances[Int(owners[row])] <= least * 1.0001)
    }
    #expect(KMeans(rows: rows, dimension: 11, clusterCount: 7, seed: 3) == model)
    #expect(KMeans(rows: rows, dimension: 11, clusterCount: 7, seed: 4) != model)
    // Lloyd's rounds lower the inertia.
    let short = KMeans(
      rows: rows, dimension: 11, clusterCount: 7, seed: 3, maximumIterations: 1)
    #expect(model.inertia < short.inertia)
  }

  @Test func equalRowsAreNoTrouble() {
    let model = KMeans(
      rows: [Float](repeating: 2, count: 30), dimension: 3, clusterCount: 4, seed: 1)
    #expect(model.centres.allSatisfy { $0 == 2 } && model.inertia == 0)
  }

  private func best(_ scores: [Double], rows: Int, columns: Int) -> Double {
    // Every way to give each row a column of its own, or none where columns are short.
    func search(_ row: Int, _ used: Set<Int>, _ free: Int) -> Double {
      guard row < rows else { return 0 }
      var result = -Double.infinity
      for column in 0..<columns where !used.contains(column) {
        let rest = search(row + 1, used.union([column]), free)
        result = max(result, scores[row * columns + column] + rest)
      }
      if free > 0 { result = max(result, search(row + 1, used, free - 1)) }
      return result
    }
    return search(0, [], max(0, rows - columns))
  }

  @Test func assignmentsAreTheBestOfAll() {
    var random = SplitMix64(seed: 4)
    for (rows, columns) in [(1, 1), (3, 3), (2, 5), (5, 2), (6, 6), (0, 3), (4, 0)] {
      for _ in 0..<20 {
        let scores = (0..<rows * columns).map { _ in Double(random.nextIndex(below: 50)) }
        let result = Assignment.best(scores, rows: rows, columns: columns)
        let used = result.compactMap(\.self)
        #expect(Set(used).count == used.count && used.count == min(rows, columns))
        let sum = result.enumerated().reduce(0.0) { sum, entry in
          sum + (entry.element.map { scores[entry.offset * columns + $0] } ?? 0)
        }
        #expect(sum == best(scores, rows: rows, columns: columns))
      }
    }
  }

  @Test func clustersLeftOverGetTheirCommonestClass() {
    // Cluster 0 has most of class 1, but cluster 2 more; cluster 1 is class 0.
    let classes = Assignment.classes(
      ofClusters: [2, 30, 50, 4, 1, 90], clusters: 3, classes: 2)
    #expect(classes == [1, 0, 1])
  }
}
