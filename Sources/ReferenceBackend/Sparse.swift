import Compute

extension ReferenceBackend {
  package func sparseTopK(_ a: Floats, indices: Indices, values: Floats) throws {
    let shape = SparseCodeShape(indices: indices, values: values)
    let (latents, kept) = (shape.latents(ofDense: a.shape), shape.kept)
    let (input, chosen, code) = (a.shared, indices.shared, values.shared)
    parallel(shape.batch) { rows in
      for i in rows {
        // A larger key is a larger value, or an equal one with a lower index.
        let keys = (0..<latents).map { j in
          UInt64(orderedBits(input[i * latents + j])) << 32 | UInt64(~UInt32(j))
        }
        let largest = keys.sorted(by: >).prefix(kept)
        for (s, j) in largest.map({ ~UInt32(truncatingIfNeeded: $0) }).sorted().enumerated() {
          let value = input[i * latents + Int(j)]
          chosen[i * kept + s] = j
          code[i * kept + s] = value > 0 ? value : 0
        }
      }
    }
  }

  package func sparseScatter(indices: Indices, values: Floats, into z: Floats) throws {
    let shape = SparseCodeShape(indices: indices, values: values)
    let (latents, kept) = (shape.latents(ofDense: z.shape), shape.kept)
    let (chosen, code, dense) = (indices.shared, values.shared, z.shared)
    parallel(shape.batch) { rows in
      for i in rows {
        for j in i * latents..<(i + 1) * latents { dense[j] = 0 }
        for e in i * kept..<(i + 1) * kept { dense[i * latents + Int(chosen[e])] = code[e] }
      }
    }
  }

  package func sparseDecode(
    indices: Indices, values: Floats, weight w: Floats, bias: Floats, into y: Floats
  ) throws {
    let shape = SparseCodeShape(indices: indices, values: values)
    let width = shape.width(weight: w, bias: bias, rows: [y])
    let rows = DecodedRows(
      indices: indices.shared, values: values.shared, weight: w.shared, bias: bias.shared,
      kept: shape.kept, width: width)
    let output = y.shared
    parallel(shape.batch) { batch in
      for i in batch { rows.decode(i, into: output + i * width) }
    }
  }

  package func sparsePass(
    indices: Indices, values: Floats, weight w: Floats, bias: Floats, target x: Floats,
    scale: Float, gradient: Floats, codeGradient: Floats, rowError: Floats, rowL0: Floats
  ) throws {
    let shape = SparseCodeShape(indices: indices, values: values)
    let width = shape.width(weight: w, bias: bias, rows: [x, gradient])
    shape.check(codeGradient: codeGradient, rowError: rowError, rowL0: rowL0)
    let kept = shape.kept
    let rows = DecodedRows(
      indices: indices.shared, values: values.shared, weight: w.shared, bias: bias.shared,
      kept: kept, width: width)
    let (target, slope, codeSlope) = (x.shared, gradient.shared, codeGradient.shared)
    let (errors, counts) = (rowError.shared, rowL0.shared)
    parallel(shape.batch) { batch in
      for i in batch {
        let g = slope + i * width
        rows.decode(i, into: g)
        var error: Float = 0
        for d in 0..<width {
          let difference = g[d] - target[i * width + d]
          error += difference * difference
          g[d] = scale * difference
        }
        errors[i] = error

        var active: Float = 0
        for e in i * kept..<(i + 1) * kept {
          if rows.values[e] != 0 { active += 1 }
          let latent = rows.weight + Int(rows.indices[e]) * width
          var sum: Float = 0
          for d in 0..<width { sum += g[d] * latent[d] }
          codeSlope[e] = rows.values[e] > 0 ? sum : 0
        }
        counts[i] = active
      }
    }
  }

  package func sparseGroup(
    indices: Indices, values: Floats, offsets: Indices, entries: Indices,
    accumulatingFirings firings: Indices
  ) throws {
    let shape = SparseCodeShape(indices: indices, values: values)
    let latents = shape.latents(offsets: offsets, entries: entries, firings: firings)
    let (chosen, code, total) = (indices.pointer, values.pointer, firings.pointer)
    var lists = [[UInt32]](repeating: [], count: latents)
    for e in 0..<shape.batch * shape.kept where code[e] > 0 {
      lists[Int(chosen[e])].append(UInt32(e))
    }
    let sorted = entries.pointer
    var place = 0
    for (j, list) in lists.enumerated() {
      offsets.pointer[j] = UInt32(place)
      total[j] &+= UInt32(list.count)
      for e in list {
        sorted[place] = e
        place += 1
      }
    }
    offsets.pointer[latents] = UInt32(place)
  }

  package func sparseGradients(
    _ batch: SparseBatch<Storage>, decoder dD: Floats, encoder dE: Floats, bias db: Floats
  ) throws {
    let shape = SparseBatchShape(batch)
    shape.check(decoder: dD, encoder: dE, bias: db)
    let rows = LatentRows(batch)
    let (toDecoder, toEncoder, toBias) = (dD.shared, dE.shared, db.shared)
    parallel(shape.latents) { latents in
      for j in latents {
        let own = rows.entries(of: j)
        guard !own.isEmpty else { continue }
        rows.sum(own, rows.values, rows.gradient, into: toDecoder + j * shape.width)
        rows.sum(own, rows.codeGradient, rows.input, into: toEncoder + j * shape.width)
        toBias[j] = rows.biasGradient(own)
      }
    }
  }

  package func sparseUpdate(_ batch: SparseBatch<Storage>, _ state: SparseAdam<Storage>) throws {
    let shape = SparseBatchShape(batch)
    shape.check(
      decoder: state.decoder.value, encoder: state.encoder.value, bias: state.bias.value)
    let width = shape.width
    let rows = LatentRows(batch)
    let (decoder, encoder) = (SharedAdam(state.decoder), SharedAdam(state.encoder))
    let (bias, unitNorm) = (SharedAdam(state.bias), state.unitNorm)
    let (step, encoderStep) = (state.step, state.encoderStep)
    parallel(shape.latents) { latents in
      var slopes = [Float](repeating: 0, count: width)
      for j in latents {
        let own = rows.entries(of: j)
        guard !own.isEmpty else { continue }
        let row = decoder.value + j * width

        slopes.withUnsafeMutableBufferPointer { slopes in
          guard let g = slopes.baseAddress else { return }
          rows.sum(own, rows.values, rows.gradient, into: g)
          if unitNorm {
            var along: Float = 0
            for d in 0..<width { along += g[d] * row[d] }
            for d in 0..<width { g[d] -= along * row[d] }
          }
          for d in 0..<width { decoder.update(j * width + d, slope: g[d], step) }
          rows.sum(own, rows.codeGradient, rows.input, into: g)
          for d in 0..<width { encoder.update(j * width + d, slope: g[d], encoderStep) }
        }
        bias.update(j, slope: rows.biasGradient(own), step)
        guard unitNorm else { continue }
        var square: Float = 0
        for d in 0..<width { square += row[d] * row[d] }
        let norm = square.squareRoot()
        guard norm > 0, norm.isFinite else { continue }
        for d in 0..<width { row[d] /= norm }
      }
    }
  }
}

/// Bits that order as the numbers do: NaN lowest, both zeros equal.
private func orderedBits(_ value: Float) -> UInt32 {
  guard !value.isNaN else { return 0 }
  let bits = (value + 0).bitPattern
  return bits >> 31 == 1 ? ~bits : bits | 0x8000_0000
}

/// The decoder's rows that a batch needs.
private struct DecodedRows: Sendable {
  let indices: SharedPointer<UInt32>
  let values, weight, bias: SharedPointer<Float>
  let kept, width: Int

  /// y_i
  func decode(_ i: Int, into y: UnsafeMutablePointer<Float>) {
    for d in 0..<width { y[d] = bias[d] }
    for e in i * kept..<(i + 1) * kept {
      let (value, latent) = (values[e], weight + Int(indices[e]) * width)
      for d in 0..<width { y[d] += value * latent[d] }
    }
  }
}

/// A batch's rows as the entries of a latent combine them.
private struct LatentRows: Sendable {
  let offsets, sorted: SharedPointer<UInt32>
  let values, codeGradient, input, gradient: SharedPointer<Float>
  let kept, width: Int

  init(_ batch: SparseBatch<ReferenceStorage>) {
    let shape = SparseBatchShape(batch)
    (kept, width) = (shape.kept, shape.width)
    (offsets, sorted) = (batch.offsets.shared, batch.entries.shared)
    (values, codeGradient) = (batch.values.shared, batch.codeGradient.shared)
    (input, gradient) = (batch.input.shared, batch.gradient.shared)
  }

  func entries(of latent: Int) -> UnsafeBufferPointer<UInt32> {
    let (first, last) = (Int(offsets[latent]), Int(offsets[latent + 1]))
    return UnsafeBufferPointer(start: sorted + first, count: last - first)
  }

  /// The sum of weights_e times the row of entry e.
  func sum(
    _ entries: UnsafeBufferPointer<UInt32>, _ weights: SharedPointer<Float>,
    _ rows: SharedPointer<Float>, into sums: UnsafeMutablePointer<Float>
  ) {
    sums.update(repeating: 0, count: width)
    for e in entries {
      let (weight, row) = (weights[Int(e)], rows + Int(e) / kept * width)
      for d in 0..<width { sums[d] += weight * row[d] }
    }
  }

  func biasGradient(_ entries: UnsafeBufferPointer<UInt32>) -> Float {
    entries.reduce(0) { $0 + codeGradient[Int($1)] }
  }
}

private struct SharedAdam: Sendable {
  let value, first, second: SharedPointer<Float>

  init(_ parameter: AdamParameter<ReferenceStorage>) {
    value = parameter.value.shared
    first = parameter.firstMoment.shared
    second = parameter.secondMoment.shared
  }

  func update(_ i: Int, slope: Float, _ step: AdamStep) {
    let mean = step.beta1 * first[i] + (1 - step.beta1) * slope
    let square = step.beta2 * second[i] + (1 - step.beta2) * slope * slope
    first[i] = mean
    second[i] = square
    value[i] -= step.stepSize * mean / (square.squareRoot() * step.secondMomentScale + step.epsilon)
  }
}
