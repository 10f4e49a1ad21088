import Compute

extension OperationCases {
  static func features(_ extent: Extent) -> [any OperationCase] {
    normalisation(extent) + pooling(extent)
  }

  private static func normalisation(_ extent: Extent) -> [any OperationCase] {
    var maps = [
      MapExtents(batch: 1, height: 1, width: 1, channels: 1),
      MapExtents(batch: 1, height: 3, width: 5, channels: 2, pitch: 5, channelOffset: 2),
      MapExtents(batch: 2, height: 4, width: 4, channels: 16),
      MapExtents(batch: 3, height: 3, width: 7, channels: 17, pitch: 21, channelOffset: 1),
      MapExtents(batch: 1, height: 8, width: 8, channels: 3, pitch: 4),
      MapExtents(batch: 1, height: 6, width: 7, channels: 33),
      MapExtents(batch: 1, height: 6, width: 7, channels: 127, pitch: 129, channelOffset: 1),
    ]
    if extent == .full {
      maps += [
        MapExtents(batch: 1, height: 1, width: 2, channels: 64),
        MapExtents(batch: 2, height: 7, width: 9, channels: 15, pitch: 16, channelOffset: 1),
        MapExtents(batch: 1, height: 16, width: 16, channels: 32, pitch: 64, channelOffset: 32),
        MapExtents(batch: 3, height: 13, width: 11, channels: 33, pitch: 40, channelOffset: 3),
        MapExtents(batch: 1, height: 31, width: 33, channels: 64, pitch: 128),
        MapExtents(batch: 2, height: 24, width: 23, channels: 127),
        MapExtents(batch: 3, height: 65, width: 63, channels: 1),
        MapExtents(batch: 2, height: 96, width: 96, channels: 16, pitch: 32, channelOffset: 16),
        MapExtents(batch: 1, height: 192, width: 192, channels: 16),
      ]
    }
    return maps.flatMap { map -> [any OperationCase] in
      // Of large maps one case each way.
      guard map.positions < 10_000 else {
        let cases: [any OperationCase] = [
          BatchNormaliseCase(x: map, activation: .relu, inputs: .far),
          BatchNormaliseBackwardCase(x: map, activation: .relu, target: .gradient, tier: .bound),
        ]
        return cases + cases.map(\.aligned)
      }
      let cases = [Activation.identity, .relu].flatMap { activation -> [any OperationCase] in
        BatchNormaliseCase.Inputs.allCases.map {
          BatchNormaliseCase(x: map, activation: activation, inputs: $0) as any OperationCase
        } + [
          BatchNormaliseCase(x: map, activation: activation, inputs: .plain, isInPlace: true)
        ]
          + BatchNormaliseBackwardCase.Target.allCases.flatMap { target in
            [Tier.exact, .bound].map {
              BatchNormaliseBackwardCase(
                x: map, activation: activation, target: target, tier: $0)
            }
          }
      }
      let hasWholeFours = (map.channels | map.pitch | map.channelOffset) % 4 == 0
      return cases + (hasWholeFours ? cases.map(\.aligned) : [])
    }
  }

  private static func pooling(_ extent: Extent) -> [any OperationCase] {
    var shapes: [(small: MapExtents, size: Int)] = [
      (MapExtents(batch: 1, height: 1, width: 1, channels: 1), 2),
      (MapExtents(batch: 2, height: 3, width: 2, channels: 3, pitch: 7, channelOffset: 1), 2),
      (MapExtents(batch: 1, height: 2, width: 3, channels: 17), 3),
      (MapExtents(batch: 1, height: 3, width: 3, channels: 16, pitch: 32, channelOffset: 16), 2),
      (MapExtents(batch: 2, height: 5, width: 3, channels: 2), 1),
    ]
    if extent == .full {
      shapes += [
        (MapExtents(batch: 3, height: 7, width: 5, channels: 33, pitch: 34), 2),
        (MapExtents(batch: 2, height: 11, width: 13, channels: 15), 3),
        (MapExtents(batch: 1, height: 9, width: 8, channels: 64, pitch: 128, channelOffset: 64), 2),
        (MapExtents(batch: 3, height: 17, width: 19, channels: 32), 1),
        (MapExtents(batch: 1, height: 3, width: 2, channels: 24), 4),
        (MapExtents(batch: 2, height: 96, width: 96, channels: 16), 2),
      ]
    }
    return shapes.flatMap { small, size -> [any OperationCase] in
      [MaxPoolCase(y: small, size: size)]
        + [(false, Tier.exact), (true, .exact), (true, .bound)].map {
          MaxPoolBackwardCase(y: small, size: size, accumulating: $0.0, tier: $0.1)
        }
    }
  }
}

/// Beside the channels of an input lies what would be seen in any sum.
private let beside: Float = 1e30

extension MapExtents {
  /// The same pixels within a tensor of another width.
  fileprivate func beginning(at channel: Int, of pitch: Int) -> MapExtents {
    var other = self
    (other.channelOffset, other.pitch) = (channel, pitch)
    return other
  }

  /// The tensor that has `values` in the map's channels and `beside` in the others.
  fileprivate func embedded(_ values: [Float]) -> [Float] {
    var whole = [Float](repeating: beside, count: positions * pitch)
    for position in 0..<positions {
      for c in 0..<channels {
        whole[position * pitch + channelOffset + c] = values[position * channels + c]
      }
    }
    return whole
  }

  fileprivate func map<S>(_ tensor: Tensor<S, Float>) -> FeatureMap<S> {
    FeatureMap(tensor, channels: channelOffset..<channelOffset + channels)
  }

  fileprivate var shape: Shape { [batch, height, width, pitch] }
  fileprivate var count: Int { positions * channels }
}

extension TestBench {
  fileprivate func input(
    _ values: [Float], _ extents: MapExtents, name: String, comparing: Bool = true
  ) throws -> FeatureMap<B.Storage> {
    extents.map(
      try input(extents.embedded(values), extents.shape, name: name, comparing: comparing))
  }

  fileprivate func updated(
    _ values: [Float], _ extents: MapExtents, name: String
  ) throws -> FeatureMap<B.Storage> {
    extents.map(try updated(extents.embedded(values), extents.shape, name: name))
  }

  /// NaN in the map, which must be overwritten, and beside it what must stay.
  fileprivate func output(
    _ extents: MapExtents, name: String
  ) throws -> FeatureMap<B.Storage> {
    try updated([Float](repeating: .nan, count: extents.count), extents, name: name)
  }

  fileprivate func expect(
    _ name: String, _ map: FeatureMap<B.Storage>, _ extents: MapExtents, _ part: Expectation
  ) throws {
    let before = [Float](repeating: beside, count: extents.positions * extents.pitch)
    try expect(name, map.tensor, extents.whole(part, else: before))
  }
}

private struct BatchNormaliseCase: OperationCase {
  enum Inputs: String, CaseIterable, Sendable {
    /// About 0; far from 0 in units of the deviation; all alike; with an outlier in front.
    case plain, far, constant, outlier
  }

  let x: MapExtents
  let activation: Activation
  let inputs: Inputs
  /// Whether y is x.
  var isInPlace = false

  let operation = "batchNormalise"
  var label: String { "\(x) \(activation), \(inputs)\(isInPlace ? ", in place" : "")" }
  let tier = Tier.bound

  func run<B: Backend>(on bench: TestBench<B>) throws {
    var random = Verification.Inputs("normalise \(label)")
    let channels = x.channels
    let noise = random.reals(x.count)
    let values = noise.enumerated().map { i, value -> Float in
      switch inputs {
      case .plain: value + Float(i % channels % 5) / 4
      case .far: 1000 + Float(i % channels % 7) + value * 0.1
      case .constant: Float(i % channels) - 2.3
      case .outlier: i < channels ? value + 50 : value
      }
    }
    let scale = random.reals(channels).map { $0 * 2 }
    let (shift, means) = (random.reals(channels), random.reals(channels))
    let variances = random.fractions(channels)
    let y =
      isInPlace
      ? x : x.beginning(at: bench.isAligned ? 4 : 3, of: channels + (bench.isAligned ? 8 : 4))
    let (epsilon, momentum): (Float, Float) = (1e-5, 0.1)

    let input =
      try isInPlace
      ? bench.updated(values, x, name: "x and y") : bench.input(values, x, name: "x")
    let output = try isInPlace ? input : bench.output(y, name: "y")
    let parameters = BatchNormalisation(
      scale: try bench.input(scale, [channels], name: "scale"),
      shift: try bench.input(shift, [channels], name: "shift"),
      mean: try bench.output([channels], name: "mean"),
      deviation: try bench.output([channels], name: "deviation"),
      runningMean: try bench.updated(means, [channels], name: "running mean"),
      runningVariance: try bench.updated(variances, [channels], name: "running variance"))
    try bench.backend.batchNormalise(
      input, parameters, activation: activation, epsilon: epsilon,
      momentum: momentum, into: output)

    let expected = Oracle.batchNormalise(
      values, scale: scale, shift: shift, runningMean: means, runningVariance: variances,
      activation: activation, epsilon: epsilon, momentum: momentum)
    try bench.expect("mean", parameters.mean, expected.mean)
    try bench.expect("deviation", parameters.deviation, expected.deviation)
    try bench.expect("runningMean", parameters.runningMean, expected.runningMean)
    try bench.expect("runningVariance", parameters.runningVariance, expected.runningVariance)
    try bench.expect("y", output, y, expected.y)
  }
}

private struct BatchNormaliseBackwardCase: OperationCase {
  /// Where dx is written.
  enum Target: String, CaseIterable, Sendable { case apart, gradient, input }

  let x: MapExtents
  let activation: Activation
  let target: Target
  let tier: Tier

  let operation = "batchNormaliseBackward"
  var label: String { "\(x) \(activation), dx \(target)" }

  func run<B: Backend>(on bench: TestBench<B>) throws {
    var random = Inputs("normalise back \(label) \(tier)")
    let channels = x.channels
    let (g, input) = (random.values(x.count, tier), random.values(x.count, tier))
    var output = random.values(x.count, tier)
    if activation == .relu { output = output.map { max($0, 0) } }
    let mean = random.values(channels, tier)
    let scale = random.values(channels, tier)
    let deviation =
      tier == .exact
      ? random.integers(channels).map { $0 > 0 ? 0.5 : 2 }
      : random.fractions(channels).map { $0 + 0.1 }
    let above = x.beginning(at: 0, of: channels + (bench.isAligned ? 4 : 1))
    let below = x.beginning(at: bench.isAligned ? 4 : 2, of: channels + (bench.isAligned ? 4 : 2))

    let gradient =
      try target == .gradient
      ? bench.updated(g, above, name: "g") : bench.input(g, above, name: "g")
    let source =
      try target == .input
      ? bench.updated(input, x, name: "x") : bench.input(input, x, name: "x")
    let (dx, extents) =
      switch target {
      case .apart: (try bench.output(below, name: "dx"), below)
      case .gradient: (gradient, above)
      case .input: (source, x)
      }
    let unused = try bench.input([Float](repeating: 7, count: channels), [channels], name: "unused")
    let parameters = BatchNormalisation(
      scale: try bench.input(scale, [channels], name: "scale"), shift: unused,
      mean: try bench.input(mean, [channels], name: "mean"),
      deviation: try bench.input(deviation, [channels], name: "deviation"), runningMean: unused,
      runningVariance: unused)
    let dscale = try bench.output([channels], name: "dscale")
    let dshift = try bench.output([channels], name: "dshift")
    try bench.backend.batchNormaliseBackward(
      gradient, output: bench.input(output, x, name: "y"), input: source, parameters,
      activation: activation, into: dx, scaleGradient: dscale, shiftGradient: dshift)

    let expected = Oracle.batchNormaliseBackward(
      g, y: output, x: input, scale: scale, mean: mean, deviation: deviation,
      activation: activation)
    try bench.expect("dscale", dscale, tier == .exact ? expected.scale.exact() : expected.scale)
    try bench.expect("dshift", dshift, tier == .exact ? expected.shift.exact() : expected.shift)
    // Among few positions whose number is a power of two all quotients are exact.
    let count = x.positions
    let isExact = tier == .exact && count <= 64 && count & (count - 1) == 0
    try bench.expect("dx", dx, extents, isExact ? expected.x.exact() : expected.x)
  }
}

private struct MaxPoolCase: OperationCase {
  let y: MapExtents
  let size: Int

  let operation = "maxPool"
  var label: String { "\(size)x\(size) into \(y)" }
  let tier = Tier.exact

  func run<B: Backend>(on bench: TestBench<B>) throws {
    let x = y.enlarged(by: size).beginning(at: 1, of: y.channels + 2)
    let values = pooledValues("pool \(label)", x)
    let output = try bench.output(y, name: "y")
    try bench.backend.maxPool(
      bench.input(values, x, name: "x", comparing: false), size: size, into: output)
    try bench.expect("y", output, y, Oracle.maxPool(values, x, size: size))
  }
}

private struct MaxPoolBackwardCase: OperationCase {
  let y: MapExtents
  let size: Int
  let accumulating: Bool
  let tier: Tier

  let operation = "maxPoolBackward"
  var label: String { "\(size)x\(size) from \(y)\(accumulating ? ", accumulating" : "")" }

  func run<B: Backend>(on bench: TestBench<B>) throws {
    let x = y.enlarged(by: size)
    let below = x.beginning(at: 2, of: y.channels + 3)
    let values = pooledValues("pool back \(label) \(tier)", x)
    var random = Inputs("pool back gradient \(label) \(tier)")
    let g = random.values(y.count, tier)
    let before = random.values(x.count, tier)
    let output = Oracle.maxPool(values, x, size: size).values.map { Float($0) }
    let dx =
      try accumulating
      ? bench.updated(before, below, name: "dx") : bench.output(below, name: "dx")
    try bench.backend.maxPoolBackward(
      bench.input(g, y.beginning(at: 1, of: y.channels + 1), name: "g"),
      output: bench.input(output, y, name: "y", comparing: false),
      input: bench.input(values, x, name: "x", comparing: false), size: size,
      accumulating: accumulating, into: dx)
    let expected = Oracle.maxPoolBackward(
      g, y: output, x: values, x, size: size, accumulatingInto: accumulating ? before : nil)
    try bench.expect("dx", dx, below, tier == .exact ? expected.exact() : expected)
  }
}

extension MapExtents {
  fileprivate func enlarged(by size: Int) -> MapExtents {
    MapExtents(batch: batch, height: height * size, width: width * size, channels: channels)
  }
}

/// Few different numbers, so that windows have several largest ones, with zeros of both signs,
/// infinities and NaN.
private func pooledValues(_ label: String, _ extents: MapExtents) -> [Float] {
  var random = Inputs(label)
  let specials: [Float] = [.nan, .infinity, -.infinity, -0.0]
  let places = random.order(extents.count, below: 60)
  return zip(random.integers(extents.count, limit: 2), places).map {
    $1 < specials.count ? specials[Int($1)] : $0
  }
}
