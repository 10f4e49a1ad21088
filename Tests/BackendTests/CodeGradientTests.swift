import Compute
import Foundation
import OpenCLBackend
import ReferenceBackend
import TestSupport
import Testing
import Verification

/// The code layers' backward operations against differences of what they differentiate.
@Suite(.usesDevice) struct CodeGradientTests {
  /// Runs the check on the reference and, where there is one, on the device in both layouts.
  private func onEveryBackend(_ check: some GradientCheck) throws {
    try check.run(on: ReferenceBackend())
    guard let device = try TestDevice.find() else { return }
    for family in DeviceFamily.allCases {
      try check.run(on: OpenCLBackend(device: device, family: family, tuning: .rule))
    }
  }

  @Test(arguments: [false, true]) func topKByDifferences(wholeBatch: Bool) throws {
    try onEveryBackend(SelectionGradient(wholeBatch: wholeBatch))
  }

  @Test func jumpReLUByDifferences() throws { try onEveryBackend(JumpGradient()) }

  @Test func hardConcreteByDifferences() throws { try onEveryBackend(GateGradient()) }

  @Test func thresholdGradientIsThatOfTheSmoothedObjective() throws {
    try onEveryBackend(SmoothedThreshold())
  }

  @Test func thresholdGradientApproachesThatOfTheExpectedLoss() throws {
    try onEveryBackend(ExpectedThreshold())
  }

  @Test func penaltiesHaveGradients() throws { try onEveryBackend(PenaltyGradient()) }
}

private protocol GradientCheck {
  func run<B: Backend>(on backend: B) throws
}

extension Backend {
  fileprivate func tensor(_ values: [Float], _ shape: Shape) throws -> Floats {
    let tensor = try allocate(shape, of: Float.self)
    try upload(values, into: tensor)
    return tensor
  }
}

/// The step of all differences: exact in single precision beside the values used here.
private let step: Float = 0x1p-10

/// (f(x + step) - f(x - step)) / (2 step) for the entry `index` of `values`.
private func difference(
  _ values: [Float], _ index: Int, _ f: ([Float]) -> Double
) -> Double {
  var (above, below) = (values, values)
  above[index] += step
  below[index] -= step
  return (f(above) - f(below)) / (Double(above[index]) - Double(below[index]))
}

private func isClose(_ x: Double, _ y: Double, _ tolerance: Double) -> Bool {
  abs(x - y) <= tolerance * max(1, abs(y))
}

private func dot(_ g: [Float], _ z: [Double]) -> Double {
  zip(g, z).reduce(0) { $0 + Double($1.0) * $1.1 }
}

/// Multiples of 1/64 in a fixed disorder, no two alike: no step exchanges their order.
private func distinct(_ count: Int, shift: Int) -> [Float] {
  (0..<count).map { Float(($0 * 37 + 11) % count - shift) / 64 }
}

/// TopK and BatchTopK with the backward that the products' epilogue applies.
private struct SelectionGradient: GradientCheck {
  let wholeBatch: Bool

  func run<B: Backend>(on backend: B) throws {
    let (batch, latents, k) = (6, 9, 3)
    // Shifted so that some rows have fewer than k entries above 0.
    let a = distinct(batch * latents, shift: 35).map { $0 == 0 ? -0.5 : $0 }
    let g = try backend.filled([batch, latents], seed: 5)
    let z = try backend.allocate([batch, latents], of: Float.self)
    if wholeBatch {
      let threshold = try backend.allocate([1], of: Float.self)
      try backend.batchTopK(backend.tensor(a, z.shape), k: k, into: z, threshold: threshold)
    } else {
      try backend.topK(backend.tensor(a, z.shape), k: k, into: z)
    }
    let one = try backend.tensor(
      (0..<latents * latents).map { $0 % (latents + 1) == 0 ? 1 : 0 }, [latents, latents])
    let da = try backend.allocate(z.shape, of: Float.self)
    try backend.matmul(
      MatrixOperand(g), MatrixOperand(one), into: da, epilogue: .derivative(of: .relu, at: z))

    let slopes = try backend.download(g)
    for (index, got) in try backend.download(da).enumerated() {
      let wanted = difference(a, index) { values in
        dot(
          slopes,
          wholeBatch
            ? Oracle.batchTopK(values, k: k, batch: batch)[0].values
            : Oracle.topK(values, k: k, batch: batch).values)
      }
      #expect(isClose(Double(got), wanted, 1e-6), "\(backend.name): da[\(index)]")
    }
  }
}

/// JumpReLU's da away from the jump.
private struct JumpGradient: GradientCheck {
  func run<B: Backend>(on backend: B) throws {
    let (batch, latents) = (5, 9)
    let a = distinct(batch * latents, shift: 9)
    let theta = (0..<latents).map { Float($0) / 32 + 1 / 128 }
    let g = try backend.filled([batch, latents], seed: 6)
    let da = try backend.allocate([batch, latents], of: Float.self)
    try backend.jumpReLUBackward(
      g, preactivations: backend.tensor(a, da.shape), threshold: backend.tensor(theta, [latents]),
      bandwidth: 0.1, penalty: backend.tensor([0.3], [1]), scale: 1, into: da,
      thresholdGradient: backend.allocate([latents], of: Float.self))
    let slopes = try backend.download(g)
    for (index, got) in try backend.download(da).enumerated() {
      let wanted = difference(a, index) {
        dot(slopes, Oracle.jumpReLU($0, threshold: theta).values)
      }
      #expect(isClose(Double(got), wanted, 1e-6), "\(backend.name): da[\(index)]")
    }
  }
}

/// Hard concrete gates at fixed noise, and their expected L0.
private struct GateGradient: GradientCheck {
  func run<B: Backend>(on backend: B) throws {
    let (batch, latents) = (7, 13)
    let noise = GateNoise(key: 99)
    let (penalty, scale): (Float, Float) = (0.75, 0.5)
    let a = distinct(batch * latents, shift: 30).map { $0 == 0 ? 1 / 32 : $0 }
    let slope = (0..<latents).map { Float($0 % 5) - 1.5 }
    let offset = (0..<latents).map { Float($0 % 4) - 1.25 }
    let g = try backend.filled([batch, latents], seed: 7)
    let da = try backend.allocate([batch, latents], of: Float.self)
    let dSlope = try backend.allocate([latents], of: Float.self)
    let dOffset = try backend.allocate([latents], of: Float.self)
    try backend.hardConcreteBackward(
      g, preactivations: backend.tensor(a, da.shape), slope: backend.tensor(slope, [latents]),
      offset: backend.tensor(offset, [latents]), noise: noise,
      penalty: backend.tensor([penalty], [1]), scale: scale, into: da, slopeGradient: dSlope,
      offsetGradient: dOffset)

    let slopes = try backend.download(g)
    func objective(_ a: [Float], _ slope: [Float], _ offset: [Float]) -> Double {
      let z = Oracle.hardConcrete(a, slope: slope, offset: offset, noise: noise)[0].values
      var open = 0.0
      for (place, value) in a.enumerated() where value > 0 {
        let logAlpha =
          Double(slope[place % latents]) * Double(value) + Double(offset[place % latents])
        open += 1 / (1 + exp(-(logAlpha - 2.0 / 3 * log(0.1 / 1.1))))
      }
      return dot(slopes, z) + Double(penalty) * Double(scale) * open
    }

    /// Whether no gate of the column begins or ends to be clipped between the two ends.
    func isSmooth(_ column: Int, _ ends: [(a: [Float], slope: [Float], offset: [Float])]) -> Bool {
      let states = ends.map { end in
        let z = Oracle.hardConcrete(end.a, slope: end.slope, offset: end.offset, noise: noise)
        return stride(from: column, to: z[0].values.count, by: latents).map { place in
          let value = max(Double(end.a[place]), 0)
          return z[0].values[place] <= 0 ? 0 : z[0].values[place] >= value ? 2 : 1
        }
      }
      return states.allSatisfy { $0 == states[0] }
    }
    func moved(_ values: [Float], _ index: Int, _ distance: Float) -> [Float] {
      var values = values
      values[index] += distance
      return values
    }

    var checked = 0
    for (index, got) in try backend.download(da).enumerated() {
      let ends = [-step, step].map { (moved(a, index, $0), slope, offset) }
      guard isSmooth(index % latents, ends) else { continue }
      checked += 1
      let wanted = difference(a, index) { objective($0, slope, offset) }
      #expect(isClose(Double(got), wanted, 1e-4), "\(backend.name): da[\(index)] \(got) \(wanted)")
    }
    for (index, got) in try backend.download(dSlope).enumerated() {
      let ends = [-step, step].map { (a, moved(slope, index, $0), offset) }
      guard isSmooth(index, ends) else { continue }
      checked += 1
      let wanted = difference(slope, index) { objective(a, $0, offset) }
      #expect(isClose(Double(got), wanted, 1e-4), "\(backend.name): dslope[\(index)]")
    }
    for (index, got) in try backend.download(dOffset).enumerated() {
      let ends = [-step, step].map { (a, slope, moved(offset, index, $0)) }
      guard isSmooth(index, ends) else { continue }
      checked += 1
      let wanted = difference(offset, index) { objective(a, slope, $0) }
      #expect(isClose(Double(got), wanted, 1e-4), "\(backend.name): doffset[\(index)]")
    }
    #expect(checked > batch * latents)
  }
}

/// dtheta is the exact derivative of the objective whose step is smoothed by the kernel,
///
///     sum over i of (g a_i + w) S((a_i - theta) / bandwidth),  S(t) = min(1, max(0, t + 1/2)),
///
/// which is the expectation of the objective under a uniform jitter of theta as wide as the
/// bandwidth, where g is the same for all and the a_i within the kernel lie evenly about theta: its
/// derivative has a_i in the place of the estimate's theta, and their mean there is theta.
private struct SmoothedThreshold: GradientCheck {
  func run<B: Backend>(on backend: B) throws {
    let (batch, latents) = (4096, 9)
    let spacing: Float = 1 / 1024
    let (bandwidth, g): (Float, Float) = (0.25, 0.75)
    let (penalty, scale): (Float, Float) = (0.5, 0.125)
    let a = (0..<batch).map { (Float($0) + 0.5) * spacing - 1 }
    let theta = (0..<latents).map { Float($0 + 2) / 8 }
    let slopes = try backend.allocate([batch, latents], of: Float.self)
    try backend.fill(slopes, with: g)
    let dtheta = try backend.allocate([latents], of: Float.self)
    try backend.jumpReLUBackward(
      slopes,
      preactivations: backend.tensor(
        (0..<batch * latents).map { a[$0 / latents] }, [batch, latents]),
      threshold: backend.tensor(theta, [latents]), bandwidth: bandwidth,
      penalty: backend.tensor([penalty], [1]), scale: scale, into: slopes,
      thresholdGradient: dtheta)

    for (index, got) in try backend.download(dtheta).enumerated() {
      let wanted = difference(theta, index) { theta in
        a.reduce(0.0) { sum, value in
          let t = (Double(value) - Double(theta[index])) / Double(bandwidth)
          let gain = Double(g) * Double(value) + Double(penalty) * Double(scale)
          return sum + gain * min(1, max(0, t + 0.5))
        }
      }
      #expect(
        isClose(Double(got), wanted, 1e-4), "\(backend.name): dtheta[\(index)] \(got) \(wanted)")
    }
  }
}

/// As the bandwidth shrinks, dtheta approaches the derivative of the expected loss with its true
/// step, for a quadratic loss r and any smooth density p of a:
///
///     d/dtheta E[r(z) + w [a > theta]] = -p(theta) (r(theta) - r(0) + w)
///
/// Half of the kernel sees r'(0), half r'(theta), and theta times their mean is r(theta) - r(0).
private struct ExpectedThreshold: GradientCheck {
  func run<B: Backend>(on backend: B) throws {
    let batch = 1 << 17
    let (theta, target, curvature, weight) = (0.5, 0.9, 3.0, 0.05)
    // The density 2 a on (0, 1), drawn evenly.
    let a = (0..<batch).map { Float(((Double($0) + 0.5) / Double(batch)).squareRoot()) }
    let g = a.map { value in
      let z = Double(value) > theta ? Double(value) : 0
      return Float(curvature * (z - target) / Double(batch))
    }
    let loss = { (z: Double) in curvature / 2 * (z - target) * (z - target) }
    let wanted = -2 * theta * (loss(theta) - loss(0) + weight)

    var errors: [Double] = []
    for bandwidth: Float in [0.16, 0.08, 0.04, 0.02] {
      let dtheta = try backend.allocate([1], of: Float.self)
      try backend.jumpReLUBackward(
        backend.tensor(g, [batch, 1]), preactivations: backend.tensor(a, [batch, 1]),
        threshold: backend.tensor([Float(theta)], [1]), bandwidth: bandwidth,
        penalty: backend.tensor([Float(weight)], [1]), scale: 1 / Float(batch),
        into: backend.allocate([batch, 1], of: Float.self), thresholdGradient: dtheta)
      errors.append(abs(Double(try backend.download(dtheta)[0]) - wanted))
    }
    #expect(errors[3] < 0.02 * abs(wanted), "\(backend.name): \(errors), wanted \(wanted)")
    for (wide, narrow) in zip(errors, errors.dropFirst()) {
      #expect(narrow < 0.6 * wide, "\(backend.name): \(errors)")
    }
  }
}

/// With nothing else to lose, each penalty alone must raise thresholds, shut gates and shrink codes
/// by just its own derivative.
private struct PenaltyGradient: GradientCheck {
  func run<B: Backend>(on backend: B) throws {
    let (batch, latents) = (64, 1)
    let (weight, scale): (Float, Float) = (0.5, 0.25)
    let penalty = try backend.tensor([weight], [1])
    let a = (0..<batch).map { (Float($0) + 0.5) / 32 - 0.5 }
    let values = try backend.tensor(a, [batch, latents])
    let zeros = try backend.tensor([Float](repeating: 0, count: batch), [batch, latents])
    let da = try backend.allocate([batch, latents], of: Float.self)
    let (first, second) = (
      try backend.allocate([1], of: Float.self), try backend.allocate([1], of: Float.self)
    )

    try backend.jumpReLUBackward(
      zeros, preactivations: values, threshold: backend.tensor([0.5], [1]), bandwidth: 0.25,
      penalty: penalty, scale: scale, into: da, thresholdGradient: first)
    // The density is 32 to the unit: w scale L0 falls by 32 w scale for each unit of theta.
    #expect(try backend.download(first) == [-32 * weight * scale], "\(backend.name)")

    let (slope, offset): (Float, Float) = (1.5, -0.5)
    try backend.hardConcreteBackward(
      zeros, preactivations: values, slope: backend.tensor([slope], [1]),
      offset: backend.tensor([offset], [1]), noise: GateNoise(key: 3), penalty: penalty,
      scale: scale, into: da, slopeGradient: first, offsetGradient: second)
    func expectedL0(_ a: [Float], _ slope: Float, _ offset: Float) -> Double {
      a.reduce(0) { sum, value in
        let logAlpha = Double(slope) * Double(value) + Double(offset)
        return value > 0
          ? sum + Double(weight * scale) / (1 + exp(-(logAlpha - 2.0 / 3 * log(0.1 / 1.1)))) : sum
      }
    }
    let bySlope = difference([slope], 0) { expectedL0(a, $0[0], offset) }
    let byOffset = difference([offset], 0) { expectedL0(a, slope, $0[0]) }
    #expect(isClose(Double(try backend.download(first)[0]), bySlope, 1e-4) && bySlope > 0.1)
    #expect(isClose(Double(try backend.download(second)[0]), byOffset, 1e-4) && byOffset > 0.1)
    for (index, got) in try backend.download(da).enumerated() {
      let wanted = difference(a, index) { expectedL0($0, slope, offset) }
      #expect(isClose(Double(got), wanted, 1e-4), "\(backend.name): da[\(index)]")
    }

    let z = try backend.allocate([batch, latents], of: Float.self)
    try backend.jumpReLU(values, threshold: backend.tensor([0.5], [1]), into: z)
    try backend.addL1Gradient(of: z, penalty: penalty, scale: scale, accumulatingInto: zeros)
    #expect(try backend.download(zeros) == a.map { $0 > 0.5 ? weight * scale : 0 })
  }
}
