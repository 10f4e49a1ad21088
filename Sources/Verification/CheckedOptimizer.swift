import Compute

extension CheckedBackend {
  package func momentumStep(
    parameters p: Floats, gradients g: Floats, velocity v: Floats, rate: Float, momentum: Float
  ) throws {
    let expected = Oracle.momentumStep(
      p: try host(p), g: try host(g), v: try host(v), rate: rate, momentum: momentum)
    try device.momentumStep(
      parameters: p.onDevice(), gradients: g.onDevice(), velocity: v.onDevice(), rate: rate,
      momentum: momentum)
    try oracle.momentumStep(
      parameters: p.onOracle(), gradients: g.onOracle(), velocity: v.onOracle(), rate: rate,
      momentum: momentum)
    try settle("momentumStep", [("p", p, expected[0]), ("v", v, expected[1])])
  }

  package func accumulateAverage(of p: Floats, decay: Float, into average: Floats) throws {
    let expected = Oracle.accumulateAverage(
      of: try host(p), decay: decay, average: try host(average))
    try device.accumulateAverage(of: p.onDevice(), decay: decay, into: average.onDevice())
    try oracle.accumulateAverage(of: p.onOracle(), decay: decay, into: average.onOracle())
    try settle("accumulateAverage", [("average", average, expected)])
  }

  package func clampBelow(_ p: Floats, bound: Float) throws {
    let expected = Oracle.clampBelow(try host(p), bound: bound)
    try device.clampBelow(p.onDevice(), bound: bound)
    try oracle.clampBelow(p.onOracle(), bound: bound)
    try settle("clampBelow", [("p", p, expected)])
  }

  package func clipNorm(of g: Floats, limit: Float, norm: Floats) throws {
    let expected = Oracle.clipNorm(of: try host(g), limit: limit)
    try device.clipNorm(of: g.onDevice(), limit: limit, norm: norm.onDevice())
    try oracle.clipNorm(of: g.onOracle(), limit: limit, norm: norm.onOracle())
    try settle("clipNorm", [("g", g, expected[0]), ("norm", norm, expected[1])])
  }

  package func normaliseRows(_ w: Floats) throws {
    let expected = Oracle.normaliseRows(try host(w), width: w.shape.rowCount)
    try device.normaliseRows(w.onDevice())
    try oracle.normaliseRows(w.onOracle())
    try settle("normaliseRows", [("w", w, expected)])
  }

  package func projectRows(_ g: Floats, orthogonalTo w: Floats) throws {
    let expected = Oracle.projectRows(
      try host(g), orthogonalTo: try host(w), width: w.shape.rowCount)
    try device.projectRows(g.onDevice(), orthogonalTo: w.onDevice())
    try oracle.projectRows(g.onOracle(), orthogonalTo: w.onOracle())
    try settle("projectRows", [("g", g, expected)])
  }

  package func addContractiveGradient(
    code z: Floats, weight w: Floats, unitsAreRows: Bool, scale: Float, accumulatingInto g: Floats,
    penalty: Floats
  ) throws {
    let expected = Oracle.addContractiveGradient(
      code: try host(z), weight: try host(w), unitsAreRows: unitsAreRows, scale: scale,
      gradient: try host(g), latents: z.shape.rowCount)
    try device.addContractiveGradient(
      code: z.onDevice(), weight: w.onDevice(), unitsAreRows: unitsAreRows, scale: scale,
      accumulatingInto: g.onDevice(), penalty: penalty.onDevice())
    try oracle.addContractiveGradient(
      code: z.onOracle(), weight: w.onOracle(), unitsAreRows: unitsAreRows, scale: scale,
      accumulatingInto: g.onOracle(), penalty: penalty.onOracle())
    try settle(
      "addContractiveGradient", [("g", g, expected[0]), ("penalty", penalty, expected[1])])
  }
}
