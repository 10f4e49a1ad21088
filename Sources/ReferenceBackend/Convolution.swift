import Compute

extension ReferenceBackend {
  package func convolution(
    _ x: Map, weight w: Floats, bias: Floats?, activation: Activation,
    geometry: ConvolutionGeometry, into y: Map
  ) throws {
    let shape = ConvolutionShape(input: x, output: y, weight: w, geometry: geometry)
    precondition(bias.map { $0.count == shape.outputs } ?? true, "a bias for each output")
    let (input, weights, output) = (x.shared, w.shared, y.shared)
    let offsets = bias?.shared
    let (inputs, outputs) = (shape.inputs, shape.outputs)
    let (inputPitch, outputPitch) = (x.pitch, y.pitch)
    parallel(shape.batch * shape.outputHeight) { rows in
      for row in rows {
        let (n, i) = (row / shape.outputHeight, row % shape.outputHeight)
        for j in 0..<shape.outputWidth {
          let result = output + (row * shape.outputWidth + j) * outputPitch
          result.update(repeating: 0, count: outputs)
          for u in 0..<geometry.kernelHeight {
            let a = geometry.stride * i + u - geometry.padding
            guard a >= 0 && a < shape.height else { continue }
            for v in 0..<geometry.kernelWidth {
              let b = geometry.stride * j + v - geometry.padding
              guard b >= 0 && b < shape.width else { continue }
              addProduct(
                of: input + ((n * shape.height + a) * shape.width + b) * inputPitch, inputs,
                weights + (u * geometry.kernelWidth + v) * inputs * outputs, to: result, outputs)
            }
          }
          conclude(result, outputs, bias: offsets, activation)
        }
      }
    }
  }

  package func transposedConvolution(
    _ x: Map, weight w: Floats, bias: Floats?, activation: Activation,
    geometry: ConvolutionGeometry, into y: Map
  ) throws {
    let shape = ConvolutionShape(input: y, output: x, weight: w, geometry: geometry)
    precondition(bias.map { $0.count == shape.inputs } ?? true, "a bias for each output")
    let transposed = try transposeTaps(w)
    let (input, weights, output) = (x.shared, transposed.shared, y.shared)
    let offsets = bias?.shared
    let (inputs, outputs) = (shape.outputs, shape.inputs)
    let (inputPitch, outputPitch) = (x.pitch, y.pitch)
    parallel(shape.batch * shape.height) { rows in
      for row in rows {
        let (n, a) = (row / shape.height, row % shape.height)
        for b in 0..<shape.width {
          let result = output + (row * shape.width + b) * outputPitch
          result.update(repeating: 0, count: outputs)
          for u in 0..<geometry.kernelHeight {
            guard let i = source(of: a, tap: u, geometry, shape.outputHeight) else { continue }
            for v in 0..<geometry.kernelWidth {
              guard let j = source(of: b, tap: v, geometry, shape.outputWidth) else { continue }
              let pixel = (n * shape.outputHeight + i) * shape.outputWidth + j
              addProduct(
                of: input + pixel * inputPitch, inputs,
                weights + (u * geometry.kernelWidth + v) * inputs * outputs, to: result, outputs)
            }
          }
          conclude(result, outputs, bias: offsets, activation)
        }
      }
    }
  }

  package func convolutionGradient(
    _ x: Map, _ g: Map, geometry: ConvolutionGeometry, into dw: Floats
  ) throws {
    let shape = ConvolutionShape(input: x, output: g, weight: dw, geometry: geometry)
    let (input, slope, gradient) = (x.shared, g.shared, dw.shared)
    let (inputs, outputs) = (shape.inputs, shape.outputs)
    let (inputPitch, slopePitch) = (x.pitch, g.pitch)
    parallel(geometry.kernelHeight * geometry.kernelWidth * inputs) { rows in
      // The rows of one tap side by side, so that x and g are read once for all of them.
      var first = rows.lowerBound
      while first < rows.upperBound {
        let tap = first / inputs
        let last = min(rows.upperBound, (tap + 1) * inputs)
        let (u, v) = (tap / geometry.kernelWidth, tap % geometry.kernelWidth)
        let result = gradient + first * outputs
        result.update(repeating: 0, count: (last - first) * outputs)
        for row in 0..<shape.batch * shape.outputHeight {
          let (n, i) = (row / shape.outputHeight, row % shape.outputHeight)
          let a = geometry.stride * i + u - geometry.padding
          guard a >= 0 && a < shape.height else { continue }
          for j in 0..<shape.outputWidth {
            let b = geometry.stride * j + v - geometry.padding
            guard b >= 0 && b < shape.width else { continue }
            let pixel = input + ((n * shape.height + a) * shape.width + b) * inputPitch
            let addend = slope + (row * shape.outputWidth + j) * slopePitch
            for c in first..<last {
              let factor = pixel[c - tap * inputs]
              let target = result + (c - first) * outputs
              for o in 0..<outputs { target[o] += factor * addend[o] }
            }
          }
        }
        first = last
      }
    }
  }

  package func channelSums(of x: Map, into s: Floats) throws {
    precondition(s.count == x.channels, "sums of \(x.channels) channels into \(s.shape)")
    let (input, sums) = (x.shared, s.pointer)
    sums.update(repeating: 0, count: x.channels)
    for position in 0..<x.positions {
      let pixel = input + position * x.pitch
      for c in 0..<x.channels { sums[c] += pixel[c] }
    }
  }

  /// `[kernelHeight, kernelWidth, C, O]` with the last two exchanged.
  private func transposeTaps(_ w: Floats) throws -> Floats {
    let (inputs, outputs) = (w.shape[2], w.shape[3])
    let result = try allocate([w.shape[0], w.shape[1], outputs, inputs], of: Float.self)
    let (source, target) = (w.shared, result.shared)
    parallel(w.shape[0] * w.shape[1]) { taps in
      for tap in taps {
        let base = tap * inputs * outputs
        for o in 0..<outputs {
          for c in 0..<inputs { target[base + o * inputs + c] = source[base + c * outputs + o] }
        }
      }
    }
    return result
  }
}

extension FeatureMap where Storage == ReferenceStorage {
  /// From the first channel of the first pixel on; the pixels lie `pitch` apart.
  fileprivate var shared: SharedPointer<Float> {
    SharedPointer(pointer: tensor.pointer + channelOffset)
  }
}

/// The i with stride i + tap - padding = place, where there is one below `count`.
private func source(
  of place: Int, tap: Int, _ geometry: ConvolutionGeometry, _ count: Int
) -> Int? {
  let distance = place + geometry.padding - tap
  guard distance >= 0, distance % geometry.stride == 0 else { return nil }
  let i = distance / geometry.stride
  return i < count ? i : nil
}

/// result_o += sum over c of x_c w_co, a product after the other.
private func addProduct(
  of x: UnsafeMutablePointer<Float>, _ inputs: Int, _ w: UnsafeMutablePointer<Float>,
  to result: UnsafeMutablePointer<Float>, _ outputs: Int
) {
  for c in 0..<inputs {
    let factor = x[c]
    let row = w + c * outputs
    for o in 0..<outputs { result[o] += factor * row[o] }
  }
}

private func conclude(
  _ result: UnsafeMutablePointer<Float>, _ count: Int, bias: SharedPointer<Float>?,
  _ activation: Activation
) {
  if let bias {
    for o in 0..<count { result[o] += bias[o] }
  }
  guard activation != .identity else { return }
  for o in 0..<count { result[o] = activation.value(result[o]) }
}
