import Compute
import OpenCLBackend
import ReferenceBackend
import TestSupport
import Testing
import Verification

@Suite(.usesDevice) struct OptimizerOperationTests {
  /// The reference, and the device with both layouts where there is one.
  private func onEveryBackend(_ body: (any Backend) throws -> Void) throws {
    try body(ReferenceBackend())
    guard let device = try TestDevice.find() else { return }
    for family in DeviceFamily.allCases {
      try body(try OpenCLBackend(device: device, family: family, tuning: .rule))
    }
  }

  // MARK: The contractive gradient

  /// A ReLU layer of which the Jacobian is differentiated: weights `[inputs, units]`.
  private struct Layer {
    let batch = 6
    let inputs = 4
    let units = 9
    let lambda = 0.3
    var x: [Double]
    var weights: [Double]
    var bias: [Double]

    init() {
      func wave(_ count: Int, _ phase: Double) -> [Double] {
        (0..<count).map { Double((($0 * 7919 + Int(phase * 1009)) % 2003) - 1001) / 1024 }
      }
      x = wave(batch * inputs, 1)
      weights = wave(inputs * units, 2)
      bias = wave(units, 3).map { $0 / 4 }
    }

    func activation(_ sample: Int, _ unit: Int) -> Double {
      (0..<inputs).reduce(bias[unit]) {
        $0 + x[sample * inputs + $1] * weights[$1 * units + unit]
      }
    }

    /// lambda times the mean over the samples of ||dz/dx||_F^2, entry by entry of the Jacobian.
    var penalty: Double {
      var sum = 0.0
      for sample in 0..<batch {
        for unit in 0..<units where activation(sample, unit) > 0 {
          for input in 0..<inputs {
            let slope = weights[input * units + unit]
            sum += slope * slope
          }
        }
      }
      return lambda * sum / Double(batch)
    }
  }

  @Test(arguments: [true, false])
  func contractiveGradientIsThatOfTheJacobiansNorm(unitsAreRows: Bool) throws {
    let layer = Layer()
    let (batch, inputs, units) = (layer.batch, layer.inputs, layer.units)
    var active = 0
    let z = (0..<batch * units).map { index -> Float in
      let a = layer.activation(index / units, index % units)
      // Far from the kink, where the penalty jumps.
      #expect(abs(a) > 1e-3)
      if a > 0 { active += 1 }
      return Float(max(0, a))
    }
    #expect(active > 10 && active < batch * units - 10)

    let step = 1e-4
    let slopes = layer.weights.indices.map { index -> Double in
      var (below, above) = (layer, layer)
      below.weights[index] -= step
      above.weights[index] += step
      return (above.penalty - below.penalty) / (2 * step)
    }
    func arranged(_ values: [Double]) -> [Float] {
      unitsAreRows
        ? (0..<units * inputs).map { Float(values[$0 % inputs * units + $0 / inputs]) }
        : values.map { Float($0) }
    }

    try onEveryBackend { backend in
      func check<B: Backend>(_ backend: B) throws {
        let shape: Shape = unitsAreRows ? [units, inputs] : [inputs, units]
        let code = try backend.allocate([batch, units], of: Float.self)
        let weight = try backend.allocate(shape, of: Float.self)
        let gradient = try backend.allocate(shape, of: Float.self)
        let penalty = try backend.allocate([1], of: Float.self)
        try backend.upload(z, into: code)
        try backend.upload(arranged(layer.weights), into: weight)
        try backend.fill(gradient, with: 1)
        try backend.addContractiveGradient(
          code: code, weight: weight, unitsAreRows: unitsAreRows,
          scale: Float(2 * layer.lambda / Double(batch)), accumulatingInto: gradient,
          penalty: penalty)
        for (got, wanted) in zip(try backend.download(gradient), arranged(slopes)) {
          #expect(abs(got - 1 - wanted) < 2e-6, "\(backend.name)")
        }
        let value = try Double(backend.download(penalty)[0]) * layer.lambda / Double(batch)
        #expect(abs(value - layer.penalty) < 1e-6 * layer.penalty, "\(backend.name)")
      }
      try check(backend)
    }
  }

  // MARK: Clipping

  /// A gradient beyond the limit keeps its direction and gets the limit's norm; one within keeps
  /// its bits; the norm reported is the one from before.
  @Test func clippingKeepsTheDirection() throws {
    try onEveryBackend { backend in
      func check<B: Backend>(_ backend: B) throws {
        let g = try backend.filled([30_011], seed: 5)
        let norm = try backend.allocate([1], of: Float.self)
        let before = try backend.download(g)
        let length = before.reduce(0.0) { $0 + Double($1) * Double($1) }.squareRoot()

        try backend.clipNorm(of: g, limit: Float(length) * 1.001, norm: norm)
        #expect(try backend.download(g) == before)
        #expect(abs(try Double(backend.download(norm)[0]) / length - 1) < 1e-6)

        try backend.clipNorm(of: g, limit: 3, norm: norm)
        #expect(abs(try Double(backend.download(norm)[0]) / length - 1) < 1e-6)
        let after = try backend.download(g)
        let clipped = after.reduce(0.0) { $0 + Double($1) * Double($1) }.squareRoot()
        #expect(abs(clipped / 3 - 1) < 1e-6)
        let product = zip(before, after).reduce(0.0) { $0 + Double($1.0) * Double($1.1) }
        #expect(abs(product / (length * clipped) - 1) < 1e-6)

        // Where the norm cannot be told, the gradient is left for the caller to see.
        try backend.upload([.infinity] + before.dropFirst(), into: g)
        try backend.clipNorm(of: g, limit: 3, norm: norm)
        #expect(try backend.download(norm) == [.infinity])
        #expect(try backend.download(g) == [.infinity] + before.dropFirst())
        try backend.upload([.nan] + before.dropFirst(), into: g)
        try backend.clipNorm(of: g, limit: 3, norm: norm)
        #expect(try backend.download(norm)[0].isNaN)
        #expect(try backend.download(g).dropFirst() == before.dropFirst())
      }
      try check(backend)
    }
  }

  // MARK: Rows

  /// What is left of a gradient is orthogonal to unit rows, and a small step along it leaves their
  /// norm.
  @Test func projectedGradientsMoveAlongTheSphere() throws {
    try onEveryBackend { backend in
      func check<B: Backend>(_ backend: B) throws {
        let w = try backend.filled([7, 301], seed: 1)
        let g = try backend.filled([7, 301], seed: 2)
        try backend.normaliseRows(w)
        try backend.projectRows(g, orthogonalTo: w)
        let (weights, slopes) = (try backend.download(w), try backend.download(g))
        for row in 0..<7 {
          let range = row * 301..<(row + 1) * 301
          let square = range.reduce(0.0) { $0 + Double(weights[$1]) * Double(weights[$1]) }
          let along = range.reduce(0.0) { $0 + Double(weights[$1]) * Double(slopes[$1]) }
          #expect(abs(square - 1) < 1e-6 && abs(along) < 1e-5, "\(backend.name)")
        }
      }
      try check(backend)
    }
  }

  // MARK: Checking

  private static let operations = [
    "momentumStep", "accumulateAverage", "clampBelow", "clipNorm", "normaliseRows", "projectRows",
    "addContractiveGradient", "gather",
  ]

  private func everyOperation<B: Backend>(on backend: B) throws {
    let w = try backend.filled([5, 6], seed: 1)
    let g = try backend.filled([5, 6], seed: 2)
    let v = try backend.filled([5, 6], seed: 3)
    let z = try backend.filled([4, 5], seed: 4)
    let norm = try backend.allocate([1], of: Float.self)
    try backend.clampBelow(z, bound: 0)
    try backend.addContractiveGradient(
      code: z, weight: w, unitsAreRows: true, scale: 0.1, accumulatingInto: g, penalty: norm)
    try backend.clipNorm(of: g, limit: 0.5, norm: norm)
    try backend.projectRows(g, orthogonalTo: w)
    try backend.momentumStep(parameters: w, gradients: g, velocity: v, rate: 0.1, momentum: 0.9)
    try backend.normaliseRows(w)
    try backend.accumulateAverage(of: w, decay: 0.9, into: v)
    let pixels = try backend.allocate([3, 6], of: UInt8.self)
    try backend.upload((0..<18).map { UInt8($0 * 14) }, into: pixels)
    let order = try backend.allocate([5], of: UInt32.self)
    try backend.upload([2, 0, 1, 1, 2], into: order)
    let mean = try backend.filled([6], seed: 6)
    try backend.gather(
      pixels, order: order, start: 0, scale: 1 / 255, shift: -0.1, mean: mean, into: g)
  }

  @Test func twoRightBackendsAgree() throws {
    let checked = CheckedBackend(
      device: ReferenceBackend(threads: 1), oracle: ReferenceBackend(threads: 2))
    try everyOperation(on: checked)
    #expect(Set(Self.operations).isSubset(of: checked.comparisons.map(\.operation)))
  }

  @Test(arguments: operations) func aWrongOperationIsNamed(operation: String) throws {
    let checked = CheckedBackend(
      device: FlawedBackend(flaw: operation), oracle: ReferenceBackend())
    let error = #expect(throws: BackendError.self) { try everyOperation(on: checked) }
    #expect("\(try #require(error))".hasPrefix("\(operation) differs from the reference"))
  }
}

extension FlawedBackend {
  func momentumStep(
    parameters p: Floats, gradients g: Floats, velocity v: Floats, rate: Float, momentum: Float
  ) throws {
    try right.momentumStep(
      parameters: p, gradients: g, velocity: v, rate: rate, momentum: momentum)
    try spoil("momentumStep", v)
  }
  func accumulateAverage(of p: Floats, decay: Float, into average: Floats) throws {
    try right.accumulateAverage(of: p, decay: decay, into: average)
    try spoil("accumulateAverage", average)
  }
  func clampBelow(_ p: Floats, bound: Float) throws {
    try right.clampBelow(p, bound: bound)
    try spoil("clampBelow", p)
  }
  func clipNorm(of g: Floats, limit: Float, norm: Floats) throws {
    try right.clipNorm(of: g, limit: limit, norm: norm)
    try spoil("clipNorm", norm)
  }
  func normaliseRows(_ w: Floats) throws {
    try right.normaliseRows(w)
    try spoil("normaliseRows", w)
  }
  func projectRows(_ g: Floats, orthogonalTo w: Floats) throws {
    try right.projectRows(g, orthogonalTo: w)
    try spoil("projectRows", g)
  }
  func addContractiveGradient(
    code z: Floats, weight w: Floats, unitsAreRows: Bool, scale: Float, accumulatingInto g: Floats,
    penalty: Floats
  ) throws {
    try right.addContractiveGradient(
      code: z, weight: w, unitsAreRows: unitsAreRows, scale: scale, accumulatingInto: g,
      penalty: penalty)
    try spoil("addContractiveGradient", penalty)
  }
}
