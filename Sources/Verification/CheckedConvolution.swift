import Compute

extension CheckedBackend {
  package func convolution(
    _ x: Map, weight w: Floats, bias: Floats?, activation: Activation,
    geometry: ConvolutionGeometry, into y: Map
  ) throws {
    let shape = ConvolutionShape(input: x, output: y, weight: w, geometry: geometry)
    let expected = try Oracle.convolution(
      shape, channels(x), host(w), bias: bias.map(host), activation)
    try device.convolution(
      x.onDevice(), weight: w.onDevice(), bias: bias?.onDevice(), activation: activation,
      geometry: geometry, into: y.onDevice())
    try oracle.convolution(
      x.onOracle(), weight: w.onOracle(), bias: bias?.onOracle(), activation: activation,
      geometry: geometry, into: y.onOracle())
    try settle("convolution", "y", y, expected)
  }

  package func transposedConvolution(
    _ x: Map, weight w: Floats, bias: Floats?, activation: Activation,
    geometry: ConvolutionGeometry, into y: Map
  ) throws {
    let shape = ConvolutionShape(input: y, output: x, weight: w, geometry: geometry)
    let expected = try Oracle.transposedConvolution(
      shape, channels(x), host(w), bias: bias.map(host), activation)
    try device.transposedConvolution(
      x.onDevice(), weight: w.onDevice(), bias: bias?.onDevice(), activation: activation,
      geometry: geometry, into: y.onDevice())
    try oracle.transposedConvolution(
      x.onOracle(), weight: w.onOracle(), bias: bias?.onOracle(), activation: activation,
      geometry: geometry, into: y.onOracle())
    try settle("transposedConvolution", "y", y, expected)
  }

  package func convolutionGradient(
    _ x: Map, _ g: Map, geometry: ConvolutionGeometry, into dw: Floats
  ) throws {
    let shape = ConvolutionShape(input: x, output: g, weight: dw, geometry: geometry)
    let expected = try Oracle.convolutionGradient(shape, channels(x), channels(g))
    try device.convolutionGradient(
      x.onDevice(), g.onDevice(), geometry: geometry, into: dw.onDevice())
    try oracle.convolutionGradient(
      x.onOracle(), g.onOracle(), geometry: geometry, into: dw.onOracle())
    try settle("convolutionGradient", [("dw", dw, expected)])
  }

  package func channelSums(of x: Map, into s: Floats) throws {
    let expected = Oracle.columnSums(
      try channels(x), rows: x.positions, width: x.channels)
    try device.channelSums(of: x.onDevice(), into: s.onDevice())
    try oracle.channelSums(of: x.onOracle(), into: s.onOracle())
    try settle("channelSums", [("s", s, expected)])
  }

  private func channels(_ map: Map) throws -> [Float] { map.channels(of: try host(map.tensor)) }

  /// Compares a map; what lies beside it may never have been written, and then differs.
  private func settle(
    _ operation: String, _ name: String, _ map: Map, _ expectation: Expectation
  ) throws {
    let got = try device.download(map.tensor.onDevice())
    let wanted = Expectation(
      values: map.channels(of: try host(map.tensor)).map(Double.init),
      bounds: expectation.bounds.map { 2 * $0 })
    try oracle.upload(got, into: map.tensor.onOracle())
    try record(
      operation,
      Comparison(name, got: map.channels(of: got).map(Double.init), expectation: wanted))
  }
}

extension FeatureMap {
  /// The map's own of its tensor's values, pixel by pixel.
  func channels(of values: [Float]) -> [Float] {
    guard !isWhole else { return values }
    return (0..<positions).flatMap { position in
      let start = position * pitch + channelOffset
      return values[start..<start + channels]
    }
  }

  fileprivate func onDevice<D, H>() -> FeatureMap<D> where Storage == CheckedStorage<D, H> {
    FeatureMap<D>(tensor.onDevice(), channels: channelOffset..<channelOffset + channels)
  }
  fileprivate func onOracle<D, H>() -> FeatureMap<H> where Storage == CheckedStorage<D, H> {
    FeatureMap<H>(tensor.onOracle(), channels: channelOffset..<channelOffset + channels)
  }
}
