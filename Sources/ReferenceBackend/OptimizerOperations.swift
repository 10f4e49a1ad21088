import Compute

extension ReferenceBackend {
  package func momentumStep(
    parameters p: Floats, gradients g: Floats, velocity v: Floats, rate: Float, momentum: Float
  ) throws {
    precondition(g.count == p.count && v.count == p.count, "one arena shape")
    let (parameter, gradient, velocity) = (p.shared, g.shared, v.shared)
    parallel(p.count, grain: 4096) { elements in
      for i in elements {
        let speed = momentum * velocity[i] + gradient[i]
        velocity[i] = speed
        parameter[i] -= rate * speed
      }
    }
  }

  package func accumulateAverage(of p: Floats, decay: Float, into average: Floats) throws {
    precondition(p.count == average.count, "\(p.shape) into \(average.shape)")
    let (parameter, mean) = (p.shared, average.shared)
    parallel(p.count, grain: 4096) { elements in
      for i in elements { mean[i] = decay * mean[i] + (1 - decay) * parameter[i] }
    }
  }

  package func clampBelow(_ p: Floats, bound: Float) throws {
    let values = p.pointer
    for i in 0..<p.count where values[i] < bound { values[i] = bound }
  }

  package func clipNorm(of g: Floats, limit: Float, norm: Floats) throws {
    precondition(limit > 0 && norm.count == 1, "a limit of \(limit), a norm of \(norm.shape)")
    let (gradient, count) = (g.shared, g.count)
    // Long sums are made of short ones, and those do not depend on the number of threads.
    let share = 4096
    let parts = try allocate([(count + share - 1) / share], of: Float.self)
    let sums = parts.shared
    parallel(parts.count) { range in
      for part in range {
        var sum: Float = 0
        for i in part * share..<min((part + 1) * share, count) {
          sum += gradient[i] * gradient[i]
        }
        sums[part] = sum
      }
    }
    let length = (0..<parts.count).reduce(Float(0)) { $0 + sums[$1] }.squareRoot()
    norm.pointer[0] = length
    guard length > limit && length.isFinite else { return }
    let factor = limit / length
    parallel(count, grain: 4096) { elements in
      for i in elements { gradient[i] *= factor }
    }
  }

  package func normaliseRows(_ w: Floats) throws {
    precondition(w.shape.rank == 2, "rows of \(w.shape)")
    let width = w.shape[1]
    let weights = w.shared
    parallel(w.shape[0]) { rows in
      for j in rows {
        let row = j * width..<(j + 1) * width
        let square = row.reduce(Float(0)) { $0 + weights[$1] * weights[$1] }
        guard square.isNormal else { continue }
        let norm = square.squareRoot()
        for i in row { weights[i] /= norm }
      }
    }
  }

  package func projectRows(_ g: Floats, orthogonalTo w: Floats) throws {
    precondition(w.shape.rank == 2 && g.shape == w.shape, "\(g.shape) against \(w.shape)")
    let width = w.shape[1]
    let (gradient, weights) = (g.shared, w.shared)
    parallel(w.shape[0]) { rows in
      for j in rows {
        let row = j * width..<(j + 1) * width
        let along = row.reduce(Float(0)) { $0 + gradient[$1] * weights[$1] }
        for i in row { gradient[i] -= along * weights[i] }
      }
    }
  }

  package func addContractiveGradient(
    code z: Floats, weight w: Floats, unitsAreRows: Bool, scale: Float, accumulatingInto g: Floats,
    penalty: Floats
  ) throws {
    let shape = ContractiveShape(
      code: z, weight: w, unitsAreRows: unitsAreRows, gradient: g, penalty: penalty)
    let (batch, latents, width) = (shape.batch, shape.latents, shape.width)
    let (code, weights, gradient) = (z.shared, w.shared, g.shared)
    let parts = try allocate([latents], of: Float.self)
    let penalties = parts.shared
    parallel(latents) { units in
      for j in units {
        var active: Float = 0
        for i in 0..<batch where code[i * latents + j] != 0 { active += 1 }
        var square: Float = 0
        for d in 0..<width {
          let index = unitsAreRows ? j * width + d : d * latents + j
          square += weights[index] * weights[index]
          gradient[index] += scale * active * weights[index]
        }
        penalties[j] = active * square
      }
    }
    penalty.pointer[0] = (0..<latents).reduce(Float(0)) { $0 + penalties[$1] }
  }
}
