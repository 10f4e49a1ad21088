import Compute
import Foundation

extension ReferenceBackend {
  package func topK(_ a: Floats, k: Int, into z: Floats) throws {
    let shape = CodeShape(a, z)
    shape.requireKept(k)
    let (input, code) = (a.shared, z.shared)
    parallel(shape.batch) { rows in
      for i in rows {
        keepLargest(
          k, of: input + i * shape.latents, count: shape.latents, into: code + i * shape.latents)
      }
    }
  }

  package func batchTopK(_ a: Floats, k: Int, into z: Floats, threshold: Floats) throws {
    let shape = CodeShape(a, z)
    shape.requireKept(k)
    precondition(threshold.count == 1, "one threshold into \(threshold.shape)")
    threshold.pointer[0] = keepLargest(
      shape.batch * k, of: a.pointer, count: a.count, into: z.pointer)
  }

  package func jumpReLU(_ a: Floats, threshold theta: Floats, into z: Floats) throws {
    let shape = CodeShape(a, z, latents: [theta])
    let (input, code, thresholds) = (a.shared, z.shared, theta.shared)
    parallel(shape.batch) { rows in
      for i in rows {
        for j in 0..<shape.latents {
          let value = input[i * shape.latents + j]
          code[i * shape.latents + j] = value > thresholds[j] ? value : 0
        }
      }
    }
  }

  package func jumpReLUBackward(
    _ g: Floats, preactivations a: Floats, threshold theta: Floats, bandwidth: Float,
    penalty: Floats, scale: Float, into da: Floats, thresholdGradient dtheta: Floats
  ) throws {
    let shape = CodeShape(g, a, da, latents: [theta, dtheta])
    precondition(penalty.count == 1 && bandwidth > 0, "one penalty, a positive bandwidth")
    let (slope, input, thresholds) = (g.shared, a.shared, theta.shared)
    let (result, gradient) = (da.shared, dtheta.shared)
    let weight = penalty.pointer[0] * scale
    parallel(shape.latents, grain: 8) { columns in
      for j in columns { gradient[j] = 0 }
      for i in 0..<shape.batch {
        for j in columns {
          let place = i * shape.latents + j
          let (above, value, threshold) = (slope[place], input[place], thresholds[j])
          if abs(value - threshold) < 0.5 * bandwidth { gradient[j] += threshold * above + weight }
          result[place] = value > threshold ? above : 0
        }
      }
      for j in columns { gradient[j] /= -bandwidth }
    }
  }

  package func addL1Gradient(
    of z: Floats, penalty: Floats, scale: Float, accumulatingInto g: Floats
  ) throws {
    _ = CodeShape(z, g)
    precondition(penalty.count == 1, "one penalty")
    let (code, gradient) = (z.shared, g.shared)
    let weight = penalty.pointer[0] * scale
    parallel(z.count, grain: 4096) { elements in
      for i in elements where code[i] > 0 { gradient[i] += weight }
    }
  }

  package func controlPenalty(rowL0: Floats, control: Floats, settings: PenaltyControl) throws {
    precondition(rowL0.count > 0 && control.count == 2, "\(rowL0.shape) into \(control.shape)")
    var sum: Float = 0
    for i in 0..<rowL0.count { sum += rowL0.pointer[i] }
    let e = min(1, max(-1, sum / Float(rowL0.count) / settings.target - 1))
    let integral = min(
      settings.upper, max(settings.lower, control.pointer[1] + settings.integralGain * e))
    control.pointer[1] = integral
    control.pointer[0] = exp(integral + settings.proportionalGain * e)
  }
}

/// z_j = a_j where it is positive and among the k largest, of equals the lowest index first;
/// 0 elsewhere.
///
/// Positive floats have the order of their bits, so that the k-th largest is found bit by bit.
/// - Returns: the least of what is kept, 0 where that is nothing.
@discardableResult
private func keepLargest(
  _ k: Int, of a: UnsafeMutablePointer<Float>, count: Int, into z: UnsafeMutablePointer<Float>
) -> Float {
  func key(_ j: Int) -> UInt32 { a[j] > 0 ? a[j].bitPattern : 0 }

  // The largest key that at least k entries reach: that of the k-th largest.
  var last: UInt32 = 0
  for bit in (0..<31).reversed() {
    let candidate = last | 1 << UInt32(bit)
    var reached = 0
    for j in 0..<count where key(j) >= candidate { reached += 1 }
    if reached >= k { last = candidate }
  }

  var equals = k
  for j in 0..<count where key(j) > last { equals -= 1 }
  var least = Float.infinity
  var keepsAny = false
  for j in 0..<count {
    let isLast = key(j) == last
    let kept = key(j) > 0 && (key(j) > last || (isLast && equals > 0))
    if isLast { equals -= 1 }
    z[j] = kept ? a[j] : 0
    if kept { (least, keepsAny) = (min(least, a[j]), true) }
  }
  return keepsAny ? least : 0
}
