/// Which columns fit which rows best.
package enum Assignment {
  /// The column of each row such that no column is used twice and the sum of `scores` is the
  /// largest; nil for the rows without a column, where there are more rows than columns.
  ///
  /// The Hungarian method with potentials and shortest augmenting paths, in O(n^3).
  ///
  /// - Parameter scores: `[rows, columns]`, all finite.
  package static func best(_ scores: [Double], rows: Int, columns: Int) -> [Int?] {
    precondition(rows >= 0 && columns >= 0 && scores.count == rows * columns, "not a matrix")
    // Padded with zeros to a square; costs are negative scores. Place 0 of each array is no row and
    // no column but the start of a path.
    let n = max(rows, columns)
    func cost(_ row: Int, _ column: Int) -> Double {
      row <= rows && column <= columns ? -scores[(row - 1) * columns + column - 1] : 0
    }
    var rowPotential = [Double](repeating: 0, count: n + 1)
    var columnPotential = rowPotential
    var owner = [Int](repeating: 0, count: n + 1)
    for row in stride(from: 1, through: n, by: 1) {
      owner[0] = row
      var slack = [Double](repeating: .infinity, count: n + 1)
      var previous = [Int](repeating: 0, count: n + 1)
      var isDone = [Bool](repeating: false, count: n + 1)
      var column = 0
      repeat {
        isDone[column] = true
        let current = owner[column]
        var step = Double.infinity
        var next = 0
        for j in 1...n where !isDone[j] {
          let reduced = cost(current, j) - rowPotential[current] - columnPotential[j]
          if reduced < slack[j] {
            slack[j] = reduced
            previous[j] = column
          }
          if slack[j] < step {
            step = slack[j]
            next = j
          }
        }
        for j in 0...n {
          if isDone[j] {
            rowPotential[owner[j]] += step
            columnPotential[j] -= step
          } else {
            slack[j] -= step
          }
        }
        column = next
      } while owner[column] != 0
      while column != 0 {
        owner[column] = owner[previous[column]]
        column = previous[column]
      }
    }
    var result = [Int?](repeating: nil, count: rows)
    for column in stride(from: 1, through: columns, by: 1) where owner[column] <= rows {
      result[owner[column] - 1] = column - 1
    }
    return result
  }

  /// The class of each cluster, for scoring clusters that know no classes: the one-to-one assignment
  /// with the most pixels right; clusters left over get the class that most of their pixels have.
  ///
  /// - Parameter overlaps: `[clusters, classes]`, how many pixels they share.
  package static func classes(ofClusters overlaps: [UInt64], clusters: Int, classes: Int) -> [Int] {
    precondition(classes > 0, "at least one class")
    return best(overlaps.map(Double.init), rows: clusters, columns: classes)
      .enumerated().map { cluster, assigned in
        if let assigned { return assigned }
        let shares = overlaps[cluster * classes..<(cluster + 1) * classes]
        return shares.indices.max { shares[$0] < shares[$1] }.map { $0 - shares.startIndex } ?? 0
      }
  }
}
