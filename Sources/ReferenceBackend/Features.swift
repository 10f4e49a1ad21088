import Compute

// Normalisation and pooling.
extension ReferenceBackend {
  package func batchNormalise(
    _ x: FeatureMap<Storage>, _ parameters: BatchNormalisation<Storage>, activation: Activation,
    epsilon: Float, momentum: Float, into y: FeatureMap<Storage>
  ) throws {
    let shape = NormalisationShape(x, y, parameters: parameters, activation: activation)
    precondition(epsilon > 0, "an epsilon of \(epsilon)")
    guard shape.positions > 0 else { return }
    let (input, output) = (x.pixels, y.pixels)
    let (mean, deviation) = (parameters.mean.shared, parameters.deviation.shared)
    let (runningMean, runningVariance) = (
      parameters.runningMean.shared, parameters.runningVariance.shared
    )
    let (scale, shift) = (parameters.scale.shared, parameters.shift.shared)
    let count = Double(shape.positions)
    parallel(shape.channels, grain: 4) { channels in
      // In double precision, so that the variance is accurate whatever the mean.
      var means = [Double](repeating: 0, count: channels.count)
      var variances = means
      for i in 0..<shape.positions {
        for c in channels { means[c - channels.lowerBound] += Double(input[i, c]) }
      }
      for c in means.indices { means[c] /= count }
      for i in 0..<shape.positions {
        for c in channels {
          let difference = Double(input[i, c]) - means[c - channels.lowerBound]
          variances[c - channels.lowerBound] += difference * difference
        }
      }
      for c in channels {
        let variance = variances[c - channels.lowerBound] / count
        let unbiased = Float(variances[c - channels.lowerBound] / max(count - 1, 1))
        mean[c] = Float(means[c - channels.lowerBound])
        deviation[c] = Float(1 / (variance + Double(epsilon)).squareRoot())
        runningMean[c] += momentum * (mean[c] - runningMean[c])
        runningVariance[c] += momentum * (unbiased - runningVariance[c])
      }
    }
    parallel(shape.positions, grain: 64) { positions in
      for i in positions {
        for c in 0..<shape.channels {
          let normal = scale[c] * deviation[c] * (input[i, c] - mean[c]) + shift[c]
          output[i, c] = activation == .relu && normal < 0 ? 0 : normal
        }
      }
    }
  }

  package func batchNormaliseBackward(
    _ g: FeatureMap<Storage>, output y: FeatureMap<Storage>, input x: FeatureMap<Storage>,
    _ parameters: BatchNormalisation<Storage>, activation: Activation, into dx: FeatureMap<Storage>,
    scaleGradient: Floats, shiftGradient: Floats
  ) throws {
    let shape = NormalisationShape(
      g, y, x, dx, parameters: parameters, activation: activation,
      gradients: [scaleGradient, shiftGradient])
    let (above, output, input, result) = (g.pixels, y.pixels, x.pixels, dx.pixels)
    let (mean, deviation) = (parameters.mean.shared, parameters.deviation.shared)
    let (scale, dscale, dshift) = (
      parameters.scale.shared, scaleGradient.shared, shiftGradient.shared
    )
    parallel(shape.channels, grain: 4) { channels in
      var sums = [(h: Double, product: Double)](repeating: (0, 0), count: channels.count)
      for i in 0..<shape.positions {
        for c in channels {
          let h = above[i, c] * activation.derivative(at: output[i, c])
          let normal = (input[i, c] - mean[c]) * deviation[c]
          sums[c - channels.lowerBound].h += Double(h)
          sums[c - channels.lowerBound].product += Double(h) * Double(normal)
        }
      }
      for c in channels {
        dshift[c] = Float(sums[c - channels.lowerBound].h)
        dscale[c] = Float(sums[c - channels.lowerBound].product)
      }
    }
    let share = 1 / Float(max(shape.positions, 1))
    parallel(shape.positions, grain: 64) { positions in
      for i in positions {
        for c in 0..<shape.channels {
          let h = above[i, c] * activation.derivative(at: output[i, c])
          let normal = (input[i, c] - mean[c]) * deviation[c]
          result[i, c] =
            scale[c] * deviation[c] * (h - (dshift[c] + normal * dscale[c]) * share)
        }
      }
    }
  }

  package func maxPool(_ x: FeatureMap<Storage>, size: Int, into y: FeatureMap<Storage>) throws {
    let shape = PoolShape(large: x, small: y, size: size)
    let (input, output) = (x.pixels, y.pixels)
    parallel(shape.batch * shape.outputHeight) { rows in
      for row in rows {
        for column in 0..<shape.outputWidth {
          for c in 0..<shape.channels {
            var largest = -Float.infinity
            for pixel in shape.window(row: row, column: column) {
              let value = input[pixel, c]
              if value > largest || value.isNaN { largest = value }
              if value.isNaN { break }
            }
            output[row * shape.outputWidth + column, c] = largest
          }
        }
      }
    }
  }

  package func maxPoolBackward(
    _ g: FeatureMap<Storage>, output y: FeatureMap<Storage>, input x: FeatureMap<Storage>,
    size: Int, accumulating: Bool, into dx: FeatureMap<Storage>
  ) throws {
    let shape = PoolShape(large: x, dx, small: g, y, size: size)
    let (above, output, input, result) = (g.pixels, y.pixels, x.pixels, dx.pixels)
    parallel(shape.batch * shape.outputHeight) { rows in
      for row in rows {
        for column in 0..<shape.outputWidth {
          let place = row * shape.outputWidth + column
          for c in 0..<shape.channels {
            var isOpen = true
            for pixel in shape.window(row: row, column: column) {
              let isFirst = isOpen && input[pixel, c] == output[place, c]
              let slope = isFirst ? above[place, c] : 0
              result[pixel, c] = accumulating ? result[pixel, c] + slope : slope
              if isFirst { isOpen = false }
            }
          }
        }
      }
    }
  }
}

extension PoolShape {
  /// The input's pixels below an output of the batch, row by row.
  ///
  /// - Parameter row: among the output's rows of all images.
  fileprivate func window(row: Int, column: Int) -> some Sequence<Int> {
    let (size, width) = (size, width)
    let first = row * size * width + column * size
    return (0..<size * size).lazy.map { first + $0 / size * width + $0 % size }
  }
}

/// The entries of a map by pixel, counted through the batch, and channel.
private struct Pixels: @unchecked Sendable {
  let pointer: UnsafeMutablePointer<Float>
  let pitch: Int

  subscript(_ pixel: Int, _ channel: Int) -> Float {
    get { pointer[pixel * pitch + channel] }
    nonmutating set { pointer[pixel * pitch + channel] = newValue }
  }
}

extension FeatureMap where Storage == ReferenceStorage {
  fileprivate var pixels: Pixels {
    Pixels(pointer: tensor.pointer + channelOffset, pitch: pitch)
  }
}
