import Compute

/// What minimal filtering F(2x2, 3x3) adds up, in magnitude: its formulas (Lavin and Gray 2016,
/// section 4.1) with the absolute values of all of their factors, in proportion to which its rounding
/// errors are (Higham 2002, section 3.5; Barabasz et al. 2020, "Error Analysis and Improving the
/// Accuracy of Winograd Convolution for Deep Neural Networks").
struct MinimalFiltering {
  private let batch, height, width, channels: Int
  private let resultHeight, resultWidth: Int
  private let padding: Int

  /// The adjoint is a convolution too, of the turned taps.
  init(_ shape: ConvolutionShape, isAdjoint: Bool) {
    batch = shape.batch
    (height, width) =
      isAdjoint ? (shape.outputHeight, shape.outputWidth) : (shape.height, shape.width)
    (resultHeight, resultWidth) =
      isAdjoint ? (shape.height, shape.width) : (shape.outputHeight, shape.outputWidth)
    channels = isAdjoint ? shape.outputs : shape.inputs
    padding = isAdjoint ? 2 - shape.geometry.padding : shape.geometry.padding
  }

  private typealias Row = SIMD4<Double>
  /// The 16 places of a tile, row by row.
  private typealias Places = SIMD16<Double>

  private static func places(_ first: Row, _ second: Row, _ third: Row, _ fourth: Row) -> Places {
    Places(
      lowHalf: SIMD8(lowHalf: first, highHalf: second),
      highHalf: SIMD8(lowHalf: third, highHalf: fourth))
  }

  private func forEachTile(_ body: (_ image: Int, _ row: Int, _ column: Int) -> Void) {
    for n in 0..<batch {
      for i in stride(from: 0, to: resultHeight, by: 2) {
        for j in stride(from: 0, to: resultWidth, by: 2) { body(n, i, j) }
      }
    }
  }

  /// |B^T| |d| |B| of the 4x4 sources of the tile whose results begin at (i, j).
  private func sources(_ x: [Float], _ n: Int, _ i: Int, _ j: Int, _ c: Int) -> Places {
    func row(_ u: Int) -> Row {
      var row = Row.zero
      let a = i + u - padding
      guard a >= 0 && a < height else { return row }
      for v in 0..<4 {
        let b = j + v - padding
        guard b >= 0 && b < width else { continue }
        row[v] = Double(abs(x[((n * height + a) * width + b) * channels + c]))
      }
      return row
    }
    func across(_ row: Row) -> Row {
      let middle = row[1] + row[2]
      return Row(row[0] + row[2], middle, middle, row[1] + row[3])
    }
    let middle = across(row(1) + row(2))
    return Self.places(across(row(0) + row(2)), middle, middle, across(row(1) + row(3)))
  }

  /// |G| |g| |G^T| of nine taps.
  private static func ofKernel(_ tap: (Int) -> Double) -> Places {
    func across(_ row: Row) -> Row {
      let middle = (row[0] + row[1] + row[2]) / 2
      return Row(row[0], middle, middle, row[2])
    }
    func row(_ u: Int) -> Row { Row(tap(3 * u), tap(3 * u + 1), tap(3 * u + 2), 0) }
    let middle = across((row(0) + row(1) + row(2)) / 2)
    return places(across(row(0)), middle, middle, across(row(2)))
  }

  private static func rows(_ p: Places) -> (Row, Row, Row, Row) {
    (p.lowHalf.lowHalf, p.lowHalf.highHalf, p.highHalf.lowHalf, p.highHalf.highHalf)
  }

  /// - Parameter w: the kernel's element of a tap, a source and a result.
  func magnitudes(_ x: [Float], results: Int, _ w: (Int, Int, Int) -> Float) -> [Double] {
    let kernels = (0..<channels * results).map { index in
      Self.ofKernel { tap in Double(abs(w(tap, index / results, index % results))) }
    }
    var magnitudes = [Double](repeating: 0, count: batch * resultHeight * resultWidth * results)
    forEachTile { n, i, j in
      var sums = [Places](repeating: .zero, count: results)
      for c in 0..<channels {
        let source = sources(x, n, i, j, c)
        for o in 0..<results { sums[o] += source * kernels[c * results + o] }
      }
      for o in 0..<results {
        // |A^T| M |A|
        let m = Self.rows(sums[o])
        for (u, row) in [m.0 + m.1 + m.2, m.1 + m.2 + m.3].enumerated() where i + u < resultHeight {
          for (v, sum) in [row[0] + row[1] + row[2], row[1] + row[2] + row[3]].enumerated()
          where j + v < resultWidth {
            magnitudes[((n * resultHeight + i + u) * resultWidth + j + v) * results + o] = sum
          }
        }
      }
    }
    return magnitudes
  }

  /// Of the gradient of the kernel, sum over the tiles of G^T ((B^T d B) . (A g A^T)) G.
  func gradientMagnitudes(_ x: [Float], _ g: [Float], results: Int) -> [Double] {
    var sums = [Places](repeating: .zero, count: channels * results)
    forEachTile { n, i, j in
      func slope(_ u: Int, _ v: Int, _ o: Int) -> Double {
        guard i + u < resultHeight && j + v < resultWidth else { return 0 }
        return Double(abs(g[((n * resultHeight + i + u) * resultWidth + j + v) * results + o]))
      }
      let slopes = (0..<results).map { o in
        // |A| |g| |A^T|
        func row(_ u: Int) -> Row {
          let (first, second) = (slope(u, 0, o), slope(u, 1, o))
          return Row(first, first + second, first + second, second)
        }
        let (top, bottom) = (row(0), row(1))
        return Self.places(top, top + bottom, top + bottom, bottom)
      }
      for c in 0..<channels {
        let source = sources(x, n, i, j, c)
        for o in 0..<results { sums[c * results + o] += source * slopes[o] }
      }
    }
    var magnitudes = [Double](repeating: 0, count: 9 * channels * results)
    for (index, sum) in sums.enumerated() {
      // |G^T| M |G|
      let m = Self.rows(sum)
      let middle = (m.1 + m.2) / 2
      for (u, row) in [m.0 + middle, middle, middle + m.3].enumerated() {
        let half = (row[1] + row[2]) / 2
        for (v, tap) in [row[0] + half, half, half + row[3]].enumerated() {
          magnitudes[(3 * u + v) * sums.count + index] = tap
        }
      }
    }
    return magnitudes
  }
}
