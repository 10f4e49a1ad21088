import Compute
import Foundation

extension ReferenceBackend {
  package func hardConcrete(
    _ a: Floats, slope: Floats, offset: Floats, noise: GateNoise?, into z: Floats, rowL0: Floats
  ) throws {
    let shape = CodeShape(a, z, latents: [slope, offset])
    precondition(rowL0.count == shape.batch, "one count for each row")
    let (input, code, counts) = (a.shared, z.shared, rowL0.shared)
    let (slopes, offsets) = (slope.shared, offset.shared)
    parallel(shape.batch) { rows in
      for i in rows {
        var open: Float = 0
        for j in 0..<shape.latents {
          let value = input[i * shape.latents + j]
          let logAlpha = slopes[j] * value + offsets[j]
          let s = sigmoid(
            noise.map { sampledArgument(logAlpha, $0.uniform(row: i, column: j)) } ?? logAlpha)
          code[i * shape.latents + j] = max(value, 0) * min(1, max(0, stretched(s)))
          if value > 0 && logAlpha > HardConcrete.closedLogAlpha { open += 1 }
        }
        counts[i] = open
      }
    }
  }

  package func hardConcreteBackward(
    _ g: Floats, preactivations a: Floats, slope: Floats, offset: Floats, noise: GateNoise,
    penalty: Floats, scale: Float, into da: Floats, slopeGradient: Floats, offsetGradient: Floats
  ) throws {
    let shape = CodeShape(g, a, da, latents: [slope, offset, slopeGradient, offsetGradient])
    precondition(penalty.count == 1, "one penalty")
    let (above, input, result) = (g.shared, a.shared, da.shared)
    let (slopes, offsets) = (slope.shared, offset.shared)
    let (dSlope, dOffset) = (slopeGradient.shared, offsetGradient.shared)
    let weight = penalty.pointer[0] * scale
    parallel(shape.latents, grain: 8) { columns in
      for j in columns { (dSlope[j], dOffset[j]) = (0, 0) }
      for i in 0..<shape.batch {
        for j in columns {
          let place = i * shape.latents + j
          let (upstream, value) = (above[place], input[place])
          guard value > 0 else {
            result[place] = 0
            continue
          }
          let logAlpha = slopes[j] * value + offsets[j]
          let s = sigmoid(sampledArgument(logAlpha, noise.uniform(row: i, column: j)))
          let gate = stretched(s)
          let expected = sigmoid(logAlpha - HardConcrete.tau * HardConcrete.closedLogAlpha)
          var change = weight * expected * (1 - expected)
          if gate > 0 && gate < 1 {
            change +=
              upstream * value * (HardConcrete.zeta - HardConcrete.gamma) * s * (1 - s)
              / HardConcrete.tau
          }
          dSlope[j] += change * value
          dOffset[j] += change
          result[place] = upstream * min(1, max(0, gate)) + change * slopes[j]
        }
      }
    }
  }
}

private func sigmoid(_ x: Float) -> Float { 1 / (1 + exp(-x)) }

private func sampledArgument(_ logAlpha: Float, _ u: Float) -> Float {
  (log(u / (1 - u)) + logAlpha) / HardConcrete.tau
}

private func stretched(_ s: Float) -> Float {
  s * (HardConcrete.zeta - HardConcrete.gamma) + HardConcrete.gamma
}
