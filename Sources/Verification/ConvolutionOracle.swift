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
    if shape.geometry.allowsMinimalFiltering(from: inputs) {
      let magnitudes = MinimalFiltering(shape, isAdjoint: false).magnitudes(x, results: outputs) {
        tap, c, o in w[(tap * inputs + c) * outputs + o]
      }
      sums.filtered = (magnitudes, inputs)
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
    if shape.geometry.allowsMinimalFiltering(from: outputs) {
      let magnitudes = MinimalFiltering(shape, isAdjoint: true).magnitudes(x, results: inputs) {
        tap, o, c in w[((8 - tap) * inputs + c) * outputs + o]
      }
      sums.filtered = (magnitudes, outputs)
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
    let positions = shape.batch * shape.outputHeight * shape.outputWidth
    if shape.geometry.allowsMinimalFiltering(from: inputs) {
      sums.filtered = (
        MinimalFiltering(shape, isAdjoint: false).gradientMagnitudes(x, g, results: outputs),
        positions
      )
    }
    return sums.finished(terms: positions, bias: nil, .identity)
  }

  /// Sums of products and of their magnitudes.
  private struct Sums {
    var values: [Double]
    var magnitudes: [Double]
    /// Those that minimal filtering adds up, and of how many terms; nil where it has no part.
    var filtered: (magnitudes: [Double], terms: Int)?

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
      let filteredRelative = filtered.map { summationBound($0.terms + 10) } ?? 0
      let smooth = activation == .sigmoid || activation == .tanh
      var result = Expectation(exactly: values)
      for i in values.indices {
        let shift = bias.map { Double($0[i % $0.count]) } ?? 0
        let value = Oracle.value(activation, values[i] + shift)
        result.values[i] = value
        var error = relative * (magnitudes[i] + abs(shift))
        if let filtered {
          error = max(error, filteredRelative * (filtered.magnitudes[i] + abs(shift)))
        }
        result.bounds[i] =
          activation.lipschitzConstant * error
          + (smooth ? 6 * unitRoundoff * abs(value) : 0) + Oracle.tiny
      }
      return result
    }
  }
}

extension ConvolutionShape {
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
