import Compute
import ReferenceBackend
import Testing
import Verification

@Suite struct CheckedCodesTests {
  @Test func twoRightBackendsPass() throws {
    let checked = CheckedBackend(
      device: ReferenceBackend(threads: 1), oracle: ReferenceBackend(threads: 2))
    try everyCode(on: checked)
    // The eight and `fill`.
    #expect(checked.comparisons.count == 9)
    #expect(checked.comparisons.allSatisfy { $0.comparison.worstRatio <= 1 })
  }

  /// A slight error in any one operation is found and named.
  @Test(
    arguments: [
      "topK", "batchTopK", "jumpReLU", "jumpReLUBackward", "hardConcrete", "hardConcreteBackward",
      "addL1Gradient", "controlPenalty",
    ])
  func aWrongOperationIsNamed(operation: String) throws {
    let checked = CheckedBackend(
      device: FlawedBackend(flaw: operation), oracle: ReferenceBackend())
    let error = #expect(throws: BackendError.self) { try everyCode(on: checked) }
    #expect("\(try #require(error))".hasPrefix("\(operation) differs from the reference"))
  }

  private func everyCode<B: Backend>(on backend: B) throws {
    let a = try backend.filled([4, 6], seed: 1)
    let g = try backend.filled([4, 6], seed: 2)
    let z = try backend.allocate([4, 6], of: Float.self)
    let theta = try backend.allocate([6], of: Float.self)
    try backend.fill(theta, with: 0.25)
    let penalty = try backend.allocate([2], of: Float.self)
    try backend.fill(penalty, with: 0.5)
    let weight = penalty.view(at: 0, shape: [1])
    let sums = try backend.allocate([6], of: Float.self)
    let others = try backend.allocate([6], of: Float.self)
    let counts = try backend.allocate([4], of: Float.self)
    try backend.topK(a, k: 2, into: z)
    try backend.batchTopK(a, k: 2, into: z, threshold: sums.view(at: 0, shape: [1]))
    try backend.jumpReLU(a, threshold: theta, into: z)
    try backend.jumpReLUBackward(
      g, preactivations: a, threshold: theta, bandwidth: 0.5, penalty: weight, scale: 1, into: g,
      thresholdGradient: sums)
    let noise = GateNoise(key: 7)
    try backend.hardConcrete(a, slope: sums, offset: theta, noise: noise, into: z, rowL0: counts)
    try backend.hardConcreteBackward(
      g, preactivations: a, slope: theta, offset: theta, noise: noise, penalty: weight, scale: 1,
      into: g, slopeGradient: sums, offsetGradient: others)
    try backend.addL1Gradient(of: z, penalty: weight, scale: 1, accumulatingInto: g)
    try backend.controlPenalty(
      rowL0: counts, control: penalty,
      settings: PenaltyControl(
        target: 2, proportionalGain: 0.5, integralGain: 0.1, lower: -9, upper: 9))
  }
}

extension FlawedBackend {
  func topK(_ a: Floats, k: Int, into z: Floats) throws {
    try right.topK(a, k: k, into: z)
    try spoil("topK", z)
  }

  func batchTopK(_ a: Floats, k: Int, into z: Floats, threshold: Floats) throws {
    try right.batchTopK(a, k: k, into: z, threshold: threshold)
    try spoil("batchTopK", threshold)
  }

  func jumpReLU(_ a: Floats, threshold theta: Floats, into z: Floats) throws {
    try right.jumpReLU(a, threshold: theta, into: z)
    try spoil("jumpReLU", z)
  }

  func jumpReLUBackward(
    _ g: Floats, preactivations a: Floats, threshold theta: Floats, bandwidth: Float,
    penalty: Floats, scale: Float, into da: Floats, thresholdGradient dtheta: Floats
  ) throws {
    try right.jumpReLUBackward(
      g, preactivations: a, threshold: theta, bandwidth: bandwidth, penalty: penalty, scale: scale,
      into: da, thresholdGradient: dtheta)
    try spoil("jumpReLUBackward", dtheta)
  }

  func hardConcrete(
    _ a: Floats, slope: Floats, offset: Floats, noise: GateNoise?, into z: Floats, rowL0: Floats
  ) throws {
    try right.hardConcrete(a, slope: slope, offset: offset, noise: noise, into: z, rowL0: rowL0)
    try spoil("hardConcrete", z)
  }

  func hardConcreteBackward(
    _ g: Floats, preactivations a: Floats, slope: Floats, offset: Floats, noise: GateNoise,
    penalty: Floats, scale: Float, into da: Floats, slopeGradient: Floats, offsetGradient: Floats
  ) throws {
    try right.hardConcreteBackward(
      g, preactivations: a, slope: slope, offset: offset, noise: noise, penalty: penalty,
      scale: scale, into: da, slopeGradient: slopeGradient, offsetGradient: offsetGradient)
    try spoil("hardConcreteBackward", offsetGradient)
  }

  func addL1Gradient(
    of z: Floats, penalty: Floats, scale: Float, accumulatingInto g: Floats
  ) throws {
    try right.addL1Gradient(of: z, penalty: penalty, scale: scale, accumulatingInto: g)
    try spoil("addL1Gradient", g)
  }

  func controlPenalty(rowL0: Floats, control: Floats, settings: PenaltyControl) throws {
    try right.controlPenalty(rowL0: rowL0, control: control, settings: settings)
    try spoil("controlPenalty", control)
  }
}
