import RandomNumbers

/// k centres of the rows of a matrix, each row belonging to the one nearest to it.
///
/// Lloyd's algorithm from a start by k-means++ (Arthur & Vassilvitskii 2007). The seed decides every
/// bit.
package struct KMeans: Codable, Equatable, Sendable {
  package let clusterCount, dimension: Int
  /// `[clusterCount, dimension]`
  package private(set) var centres: [Float]
  /// The mean squared distance from rows to their centres, in the last round.
  package private(set) var inertia: Double
  /// Rounds that were needed.
  package private(set) var iterations: Int

  /// Finds the centres.
  ///
  /// It ends when no row changes its centre, or the inertia falls by less than `tolerance` of
  /// itself. A centre that loses all its rows moves to the row farthest from its own centre.
  ///
  /// - Parameters:
  ///   - rows: `[count, dimension]`, finite.
  ///   - clusterCount: at most 256 and the number of rows.
  package init(
    rows: [Float], dimension: Int, clusterCount: Int, seed: UInt64, maximumIterations: Int = 100,
    tolerance: Double = 1e-4
  ) {
    precondition(dimension > 0 && rows.count % dimension == 0, "rows are not whole")
    let count = rows.count / dimension
    precondition(
      clusterCount > 0 && clusterCount <= min(count, 256),
      "\(clusterCount) clusters of \(count) rows")
    self.clusterCount = clusterCount
    self.dimension = dimension
    centres = []
    inertia = 0
    iterations = 0
    var random = SplitMix64(seed: seed)
    centres = Self.start(
      rows, dimension: dimension, clusterCount: clusterCount, random: &random)
    var owners = [UInt8](repeating: 0, count: 0)
    var previous = Double.infinity
    for iteration in 1...max(1, maximumIterations) {
      iterations = iteration
      let (next, distances) = assignments(of: rows)
      inertia = distances.reduce(0.0) { $0 + Double($1) } / Double(count)
      if next == owners || previous - inertia < tolerance * previous && iteration > 1 { break }
      owners = next
      previous = inertia
      moveCentres(to: rows, owners: owners, distances: distances)
    }
  }

  /// The index of the centre nearest to each row, the first of equally near ones.
  package func assign(_ rows: [Float]) -> [UInt8] {
    assignments(of: rows).owners
  }

  private func assignments(of rows: [Float]) -> (owners: [UInt8], distances: [Float]) {
    precondition(rows.count % dimension == 0, "rows are not whole")
    let count = rows.count / dimension
    var owners = [UInt8](repeating: 0, count: count)
    let distances = [Float](unsafeUninitializedCapacity: count) { distances, initialized in
      rows.withUnsafeBufferPointer { rows in
        centres.withUnsafeBufferPointer { centres in
          for row in 0..<count {
            var best = Float.infinity
            for k in 0..<clusterCount {
              let distance = squaredDistance(
                rows, row * dimension, centres, k * dimension, dimension)
              if distance < best {
                best = distance
                owners[row] = UInt8(k)
              }
            }
            distances[row] = best
          }
        }
      }
      initialized = count
    }
    return (owners, distances)
  }

  private mutating func moveCentres(to rows: [Float], owners: [UInt8], distances: [Float]) {
    var sums = [Double](repeating: 0, count: clusterCount * dimension)
    var counts = [Int](repeating: 0, count: clusterCount)
    for (row, owner) in owners.enumerated() {
      let k = Int(owner)
      counts[k] += 1
      for d in 0..<dimension { sums[k * dimension + d] += Double(rows[row * dimension + d]) }
    }
    var distances = distances
    for k in 0..<clusterCount {
      if counts[k] == 0 {
        var farthest = 0
        for row in distances.indices where distances[row] > distances[farthest] { farthest = row }
        distances[farthest] = 0
        for d in 0..<dimension { centres[k * dimension + d] = rows[farthest * dimension + d] }
      } else {
        for d in 0..<dimension {
          centres[k * dimension + d] = Float(sums[k * dimension + d] / Double(counts[k]))
        }
      }
    }
  }

  /// The first centre is a row drawn at random; each further one a row drawn with a chance
  /// proportional to its squared distance from the nearest centre so far.
  private static func start(
    _ rows: [Float], dimension: Int, clusterCount: Int, random: inout SplitMix64
  ) -> [Float] {
    let count = rows.count / dimension
    var centres: [Float] = []
    var nearest = [Float](repeating: .infinity, count: count)
    var chosen = Int(random.nextIndex(below: UInt64(count)))
    while true {
      centres += rows[chosen * dimension..<(chosen + 1) * dimension]
      if centres.count == clusterCount * dimension { return centres }
      var sum = 0.0
      rows.withUnsafeBufferPointer { rows in
        for row in 0..<count {
          let distance = squaredDistance(
            rows, row * dimension, rows, chosen * dimension, dimension)
          nearest[row] = min(nearest[row], distance)
          sum += Double(nearest[row])
        }
      }
      // Where all rows are centres already, any will do.
      guard sum > 0 else {
        chosen = Int(random.nextIndex(below: UInt64(count)))
        continue
      }
      var left = Double(random.next() >> 11) * 0x1p-53 * sum
      chosen = nearest.lastIndex { $0 > 0 } ?? 0
      for row in 0..<count {
        left -= Double(nearest[row])
        if left < 0 {
          chosen = row
          break
        }
      }
    }
  }
}

/// In eight sums, so that the processor may take eight dimensions at once.
private func squaredDistance(
  _ a: UnsafeBufferPointer<Float>, _ aStart: Int, _ b: UnsafeBufferPointer<Float>, _ bStart: Int,
  _ dimension: Int
) -> Float {
  var sums = SIMD8<Float>.zero
  var d = 0
  while d + 8 <= dimension {
    var difference = SIMD8<Float>.zero
    for i in 0..<8 { difference[i] = a[aStart + d + i] - b[bStart + d + i] }
    sums += difference * difference
    d += 8
  }
  var sum = sums.sum()
  while d < dimension {
    let difference = a[aStart + d] - b[bStart + d]
    sum += difference * difference
    d += 1
  }
  return sum
}
