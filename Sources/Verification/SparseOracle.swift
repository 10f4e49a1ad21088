import Compute

/// A batch's sparse code on the host, sorted by latent, with what its gradients are made of.
struct HostSparseBatch {
  var offsets, entries: [UInt32]
  var values, codeGradient, input, gradient: [Float]
  var kept: Int
  var width: Int

  var latents: Int { offsets.count - 1 }

  func entries(of latent: Int) -> [Int] {
    entries[Int(offsets[latent])..<Int(offsets[latent + 1])].map(Int.init)
  }
}

/// A parameter with Adam's moments, or what each of them must be.
struct AdamTriple<Value> {
  var value, first, second: Value
}

extension Oracle {
  package static func sparseTopK(
    _ a: [Float], batch: Int, kept: Int
  ) -> (indices: Expectation, values: Expectation) {
    let latents = a.count / max(batch, 1)
    var (indices, values): ([Double], [Double]) = ([], [])
    for i in 0..<batch {
      let row = a[i * latents..<(i + 1) * latents].map { $0.isNaN ? nil : Double($0) }
      func precedes(_ left: Int, _ right: Int) -> Bool {
        switch (row[left], row[right]) {
        case (let first?, let second?): first == second ? left < right : first > second
        case (nil, nil): left < right
        case (let first, _): first != nil
        }
      }
      for j in (0..<latents).sorted(by: precedes).prefix(kept).sorted() {
        indices.append(Double(j))
        values.append(max(row[j] ?? 0, 0))
      }
    }
    return (Expectation(exactly: indices), Expectation(exactly: values))
  }

  package static func sparseScatter(
    _ indices: [UInt32], _ values: [Float], batch: Int, latents: Int
  ) -> Expectation {
    var dense = [Double](repeating: 0, count: batch * latents)
    let kept = indices.count / max(batch, 1)
    for (e, j) in indices.enumerated() { dense[e / kept * latents + Int(j)] = Double(values[e]) }
    return Expectation(exactly: dense)
  }

  package static func sparseDecode(
    _ indices: [UInt32], _ values: [Float], weight: [Float], bias: [Float], batch: Int
  ) -> Expectation {
    let (kept, width) = (indices.count / max(batch, 1), bias.count)
    var result = Expectation(exactly: [])
    for i in 0..<batch {
      var sums = bias.map(Double.init)
      var magnitudes = sums.map(abs)
      for e in i * kept..<(i + 1) * kept {
        for d in 0..<width {
          let term = Double(values[e]) * Double(weight[Int(indices[e]) * width + d])
          sums[d] += term
          magnitudes[d] += abs(term)
        }
      }
      result.values += sums
      result.bounds += magnitudes.map { $0 * summationBound(kept) + tiny }
    }
    return result
  }

  /// The gradient, the code's gradient, the error of each row and its L0.
  package static func sparsePass(
    _ indices: [UInt32], _ values: [Float], weight: [Float], bias: [Float], target x: [Float],
    scale: Float, batch: Int
  ) -> [Expectation] {
    let (kept, width) = (indices.count / max(batch, 1), bias.count)
    let y = sparseDecode(indices, values, weight: weight, bias: bias, batch: batch)
    var gradient = Expectation(exactly: [])
    var codeGradient = Expectation(exactly: [])
    var errors = Expectation(exactly: [])
    var counts: [Double] = []
    for i in 0..<batch {
      var (error, errorBound) = (0.0, 0.0)
      for p in i * width..<(i + 1) * width {
        let difference = y.values[p] - Double(x[p])
        let bound = y.bounds[p] + unitRoundoff * abs(difference)
        error += difference * difference
        errorBound += (2 * abs(difference) + bound) * bound
        let slope = Double(scale) * difference
        gradient.values.append(slope)
        gradient.bounds.append(abs(Double(scale)) * bound + unitRoundoff * abs(slope) + tiny)
      }
      errors.values.append(error)
      errors.bounds.append(errorBound + (summationBound(width) + 3 * unitRoundoff) * error + tiny)

      for e in i * kept..<(i + 1) * kept {
        var (sum, magnitude, carried) = (0.0, 0.0, 0.0)
        for d in 0..<width where values[e] > 0 {
          let w = Double(weight[Int(indices[e]) * width + d])
          sum += gradient.values[i * width + d] * w
          magnitude += abs(gradient.values[i * width + d] * w)
          carried += gradient.bounds[i * width + d] * abs(w)
        }
        codeGradient.values.append(sum)
        codeGradient.bounds.append(
          values[e] > 0 ? carried + summationBound(width) * (magnitude + carried) + tiny : 0)
      }
      counts.append(Double(values[i * kept..<(i + 1) * kept].count { $0 != 0 }))
    }
    return [
      gradient, codeGradient, errors,
      Expectation(values: counts, bounds: counts.map { countBound(Int($0)) }),
    ]
  }

  /// Offsets, and entries up to the last of them.
  package static func sparseGroup(
    _ indices: [UInt32], _ values: [Float], latents: Int
  ) -> (offsets: [UInt32], entries: [UInt32]) {
    let kept = indices.indices.filter { values[$0] > 0 }
    let sorted = kept.sorted { (indices[$0], $0) < (indices[$1], $1) }
    var offsets = [UInt32](repeating: 0, count: latents + 1)
    for e in kept { offsets[Int(indices[e]) + 1] += 1 }
    for j in 0..<latents { offsets[j + 1] += offsets[j] }
    return (offsets, sorted.map(UInt32.init))
  }

  /// dD, dE and db; rows without entries as in `before`.
  static func sparseGradients(
    _ batch: HostSparseBatch, before: (decoder: [Float], encoder: [Float], bias: [Float])
  ) -> [Expectation] {
    var decoder = Expectation(exactly: before.decoder.map(Double.init))
    var encoder = Expectation(exactly: before.encoder.map(Double.init))
    var bias = Expectation(exactly: before.bias.map(Double.init))
    for j in 0..<batch.latents where !batch.entries(of: j).isEmpty {
      let slopes = LatentSlopes(batch, j)
      let row = j * batch.width..<(j + 1) * batch.width
      decoder.values.replaceSubrange(row, with: slopes.decoder.values)
      decoder.bounds.replaceSubrange(row, with: slopes.decoder.bounds)
      encoder.values.replaceSubrange(row, with: slopes.encoder.values)
      encoder.bounds.replaceSubrange(row, with: slopes.encoder.bounds)
      (bias.values[j], bias.bounds[j]) = (slopes.bias.values[0], slopes.bias.bounds[0])
    }
    return [decoder, encoder, bias]
  }

  /// The decoder, the encoder and the bias after a step.
  static func sparseUpdate(
    _ batch: HostSparseBatch, decoder: AdamTriple<[Float]>, encoder: AdamTriple<[Float]>,
    bias: AdamTriple<[Float]>, step: AdamStep, encoderStep: AdamStep, unitNorm: Bool
  ) -> (
    decoder: AdamTriple<Expectation>, encoder: AdamTriple<Expectation>,
    bias: AdamTriple<Expectation>
  ) {
    func unchanged(_ host: AdamTriple<[Float]>) -> AdamTriple<Expectation> {
      AdamTriple(
        value: Expectation(exactly: host.value.map(Double.init)),
        first: Expectation(exactly: host.first.map(Double.init)),
        second: Expectation(exactly: host.second.map(Double.init)))
    }
    var wanted = (decoder: unchanged(decoder), encoder: unchanged(encoder), bias: unchanged(bias))
    let width = batch.width
    for j in 0..<batch.latents where !batch.entries(of: j).isEmpty {
      var slopes = LatentSlopes(batch, j)
      let row = j * width..<(j + 1) * width
      if unitNorm { slopes.decoder = orthogonal(slopes.decoder, to: decoder.value[row]) }
      adamStep(&wanted.decoder, from: row.lowerBound, slopes.decoder, step)
      if unitNorm { normalise(&wanted.decoder.value, row) }
      adamStep(&wanted.encoder, from: row.lowerBound, slopes.encoder, encoderStep)
      adamStep(&wanted.bias, from: j, slopes.bias, step)
    }
    return wanted
  }

  /// g - (g . w) w, with what the bounds of g make of it.
  private static func orthogonal(_ g: Expectation, to w: ArraySlice<Float>) -> Expectation {
    let row = w.map(Double.init)
    var (along, magnitude, carried) = (0.0, 0.0, 0.0)
    for (d, value) in row.enumerated() {
      along += g.values[d] * value
      magnitude += abs(g.values[d] * value)
      carried += g.bounds[d] * abs(value)
    }
    let alongBound = carried + summationBound(row.count) * (magnitude + carried)
    var result = g
    for (d, value) in row.enumerated() {
      result.values[d] -= along * value
      result.bounds[d] +=
        alongBound * abs(value) + 2 * unitRoundoff * (abs(g.values[d]) + abs(along * value))
    }
    return result
  }

  /// Adam on the parameters from `first` on, whose slopes are known within their bounds.
  private static func adamStep(
    _ state: inout AdamTriple<Expectation>, from first: Int, _ slopes: Expectation, _ step: AdamStep
  ) {
    let (beta1, beta2) = (Double(step.beta1), Double(step.beta2))
    let (rest1, rest2) = (Double(1 - step.beta1), Double(1 - step.beta2))
    let (scale, rate) = (Double(step.secondMomentScale), Double(step.stepSize))
    for (index, slope) in slopes.values.enumerated() {
      let i = first + index
      let slopeBound = slopes.bounds[index]
      let (kept, added) = (beta1 * state.first.values[i], rest1 * slope)
      let mean = kept + added
      let meanBound =
        rest1 * slopeBound + 3 * unitRoundoff * (abs(kept) + abs(added) + rest1 * slopeBound) + tiny
      let square = beta2 * state.second.values[i] + rest2 * slope * slope
      let squareBound =
        rest2 * (2 * abs(slope) + slopeBound) * slopeBound + 6 * unitRoundoff * square + tiny
      let denominator = square.squareRoot() * scale + Double(step.epsilon)
      let least = max(square - squareBound, 0).squareRoot() * scale + Double(step.epsilon)
      let change = rate * mean / denominator
      // As in `adam`, with the denominator at its least.
      let changeBound =
        abs(change) * 16 * unitRoundoff + rate * meanBound / least
        + rate * abs(mean) * (1 / least - 1 / denominator)
      let value = state.value.values[i] - change
      state.value.values[i] = value
      state.value.bounds[i] = changeBound + 2 * unitRoundoff * abs(value) + tiny
      (state.first.values[i], state.first.bounds[i]) = (mean, meanBound)
      (state.second.values[i], state.second.bounds[i]) = (square, squareBound)
    }
  }

  private static func normalise(_ values: inout Expectation, _ row: Range<Int>) {
    let norm = row.reduce(0) { $0 + values.values[$1] * values.values[$1] }.squareRoot()
    guard norm > 0, norm.isFinite else { return }
    let carried = row.reduce(0) { $0 + values.bounds[$1] * values.bounds[$1] }.squareRoot()
    let normBound = carried + (summationBound(row.count) + 4 * unitRoundoff) * norm
    for i in row {
      let value = values.values[i] / norm
      values.bounds[i] =
        values.bounds[i] / norm + abs(value) * normBound / norm + 6 * unitRoundoff * abs(value)
        + tiny
      values.values[i] = value
    }
  }
}

/// The gradients of one latent.
private struct LatentSlopes {
  var decoder, encoder, bias: Expectation

  init(_ batch: HostSparseBatch, _ latent: Int) {
    let entries = batch.entries(of: latent)
    func sum(_ weights: [Float], _ rows: [Float], _ width: Int) -> Expectation {
      var sums = [Double](repeating: 0, count: width)
      var magnitudes = sums
      for e in entries {
        let row = e / batch.kept * width
        for d in 0..<width {
          let term = Double(weights[e]) * Double(rows[row + d])
          sums[d] += term
          magnitudes[d] += abs(term)
        }
      }
      let relative = summationBound(entries.count)
      return Expectation(values: sums, bounds: magnitudes.map { $0 * relative + Oracle.tiny })
    }
    decoder = sum(batch.values, batch.gradient, batch.width)
    encoder = sum(batch.codeGradient, batch.input, batch.width)
    let ones = [Float](repeating: 1, count: batch.gradient.count / max(batch.width, 1))
    bias = sum(batch.codeGradient, ones, 1)
  }
}
