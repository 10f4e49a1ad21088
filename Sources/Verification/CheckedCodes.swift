import Compute

extension CheckedBackend {
  package func topK(_ a: Floats, k: Int, into z: Floats) throws {
    let expected = Oracle.topK(try host(a), k: k, batch: a.shape[0])
    try device.topK(a.onDevice(), k: k, into: z.onDevice())
    try oracle.topK(a.onOracle(), k: k, into: z.onOracle())
    try settle("topK", [("z", z, expected)])
  }

  package func batchTopK(_ a: Floats, k: Int, into z: Floats, threshold: Floats) throws {
    let expected = Oracle.batchTopK(try host(a), k: k, batch: a.shape[0])
    try device.batchTopK(
      a.onDevice(), k: k, into: z.onDevice(), threshold: threshold.onDevice())
    try oracle.batchTopK(
      a.onOracle(), k: k, into: z.onOracle(), threshold: threshold.onOracle())
    try settle("batchTopK", [("z", z, expected[0]), ("threshold", threshold, expected[1])])
  }

  package func jumpReLU(_ a: Floats, threshold theta: Floats, into z: Floats) throws {
    let expected = Oracle.jumpReLU(try host(a), threshold: try host(theta))
    try device.jumpReLU(a.onDevice(), threshold: theta.onDevice(), into: z.onDevice())
    try oracle.jumpReLU(a.onOracle(), threshold: theta.onOracle(), into: z.onOracle())
    try settle("jumpReLU", [("z", z, expected)])
  }

  package func jumpReLUBackward(
    _ g: Floats, preactivations a: Floats, threshold theta: Floats, bandwidth: Float,
    penalty: Floats, scale: Float, into da: Floats, thresholdGradient dtheta: Floats
  ) throws {
    let expected = Oracle.jumpReLUBackward(
      try host(g), a: try host(a), threshold: try host(theta), bandwidth: bandwidth,
      penalty: try host(penalty)[0], scale: scale)
    try device.jumpReLUBackward(
      g.onDevice(), preactivations: a.onDevice(), threshold: theta.onDevice(),
      bandwidth: bandwidth, penalty: penalty.onDevice(), scale: scale, into: da.onDevice(),
      thresholdGradient: dtheta.onDevice())
    try oracle.jumpReLUBackward(
      g.onOracle(), preactivations: a.onOracle(), threshold: theta.onOracle(),
      bandwidth: bandwidth, penalty: penalty.onOracle(), scale: scale, into: da.onOracle(),
      thresholdGradient: dtheta.onOracle())
    try settle("jumpReLUBackward", [("da", da, expected[0]), ("dtheta", dtheta, expected[1])])
  }

  package func hardConcrete(
    _ a: Floats, slope: Floats, offset: Floats, noise: GateNoise?, into z: Floats, rowL0: Floats
  ) throws {
    let expected = Oracle.hardConcrete(
      try host(a), slope: try host(slope), offset: try host(offset), noise: noise)
    try device.hardConcrete(
      a.onDevice(), slope: slope.onDevice(), offset: offset.onDevice(), noise: noise,
      into: z.onDevice(), rowL0: rowL0.onDevice())
    try oracle.hardConcrete(
      a.onOracle(), slope: slope.onOracle(), offset: offset.onOracle(), noise: noise,
      into: z.onOracle(), rowL0: rowL0.onOracle())
    try settle("hardConcrete", [("z", z, expected[0]), ("rowL0", rowL0, expected[1])])
  }

  package func hardConcreteBackward(
    _ g: Floats, preactivations a: Floats, slope: Floats, offset: Floats, noise: GateNoise,
    penalty: Floats, scale: Float, into da: Floats, slopeGradient: Floats, offsetGradient: Floats
  ) throws {
    let expected = Oracle.hardConcreteBackward(
      try host(g), a: try host(a), slope: try host(slope), offset: try host(offset), noise: noise,
      penalty: try host(penalty)[0], scale: scale)
    try device.hardConcreteBackward(
      g.onDevice(), preactivations: a.onDevice(), slope: slope.onDevice(),
      offset: offset.onDevice(), noise: noise, penalty: penalty.onDevice(), scale: scale,
      into: da.onDevice(), slopeGradient: slopeGradient.onDevice(),
      offsetGradient: offsetGradient.onDevice())
    try oracle.hardConcreteBackward(
      g.onOracle(), preactivations: a.onOracle(), slope: slope.onOracle(),
      offset: offset.onOracle(), noise: noise, penalty: penalty.onOracle(), scale: scale,
      into: da.onOracle(), slopeGradient: slopeGradient.onOracle(),
      offsetGradient: offsetGradient.onOracle())
    try settle(
      "hardConcreteBackward",
      [
        ("da", da, expected[0]), ("dslope", slopeGradient, expected[1]),
        ("doffset", offsetGradient, expected[2]),
      ])
  }

  package func addL1Gradient(
    of z: Floats, penalty: Floats, scale: Float, accumulatingInto g: Floats
  ) throws {
    let expected = Oracle.addL1Gradient(
      z: try host(z), penalty: try host(penalty)[0], scale: scale, g: try host(g))
    try device.addL1Gradient(
      of: z.onDevice(), penalty: penalty.onDevice(), scale: scale, accumulatingInto: g.onDevice())
    try oracle.addL1Gradient(
      of: z.onOracle(), penalty: penalty.onOracle(), scale: scale, accumulatingInto: g.onOracle())
    try settle("addL1Gradient", [("g", g, expected)])
  }

  package func controlPenalty(rowL0: Floats, control: Floats, settings: PenaltyControl) throws {
    let expected = Oracle.controlPenalty(
      rowL0: try host(rowL0), control: try host(control), settings: settings)
    try device.controlPenalty(
      rowL0: rowL0.onDevice(), control: control.onDevice(), settings: settings)
    try oracle.controlPenalty(
      rowL0: rowL0.onOracle(), control: control.onOracle(), settings: settings)
    try settle("controlPenalty", [("control", control, expected)])
  }
}
