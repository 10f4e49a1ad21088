import Compute

struct MatmulCase: OperationCase {
  enum Epilogue: Sendable, CustomStringConvertible {
    case none, columnSums
    case bias(Activation)
    case derivative(Activation)

    var description: String {
      switch self {
      case .none: ""
      case .columnSums: " + column sums"
      case .bias(let activation): " + bias, \(activation)"
      case .derivative(let activation): " * derivative of \(activation)"
      }
    }
  }

  let shape: MatmulShape
  let epilogue: Epilogue
  let tier: Tier

  var operation: String { "matmul" }
  var label: String { "\(shape)\(epilogue)" }

  func run<B: Backend>(on bench: TestBench<B>) throws {
    var inputs = Inputs("\(label) \(tier)")
    let (m, n, k) = (shape.m, shape.n, shape.k)
    let (aValues, bValues) = (inputs.values(m * k, tier), inputs.values(k * n, tier))
    let a = MatrixOperand(
      try bench.input(aValues, shape.transposeA ? [k, m] : [m, k], name: "A"),
      transposed: shape.transposeA)
    let b = MatrixOperand(
      try bench.input(bValues, shape.transposeB ? [n, k] : [k, n], name: "B"),
      transposed: shape.transposeB)
    let c = try bench.output([m, n], name: "C")

    let expected: [Expectation]
    switch epilogue {
    case .none:
      try bench.backend.matmul(a, b, into: c, epilogue: .none)
      expected = Oracle.matmul(shape, aValues, bValues, epilogue: .none)
    case .columnSums:
      let sums = try bench.output([n], name: "sums")
      try bench.backend.matmul(a, b, into: c, epilogue: .columnSums(into: sums))
      expected = Oracle.matmul(shape, aValues, bValues, epilogue: .columnSums)
      try bench.expect("sums", sums, tier == .exact ? expected[1].exact() : expected[1])
    case .bias(let activation):
      let bias = inputs.values(n, tier)
      let tensor = try bench.input(bias, [n], name: "bias")
      try bench.backend.matmul(a, b, into: c, epilogue: .bias(tensor, activation))
      expected = Oracle.matmul(shape, aValues, bValues, epilogue: .bias(bias, activation))
    case .derivative(let activation):
      let y =
        activation == .identity || activation == .relu
        ? inputs.integers(m * n, limit: 2) : inputs.fractions(m * n)
      let tensor = try bench.input(y, [m, n], name: "y")
      try bench.backend.matmul(a, b, into: c, epilogue: .derivative(of: activation, at: tensor))
      expected = Oracle.matmul(
        shape, aValues, bValues, epilogue: .derivative(of: activation, at: y))
    }
    try bench.expect("C", c, tier == .exact ? expected[0].exact() : expected[0])
  }
}

/// Activations at the ends of their range: a product with the 1x1 unit matrix passes them through.
struct SaturationCase: OperationCase {
  let operation = "matmul"
  let label = "activations at extreme arguments"
  let tier = Tier.bound

  func run<B: Backend>(on bench: TestBench<B>) throws {
    let arguments: [Float] = [
      0, -0.0, 1e-30, -1e-30, 1e-4, -1e-4, 0.1, -0.1, 0.6, -0.7, 1, -1, 5, -5, 10, -10, 20, -20,
      50, -50, 87, -87, 88.5, -88.5, 100, -100, 1000, -1000, 1e30, -1e30, .infinity, -.infinity,
      .nan,
    ]
    let x = try bench.input([Float](arguments), [arguments.count, 1], name: "x", comparing: false)
    let one = try bench.input([1 as Float], [1, 1], name: "one")
    let zero = try bench.input([0 as Float], [1], name: "zero")
    for activation in Activation.allCases {
      let y = try bench.output([arguments.count, 1], name: activation.rawValue)
      try bench.backend.matmul(
        MatrixOperand(x), MatrixOperand(one), into: y, epilogue: .bias(zero, activation))
      let wanted = arguments.map { Oracle.value(activation, Double($0)) }
      try bench.expect(
        activation.rawValue, y,
        Expectation(
          values: wanted,
          bounds: wanted.map { abs($0) * 6 * unitRoundoff + 0x1p-125 }))
    }
  }
}

struct ColumnSumsCase: OperationCase {
  let rows: Int
  let width: Int
  let tier: Tier

  var operation: String { "columnSums" }
  var label: String { "\(rows)x\(width)" }

  func run<B: Backend>(on bench: TestBench<B>) throws {
    var inputs = Inputs("sums \(label) \(tier)")
    let values = inputs.values(rows * width, tier)
    let x = try bench.input(values, [rows, width], name: "x")
    let sums = try bench.output([width], name: "s")
    try bench.backend.columnSums(of: x, into: sums)
    let expected = Oracle.columnSums(values, rows: rows, width: width)
    try bench.expect("s", sums, tier == .exact ? expected.exact() : expected)
  }
}

struct LossCase: OperationCase {
  let batch: Int
  let width: Int
  let latents: Int
  let activation: Activation
  let tier: Tier

  var operation: String { "reconstructionLoss" }
  var label: String { "\(batch)x\(width), \(latents) latents, \(activation)" }

  func run<B: Backend>(on bench: TestBench<B>) throws {
    var inputs = Inputs("loss \(label) \(tier)")
    let (y, x) =
      tier == .exact
      ? (inputs.integers(batch * width), inputs.integers(batch * width))
      : (inputs.fractions(batch * width), inputs.fractions(batch * width))
    let z = inputs.code(batch * latents)
    let scale: Float = tier == .exact ? 0.25 : 2 / Float(batch * width)
    let gradient = try bench.output([batch, width], name: "gradient")
    let rowError = try bench.output([batch], name: "rowError")
    let rowL0 = try bench.output([batch], name: "rowL0")
    try bench.backend.reconstructionLoss(
      reconstruction: bench.input(y, [batch, width], name: "y"),
      target: bench.input(x, [batch, width], name: "x"), activation: activation,
      code: bench.input(z, [batch, latents], name: "z"), scale: scale, gradient: gradient,
      rowError: rowError, rowL0: rowL0)
    let expected = Oracle.reconstructionLoss(
      y: y, x: x, activation: activation, z: z, scale: scale, batch: batch)
    for (name, tensor, wanted) in [
      ("gradient", gradient, expected[0]), ("rowError", rowError, expected[1]),
      ("rowL0", rowL0, expected[2]),
    ] {
      try bench.expect(name, tensor, tier == .exact ? wanted.exact() : wanted)
    }
  }
}

struct AdamCase: OperationCase {
  let count: Int
  let step: Int

  var operation: String { "adam" }
  var label: String { "\(count) parameters, step \(step)" }
  let tier = Tier.bound

  func run<B: Backend>(on bench: TestBench<B>) throws {
    var inputs = Inputs("adam \(label)")
    var (p, g, m) = (inputs.reals(count), inputs.reals(count), inputs.reals(count))
    var v = inputs.fractions(count).map { $0 * 0.01 }
    // Padding of the arena: all zero, and must stay zero rather than become 0/0.
    (p[count - 1], g[count - 1], m[count - 1], v[count - 1]) = (0, 0, 0, 0)
    let step = AdamStep(step: step, learningRate: 1e-3)
    let parameters = try bench.updated(p, [count], name: "p")
    let first = try bench.updated(m, [count], name: "m")
    let second = try bench.updated(v, [count], name: "v")
    try bench.backend.adam(
      parameters: parameters, gradients: bench.input(g, [count], name: "g"), firstMoment: first,
      secondMoment: second, step: step)
    let expected = Oracle.adam(p: p, g: g, m: m, v: v, step: step)
    try bench.expect("p", parameters, expected[0])
    try bench.expect("m", first, expected[1])
    try bench.expect("v", second, expected[2])
  }
}

struct GatherCase: OperationCase {
  let images: Int
  let batch: Int
  let width: Int
  let centred: Bool
  let tier: Tier

  var operation: String { "gather" }
  var label: String {
    "\(batch) of \(images) rows of \(width)" + (centred ? " less a mean" : "")
  }

  func run<B: Backend>(on bench: TestBench<B>) throws {
    var inputs = Inputs("gather \(label) \(tier)")
    let pixels = inputs.bytes(images * width)
    let start = 5
    let order = inputs.order(start + batch + 2, below: images)
    let (scale, shift): (Float, Float) = tier == .exact ? (1, 0) : (1 / 255, -0.1307)
    let mean = centred ? inputs.values(width, tier) : nil
    let x = try bench.output([batch, width], name: "x")
    try bench.backend.gather(
      bench.input(pixels, [images, width], name: "pixels"),
      order: bench.input(order, [order.count], name: "order"), start: start, scale: scale,
      shift: shift, mean: mean.map { try bench.input($0, [width], name: "mean") }, into: x)
    let expected = Oracle.gather(
      pixels, width: width, rows: order[start..<start + batch], scale: scale, shift: shift,
      mean: mean)
    try bench.expect("x", x, tier == .exact ? expected.exact() : expected)
  }
}

struct CountCase: OperationCase {
  let batch: Int
  let latents: Int

  var operation: String { "countNonzero" }
  var label: String { "\(batch)x\(latents)" }
  let tier = Tier.exact

  func run<B: Backend>(on bench: TestBench<B>) throws {
    var inputs = Inputs("count \(label)")
    let z = inputs.code(batch * latents)
    let before = inputs.order(latents, below: 1000)
    let counts = try bench.updated(before, [latents], name: "counts")
    try bench.backend.countNonzero(
      bench.input(z, [batch, latents], name: "z"), accumulatingInto: counts)
    try bench.expect("counts", counts, Oracle.countNonzero(z, counts: before))
  }
}

struct FillCase: OperationCase {
  let count: Int

  var operation: String { "fill" }
  var label: String { "\(count)" }
  let tier = Tier.exact

  func run<B: Backend>(on bench: TestBench<B>) throws {
    let y = try bench.output([count], name: "y")
    try bench.backend.fill(y, with: -1.5)
    try bench.expect("y", y, Expectation(exactly: [Double](repeating: -1.5, count: count)))
  }
}
