import Compute

/// Convolutions by their definitions, over host values of whole maps, pixel by pixel. A pass over
/// the triples (output position, tap, input position) serves all three.
extension Oracle {
  static func convolution(
    _ shape: ConvolutionShape, _ x: [Float], _ w: [Float], bias: [Float]?, _ activation: Activation
  ) -> Expectation {
    let (inputs, outputs) = (shape.inputs, shape.outputs)
    var sums = Sums(shape.batch * shape.outputHeight * shape.outputWidth * outputs)
    shape.forEachTap { large, small, tap in
      for c in 0..<inputs {
        let factor = Double(x[large * inputs + c])
        let row = (tap * inputs + c) * outputs
        for o in 0..<outputs {
          sums.add(factor * Double(w[row + o]), at: small * outputs + o)
        }
      }
    }
    let taps = shape.geometry.kernelHeight * shape.geometry.kernelWidth
    if shape.mayBeMinimal(from: inputs) {
      sums.filtered = Filtering(
        batch: shape.batch, height: shape.height, width: shape.width, channels: inputs,
        resultHeight: shape.outputHeight, resultWidth: shape.outputWidth,
        padding: shape.geometry.padding
      ).magnitudes(x, results: outputs) { tap, c, o in w[(tap * inputs + c) * outputs + o] }
      sums.filteredTerms = inputs
    }
    return sums.finished(terms: taps * inputs, bias: bias, activation)
  }

  static func transposedConvolution(
    _ shape: ConvolutionShape, _ x: [Float], _ w: [Float], bias: [Float]?, _ activation: Activation
  ) -> Expectation {
    let (inputs, outputs) = (shape.inputs, shape.outputs)
    var sums = Sums(shape.batch * shape.height * shape.width * inputs)
    shape.forEachTap { large, small, tap in
      for c in 0..<inputs {
        let row = (tap * inputs + c) * outputs
        for o in 0..<outputs {
          sums.add(
            Double(x[small * outputs + o]) * Double(w[row + o]), at: large * inputs + c)
        }
      }
    }
    let taps = shape.geometry.kernelHeight * shape.geometry.kernelWidth
    if shape.mayBeMinimal(from: outputs) {
      sums.filtered = Filtering(
        batch: shape.batch, height: shape.outputHeight, width: shape.outputWidth,
        channels: outputs, resultHeight: shape.height, resultWidth: shape.width,
        padding: 2 - shape.geometry.padding
      ).magnitudes(x, results: inputs) { tap, o, c in w[((8 - tap) * inputs + c) * outputs + o] }
      sums.filteredTerms = outputs
    }
    return sums.finished(terms: taps * outputs, bias: bias, activation)
  }

  static func convolutionGradient(
    _ shape: ConvolutionShape, _ x: [Float], _ g: [Float]
  ) -> Expectation {
    let (inputs, outputs) = (shape.inputs, shape.outputs)
    let taps = shape.geometry.kernelHeight * shape.geometry.kernelWidth
    var sums = Sums(taps * inputs * outputs)
    shape.forEachTap { large, small, tap in
      for c in 0..<inputs {
        let factor = Double(x[large * inputs + c])
        let row = (tap * inputs + c) * outputs
        for o in 0..<outputs {
          sums.add(factor * Double(g[small * outputs + o]), at: row + o)
        }
      }
    }
    if shape.mayBeMinimal(from: inputs) {
      sums.filtered = Filtering(
        batch: shape.batch, height: shape.height, width: shape.width, channels: inputs,
        resultHeight: shape.outputHeight, resultWidth: shape.outputWidth,
        padding: shape.geometry.padding
      ).gradientMagnitudes(x, g, results: outputs)
      sums.filteredTerms = shape.batch * shape.outputHeight * shape.outputWidth
    }
    return sums.finished(
      terms: shape.batch * shape.outputHeight * shape.outputWidth, bias: nil, .identity)
  }

  /// Sums of products and of their magnitudes.
  private struct Sums {
    var values: [Double]
    var magnitudes: [Double]
    /// Those that minimal filtering adds up, and of how many terms its sums are; none where it has no
    /// part.
    var filtered: [Double]?
    var filteredTerms = 0

    init(_ count: Int) {
      values = [Double](repeating: 0, count: count)
      magnitudes = values
    }

    mutating func add(_ term: Double, at index: Int) {
      values[index] += term
      magnitudes[index] += abs(term)
    }

    func finished(terms: Int, bias: [Float]?, _ activation: Activation) -> Expectation {
      let relative = summationBound(terms)
      // Two roundings in a transformed source, four each in a transformed kernel and in a result.
      let filteredRelative = summationBound(filteredTerms + 10)
      let smooth = activation == .sigmoid || activation == .tanh
      var result = Expectation(exactly: values)
      for i in values.indices {
        let shift = bias.map { Double($0[i % $0.count]) } ?? 0
        let value = Oracle.value(activation, values[i] + shift)
        result.values[i] = value
        var error = relative * (magnitudes[i] + abs(shift))
        if let filtered {
          error = max(error, filteredRelative * (filtered[i] + abs(shift)))
        }
        result.bounds[i] =
          activation.lipschitzConstant * error
          + (smooth ? 6 * unitRoundoff * abs(value) : 0) + Oracle.tiny
      }
      return result
    }
  }
}

/// What minimal filtering F(2x2, 3x3) adds up, in magnitude: its formulas (Lavin and Gray 2016,
/// section 4.1) with the absolute values of all of their factors, in proportion to which its rounding
/// errors are (Higham 2002, section 3.5; Barabasz et al. 2020, "Error Analysis and Improving the
/// Accuracy of Winograd Convolution for Deep Neural Networks").
private struct Filtering {
  let batch, height, width, channels: Int
  let resultHeight, resultWidth: Int
  let padding: Int

  private typealias Row = SIMD4<Double>
  /// The 16 places of a tile, row by row.
  private typealias Places = SIMD16<Double>

  private static func places(_ first: Row, _ second: Row, _ third: Row, _ fourth: Row) -> Places {
    Places(
      lowHalf: SIMD8(lowHalf: first, highHalf: second),
      highHalf: SIMD8(lowHalf: third, highHalf: fourth))
  }

  /// |B^T| of four rows or of a row's four elements.
  private static func ofSources<T>(
    _ d: (T, T, T, T), _ plus: (T, T) -> T
  ) -> (T, T, T, T) {
    let middle = plus(d.1, d.2)
    return (plus(d.0, d.2), middle, middle, plus(d.1, d.3))
  }

  private static func elements(_ row: Row) -> (Double, Double, Double, Double) {
    (row[0], row[1], row[2], row[3])
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
      let sums = Self.ofSources(Self.elements(row), +)
      return Row(sums.0, sums.1, sums.2, sums.3)
    }
    let rows = Self.ofSources((row(0), row(1), row(2), row(3)), +)
    return Self.places(across(rows.0), across(rows.1), across(rows.2), across(rows.3))
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

extension ConvolutionShape {
  /// Whether minimal filtering may make it: from few channels it gains nothing, and none does.
  fileprivate func mayBeMinimal(from channels: Int) -> Bool {
    geometry.kernelHeight == 3 && geometry.kernelWidth == 3 && geometry.stride == 1
      && geometry.padding <= 2 && channels % 16 == 0
  }

  /// Every pair of a position in the large image and one in the small that a tap connects.
  fileprivate func forEachTap(_ body: (_ large: Int, _ small: Int, _ tap: Int) -> Void) {
    for n in 0..<batch {
      for i in 0..<outputHeight {
        for j in 0..<outputWidth {
          for u in 0..<geometry.kernelHeight {
            for v in 0..<geometry.kernelWidth {
              let a = geometry.stride * i + u - geometry.padding
              let b = geometry.stride * j + v - geometry.padding
              guard a >= 0 && a < height && b >= 0 && b < width else { continue }
              body(
                (n * height + a) * width + b, (n * outputHeight + i) * outputWidth + j,
                u * geometry.kernelWidth + v)
            }
          }
        }
      }
    }
  }
}
