import Compute

// The operations of `OptimizerOperations` in double precision, with their error bounds.
extension Oracle {
  /// The parameters and the velocity after a step.
  package static func momentumStep(
    p: [Float], g: [Float], v: [Float], rate: Float, momentum: Float
  ) -> [Expectation] {
    var results = [Expectation](repeating: Expectation(exactly: []), count: 2)
    for i in p.indices {
      let kept = Double(momentum) * Double(v[i])
      let speed = kept + Double(g[i])
      let speedBound = 2 * unitRoundoff * (abs(kept) + abs(Double(g[i]))) + tiny
      let change = Double(rate) * speed
      results[0].values.append(Double(p[i]) - change)
      results[0].bounds.append(
        abs(Double(rate)) * speedBound
          + 2 * unitRoundoff * (abs(Double(p[i])) + abs(change)) + tiny)
      results[1].values.append(speed)
      results[1].bounds.append(speedBound)
    }
    return results
  }

  package static func accumulateAverage(
    of p: [Float], decay: Float, average: [Float]
  ) -> Expectation {
    let terms = zip(p, average).map {
      (Double(decay) * Double($1), Double(1 - decay) * Double($0))
    }
    return Expectation(
      values: terms.map { $0 + $1 },
      bounds: terms.map { 3 * unitRoundoff * (abs($0) + abs($1)) + tiny })
  }

  package static func clampBelow(_ p: [Float], bound: Float) -> Expectation {
    Expectation(exactly: p.map { Double($0 < bound ? bound : $0) })
  }

  /// The clipped gradient and the norm from before.
  package static func clipNorm(of g: [Float], limit: Float) -> [Expectation] {
    let square = g.reduce(0.0) { $0 + Double($1) * Double($1) }
    guard Float(square).isFinite else {
      let norm = square.isNaN ? Double.nan : .infinity
      return [Expectation(exactly: g.map(Double.init)), Expectation(exactly: [norm])]
    }
    let norm = square.squareRoot()
    // Half the sum's relative error, and 3 ulp for the root. A square may underflow.
    let relative = summationBound(g.count) / 2 + 6 * unitRoundoff
    let normBound = relative * norm + (Double(g.count) * tiny).squareRoot()
    let factor = norm > Double(limit) ? Double(limit) / norm : 1
    let values = g.map { Double($0) * factor }
    // The norm's rounding also decides on which side of the limit it falls.
    let clipped = norm + normBound > Double(limit)
    return [
      Expectation(
        values: values,
        bounds: values.map {
          clipped ? abs($0) * (normBound / norm + 8 * unitRoundoff) + tiny : 0
        }),
      Expectation(values: [norm], bounds: [normBound]),
    ]
  }

  package static func normaliseRows(_ w: [Float], width: Int) -> Expectation {
    var result = Expectation(exactly: [])
    for row in stride(from: 0, to: w.count, by: max(1, width)) {
      let values = w[row..<row + width].map(Double.init)
      let square = values.reduce(0) { $0 + $1 * $1 }
      let norm = Float(square).isNormal ? square.squareRoot() : 1
      // Half the sum's relative error, 3 ulp for the root, 2.5 for a division, and a product.
      let relative =
        Float(square).isNormal ? summationBound(width) / 2 + 14 * unitRoundoff : 0
      for value in values {
        result.values.append(value / norm)
        result.bounds.append(relative == 0 ? 0 : abs(value / norm) * relative + tiny)
      }
    }
    return result
  }

  package static func projectRows(
    _ g: [Float], orthogonalTo w: [Float], width: Int
  ) -> Expectation {
    var result = Expectation(exactly: [])
    for row in stride(from: 0, to: g.count, by: max(1, width)) {
      let pairs = (row..<row + width).map { (Double(g[$0]), Double(w[$0])) }
      let along = pairs.reduce(0) { $0 + $1.0 * $1.1 }
      let magnitude = pairs.reduce(0) { $0 + abs($1.0 * $1.1) }
      for (slope, weight) in pairs {
        result.values.append(slope - along * weight)
        result.bounds.append(
          summationBound(width) * magnitude * abs(weight)
            + 2 * unitRoundoff * (abs(slope) + abs(along * weight)) + tiny)
      }
    }
    return result
  }

  /// The gradient and the penalty.
  package static func addContractiveGradient(
    code z: [Float], weight w: [Float], unitsAreRows: Bool, scale: Float, gradient g: [Float],
    latents: Int
  ) -> [Expectation] {
    var active = [Double](repeating: 0, count: latents)
    for (index, value) in z.enumerated() where value != 0 { active[index % latents] += 1 }
    let width = w.count / max(1, latents)
    var gradient = Expectation(exactly: [])
    var penalty = 0.0
    for index in w.indices {
      let n = active[unitsAreRows ? index / width : index % latents]
      let weight = Double(w[index])
      penalty += n * weight * weight
      let term = Double(scale) * n * weight
      gradient.values.append(Double(g[index]) + term)
      gradient.bounds.append(4 * unitRoundoff * (abs(Double(g[index])) + abs(term)) + tiny)
    }
    let relative = summationBound(width) + summationBound(latents) + 2 * unitRoundoff
    return [gradient, Expectation(values: [penalty], bounds: [relative * penalty + tiny])]
  }
}
