import Compute

extension OperationCases {
  static func convolution(_ extent: Extent) -> [any OperationCase] {
    layers(extent).flatMap { layer -> [any OperationCase] in
      let tiers =
        layer.activation == .relu || layer.activation == .identity
        ? [Tier.exact, .bound] : [.bound]
      return tiers.flatMap { tier -> [any OperationCase] in
        let cases: [any OperationCase] =
          [
            ConvolutionCase(layer: layer, tier: tier),
            TransposedConvolutionCase(layer: layer, tier: tier),
          ]
          + (layer.activation == .identity
            ? [ConvolutionGradientCase(layer: layer, tier: tier)] : [])
        let hasWholeFours = layer.inputs % 4 == 0 || layer.outputs % 4 == 0
        return cases + (hasWholeFours ? cases.map(\.aligned) : [])
      }
    } + sums(extent)
  }

  private static let channelCounts = [1, 2, 3, 15, 16, 17, 32, 33]

  private static func layers(_ extent: Extent) -> [ConvolutionLayer] {
    var layers: [ConvolutionLayer] = []
    let kernels =
      extent == .full
      ? [(1, 1), (2, 2), (3, 3), (5, 5), (7, 7), (3, 1), (1, 3), (2, 5)] : [(1, 1), (3, 3), (2, 3)]
    // Every kernel, stride and padding, with sizes that change from case to case.
    var turn = 0
    func next(_ values: [Int], _ every: Int = 1) -> Int { values[turn / every % values.count] }
    for (kernelHeight, kernelWidth) in kernels {
      for stride in 1...(extent == .full ? 3 : 2) {
        for padding in extent == .full ? [0, 1, 2, 3] : [0, 1, 3] {
          turn += 1
          layers.append(
            ConvolutionLayer(
              batch: next([1, 2, 3]),
              height: max(next([1, 5, 7, 4, 9], 2), kernelHeight - 2 * padding),
              width: max(next([1, 6, 7, 5, 13, 12, 8]), kernelWidth - 2 * padding),
              inputs: next(extent == .full ? channelCounts : [1, 3, 5], 3),
              outputs: next(extent == .full ? channelCounts : [17, 2, 3, 16]),
              geometry: ConvolutionGeometry(
                kernelHeight: kernelHeight, kernelWidth: kernelWidth, stride: stride,
                padding: padding),
              beside: turn % 2 == 0 ? .none : .both, hasBias: turn % 3 > 0))
        }
      }
    }
    for activation in Activation.allCases where activation != .identity {
      layers.append(
        ConvolutionLayer(
          batch: 1, height: 5, width: 7, inputs: 3, outputs: 17, geometry: .same(3),
          activation: activation))
      layers.append(
        ConvolutionLayer(
          batch: 2, height: 3, width: 4, inputs: 16, outputs: 2,
          geometry: ConvolutionGeometry(kernel: 2, stride: 2), hasBias: false,
          activation: activation))
    }
    // Channels from which a backend may make outputs by minimal filtering, either way.
    layers.append(
      ConvolutionLayer(
        batch: 1, height: 5, width: 7, inputs: 16, outputs: 17, geometry: .same(3),
        activation: .relu))
    layers.append(
      ConvolutionLayer(
        batch: 1, height: 5, width: 7, inputs: 17, outputs: 16, geometry: .same(3),
        activation: .relu))
    layers.append(
      ConvolutionLayer(
        batch: 1, height: 5, width: 7, inputs: 16, outputs: 17, geometry: .same(3), hasBias: false))
    // Whole fours of channels on both sides.
    layers.append(
      ConvolutionLayer(
        batch: 1, height: 5, width: 7, inputs: 16, outputs: 20, geometry: .same(3), beside: .both))
    guard extent == .full else { return layers }

    for (height, width, inputs, outputs) in [
      (1, 1, 16, 16), (2, 2, 32, 1), (3, 98, 16, 48), (7, 51, 48, 33), (13, 12, 64, 16),
      (9, 8, 17, 64), (6, 5, 256, 3), (5, 6, 272, 16),
    ] {
      for padding in 0...2 where height + 2 * padding >= 3 && width + 2 * padding >= 3 {
        layers.append(
          ConvolutionLayer(
            batch: 2, height: height, width: width, inputs: inputs, outputs: outputs,
            geometry: ConvolutionGeometry(kernel: 3, padding: padding),
            beside: padding == 1 ? .none : .both, hasBias: padding > 0))
      }
    }
    // Values of very different size side by side: what a tile adds up is more than what its outputs do.
    for (inputs, outputs) in [(16, 16), (48, 32), (3, 2)] {
      layers.append(
        ConvolutionLayer(
          batch: 1, height: 8, width: 9, inputs: inputs, outputs: outputs, geometry: .same(3),
          hasBias: false, isUneven: true))
    }
    for inputs in channelCounts {
      for outputs in channelCounts {
        layers.append(
          ConvolutionLayer(
            batch: 1, height: 4, width: 7, inputs: inputs, outputs: outputs, geometry: .same(3),
            beside: (inputs + outputs) % 2 == 0 ? .before : .after))
      }
    }
    // Rows about as long as what the kernels take at once, images of several bands of rows, and the
    // layers of networks.
    for (height, width, inputs, outputs, geometry) in [
      (1, 95, 2, 3, ConvolutionGeometry.same(3)), (1, 96, 3, 2, .same(3)), (1, 97, 2, 16, .same(3)),
      (2, 191, 1, 16, .same(3)), (2, 192, 3, 16, .same(3)), (2, 193, 4, 2, .same(3)),
      (3, 385, 2, 3, .same(1)), (50, 40, 5, 7, .same(3)), (61, 67, 3, 17, .same(5)),
      (80, 50, 2, 3, ConvolutionGeometry(kernel: 2, stride: 2)),
      (24, 24, 32, 48, .same(3)), (24, 24, 48, 64, ConvolutionGeometry(kernel: 2, stride: 2)),
      (64, 48, 1, 16, .same(3)), (64, 48, 16, 16, .same(3)), (64, 48, 16, 2, .same(1)),
      (9, 11, 130, 70, .same(3)),
    ] {
      layers.append(
        ConvolutionLayer(
          batch: 2, height: height, width: width, inputs: inputs, outputs: outputs,
          geometry: geometry))
    }
    return layers
  }

  private static func sums(_ extent: Extent) -> [any OperationCase] {
    let sizes =
      [(1, 1, 1, 1), (2, 3, 5, 7), (3, 4, 4, 16), (1, 5, 205, 33)]
      + (extent == .full
        ? [(2, 40, 50, 3), (1, 32, 32, 17), (1, 5, 205, 32), (3, 300, 250, 2)] : [])
    return sizes.flatMap { batch, height, width, channels -> [any OperationCase] in
      [MapSide.none, .before, .after, .both].flatMap { beside in
        [Tier.exact, .bound].map {
          ChannelSumsCase(
            batch: batch, height: height, width: width, channels: channels, beside: beside, tier: $0
          )
        }
      }
    }
  }
}

/// Where a map's tensor has channels that are not the map's.
enum MapSide: String, Sendable {
  case none, before, after, both

  /// The channels before the map and after it; whole fours where the map is to be aligned.
  func channels(aligned: Bool) -> (before: Int, after: Int) {
    (
      self == .before || self == .both ? aligned ? 4 : 3 : 0,
      self == .after || self == .both ? aligned ? 8 : 2 : 0
    )
  }
}

/// A convolution's shapes, in either direction.
struct ConvolutionLayer: Sendable {
  var batch, height, width, inputs, outputs: Int
  var geometry: ConvolutionGeometry
  var beside = MapSide.none
  var hasBias = true
  var activation = Activation.identity
  /// Whether the values of the bound tier differ by up to 2^20 in size.
  var isUneven = false

  var outputHeight: Int { geometry.outputHeight(height) }
  var outputWidth: Int { geometry.outputWidth(width) }
  var weights: Shape { [geometry.kernelHeight, geometry.kernelWidth, inputs, outputs] }

  var label: String {
    "\(batch)x\(height)x\(width)x\(inputs) to \(outputs), kernel "
      + "\(geometry.kernelHeight)x\(geometry.kernelWidth), stride \(geometry.stride), padding "
      + "\(geometry.padding), \(activation)" + (hasBias ? "" : ", no bias")
      + (beside == .none ? "" : ", channels beside: \(beside)") + (isUneven ? ", uneven" : "")
  }

  /// For one of the layer's operands.
  func values(_ inputs: inout Inputs, _ count: Int, _ tier: Tier) -> [Float] {
    let values = inputs.values(count, tier)
    guard isUneven && tier == .bound else { return values }
    return zip(values, inputs.integers(count, limit: 10)).map { value, exponent in
      Float(sign: .plus, exponent: Int(exponent), significand: value)
    }
  }
}

extension TestBench {
  /// A map of these values that the operation must leave as it is, other channels beside it.
  func inputMap(
    _ values: [Float], _ size: (batch: Int, height: Int, width: Int, channels: Int),
    _ beside: MapSide, name: String
  ) throws -> FeatureMap<B.Storage> {
    let (before, after) = beside.channels(aligned: isAligned)
    let pitch = before + size.channels + after
    // What lies beside would show in every sum.
    let whole = surrounded(values, size.channels, beside, filler: 1e20)
    return FeatureMap(
      try input(whole, [size.batch, size.height, size.width, pitch], name: name),
      channels: before..<before + size.channels)
  }

  /// A map that the operation overwrites, NaN before, other channels beside it.
  func outputMap(
    _ size: (batch: Int, height: Int, width: Int, channels: Int), _ beside: MapSide, name: String
  ) throws -> FeatureMap<B.Storage> {
    let (before, after) = beside.channels(aligned: isAligned)
    let pitch = before + size.channels + after
    let count = size.batch * size.height * size.width * size.channels
    let whole = surrounded(
      [Float](repeating: .nan, count: count), size.channels, beside, filler: Float.canary)
    return FeatureMap(
      try updated(whole, [size.batch, size.height, size.width, pitch], name: name),
      channels: before..<before + size.channels)
  }

  /// The map's values, and that nothing beside them was written to.
  func expect(_ name: String, _ map: FeatureMap<B.Storage>, _ expectation: Expectation) throws {
    let count = map.tensor.count
    var whole = Expectation(exactly: [Double](repeating: Double(Float.canary), count: count))
    for position in 0..<map.positions {
      for c in 0..<map.channels {
        let place = position * map.pitch + map.channelOffset + c
        whole.values[place] = expectation.values[position * map.channels + c]
        whole.bounds[place] = expectation.bounds[position * map.channels + c]
      }
    }
    try expect(name, map.tensor, whole)
  }

  private func surrounded(
    _ values: [Float], _ channels: Int, _ beside: MapSide, filler: Float
  ) -> [Float] {
    let (before, after) = beside.channels(aligned: isAligned)
    var whole: [Float] = []
    for position in 0..<values.count / channels {
      whole += [Float](repeating: filler, count: before)
      whole += values[position * channels..<(position + 1) * channels]
      whole += [Float](repeating: filler, count: after)
    }
    return whole
  }
}

struct ConvolutionCase: OperationCase {
  let layer: ConvolutionLayer
  let tier: Tier
  let operation = "convolution"
  var label: String { layer.label }

  func run<B: Backend>(on bench: TestBench<B>) throws {
    var inputs = Inputs("\(operation) \(label) \(tier)")
    let large = (layer.batch, layer.height, layer.width, layer.inputs)
    let small = (layer.batch, layer.outputHeight, layer.outputWidth, layer.outputs)
    let values = layer.values(&inputs, large.0 * large.1 * large.2 * large.3, tier)
    let weights = layer.values(&inputs, layer.weights.count, tier)
    let bias = layer.hasBias ? inputs.values(layer.outputs, tier) : nil
    let x = try bench.inputMap(values, large, layer.beside, name: "x")
    let y = try bench.outputMap(small, layer.beside, name: "y")
    let w = try bench.input(weights, layer.weights, name: "w")
    try bench.backend.convolution(
      x, weight: w, bias: bias.map { try bench.input($0, [$0.count], name: "bias") },
      activation: layer.activation, geometry: layer.geometry, into: y)
    let expected = Oracle.convolution(
      ConvolutionShape(input: x, output: y, weight: w, geometry: layer.geometry), values, weights,
      bias: bias, layer.activation)
    try bench.expect("y", y, tier == .exact ? expected.exact() : expected)
  }
}

struct TransposedConvolutionCase: OperationCase {
  let layer: ConvolutionLayer
  let tier: Tier
  let operation = "transposedConvolution"
  var label: String { layer.label }

  func run<B: Backend>(on bench: TestBench<B>) throws {
    var inputs = Inputs("\(operation) \(label) \(tier)")
    let large = (layer.batch, layer.height, layer.width, layer.inputs)
    let small = (layer.batch, layer.outputHeight, layer.outputWidth, layer.outputs)
    let values = layer.values(&inputs, small.0 * small.1 * small.2 * small.3, tier)
    let weights = layer.values(&inputs, layer.weights.count, tier)
    let bias = layer.hasBias ? inputs.values(layer.inputs, tier) : nil
    let x = try bench.inputMap(values, small, layer.beside, name: "x")
    let y = try bench.outputMap(large, layer.beside, name: "y")
    let w = try bench.input(weights, layer.weights, name: "w")
    try bench.backend.transposedConvolution(
      x, weight: w, bias: bias.map { try bench.input($0, [$0.count], name: "bias") },
      activation: layer.activation, geometry: layer.geometry, into: y)
    let expected = Oracle.transposedConvolution(
      ConvolutionShape(input: y, output: x, weight: w, geometry: layer.geometry), values, weights,
      bias: bias, layer.activation)
    try bench.expect("y", y, tier == .exact ? expected.exact() : expected)
  }
}

struct ConvolutionGradientCase: OperationCase {
  let layer: ConvolutionLayer
  let tier: Tier
  let operation = "convolutionGradient"
  var label: String { layer.label }

  func run<B: Backend>(on bench: TestBench<B>) throws {
    var inputs = Inputs("\(operation) \(label) \(tier)")
    let large = (layer.batch, layer.height, layer.width, layer.inputs)
    let small = (layer.batch, layer.outputHeight, layer.outputWidth, layer.outputs)
    let values = layer.values(&inputs, large.0 * large.1 * large.2 * large.3, tier)
    let slopes = layer.values(&inputs, small.0 * small.1 * small.2 * small.3, tier)
    let x = try bench.inputMap(values, large, layer.beside, name: "x")
    let g = try bench.inputMap(slopes, small, layer.beside, name: "g")
    let dw = try bench.output(layer.weights, name: "dw")
    try bench.backend.convolutionGradient(x, g, geometry: layer.geometry, into: dw)
    let expected = Oracle.convolutionGradient(
      ConvolutionShape(input: x, output: g, weight: dw, geometry: layer.geometry), values, slopes)
    try bench.expect("dw", dw, tier == .exact ? expected.exact() : expected)
  }
}

private struct ChannelSumsCase: OperationCase {
  let batch, height, width, channels: Int
  let beside: MapSide
  let tier: Tier
  let operation = "channelSums"
  var label: String { "\(batch)x\(height)x\(width)x\(channels), channels beside: \(beside)" }

  func run<B: Backend>(on bench: TestBench<B>) throws {
    var inputs = Inputs("\(operation) \(label) \(tier)")
    let positions = batch * height * width
    let values = inputs.values(positions * channels, tier)
    let s = try bench.output([channels], name: "s")
    try bench.backend.channelSums(
      of: bench.inputMap(values, (batch, height, width, channels), beside, name: "x"), into: s)
    let expected = Oracle.columnSums(values, rows: positions, width: channels)
    try bench.expect("s", s, tier == .exact ? expected.exact() : expected)
  }
}
