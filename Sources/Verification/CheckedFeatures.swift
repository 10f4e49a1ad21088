import Compute

extension CheckedBackend {
  package func batchNormalise(
    _ x: FeatureMap<Storage>, _ parameters: BatchNormalisation<Storage>, activation: Activation,
    epsilon: Float, momentum: Float, into y: FeatureMap<Storage>
  ) throws {
    let expected = Oracle.batchNormalise(
      try host(x), scale: try host(parameters.scale), shift: try host(parameters.shift),
      runningMean: try host(parameters.runningMean),
      runningVariance: try host(parameters.runningVariance), activation: activation,
      epsilon: epsilon, momentum: momentum)
    let untouched = try host(y.tensor)
    try device.batchNormalise(
      x.onDevice(), parameters.onDevice(), activation: activation, epsilon: epsilon,
      momentum: momentum, into: y.onDevice())
    try oracle.batchNormalise(
      x.onOracle(), parameters.onOracle(), activation: activation, epsilon: epsilon,
      momentum: momentum, into: y.onOracle())
    try settle(
      "batchNormalise",
      [
        ("mean", parameters.mean, expected.mean),
        ("deviation", parameters.deviation, expected.deviation),
        ("runningMean", parameters.runningMean, expected.runningMean),
        ("runningVariance", parameters.runningVariance, expected.runningVariance),
        ("y", y.tensor, y.extents.whole(expected.y, else: untouched)),
      ])
  }

  package func batchNormaliseBackward(
    _ g: FeatureMap<Storage>, output y: FeatureMap<Storage>, input x: FeatureMap<Storage>,
    _ parameters: BatchNormalisation<Storage>, activation: Activation, into dx: FeatureMap<Storage>,
    scaleGradient: Floats, shiftGradient: Floats
  ) throws {
    let expected = Oracle.batchNormaliseBackward(
      try host(g), y: try host(y), x: try host(x), scale: try host(parameters.scale),
      mean: try host(parameters.mean), deviation: try host(parameters.deviation),
      activation: activation)
    let untouched = try host(dx.tensor)
    try device.batchNormaliseBackward(
      g.onDevice(), output: y.onDevice(), input: x.onDevice(), parameters.onDevice(),
      activation: activation, into: dx.onDevice(), scaleGradient: scaleGradient.onDevice(),
      shiftGradient: shiftGradient.onDevice())
    try oracle.batchNormaliseBackward(
      g.onOracle(), output: y.onOracle(), input: x.onOracle(), parameters.onOracle(),
      activation: activation, into: dx.onOracle(), scaleGradient: scaleGradient.onOracle(),
      shiftGradient: shiftGradient.onOracle())
    try settle(
      "batchNormaliseBackward",
      [
        ("dscale", scaleGradient, expected.scale), ("dshift", shiftGradient, expected.shift),
        ("dx", dx.tensor, dx.extents.whole(expected.x, else: untouched)),
      ])
  }

  package func maxPool(_ x: FeatureMap<Storage>, size: Int, into y: FeatureMap<Storage>) throws {
    let expected = Oracle.maxPool(try host(x), x.extents, size: size)
    let untouched = try host(y.tensor)
    try device.maxPool(x.onDevice(), size: size, into: y.onDevice())
    try oracle.maxPool(x.onOracle(), size: size, into: y.onOracle())
    try settle(
      "maxPool", [("y", y.tensor, y.extents.whole(expected, else: untouched))])
  }

  package func maxPoolBackward(
    _ g: FeatureMap<Storage>, output y: FeatureMap<Storage>, input x: FeatureMap<Storage>,
    size: Int, accumulating: Bool, into dx: FeatureMap<Storage>
  ) throws {
    let expected = Oracle.maxPoolBackward(
      try host(g), y: try host(y), x: try host(x), x.extents, size: size,
      accumulatingInto: accumulating ? try host(dx) : nil)
    let untouched = try host(dx.tensor)
    try device.maxPoolBackward(
      g.onDevice(), output: y.onDevice(), input: x.onDevice(), size: size,
      accumulating: accumulating, into: dx.onDevice())
    try oracle.maxPoolBackward(
      g.onOracle(), output: y.onOracle(), input: x.onOracle(), size: size,
      accumulating: accumulating, into: dx.onOracle())
    try settle(
      "maxPoolBackward", [("dx", dx.tensor, dx.extents.whole(expected, else: untouched))])
  }

  package func softmax(_ a: Floats, into p: Floats) throws {
    let expected = Oracle.softmax(try host(a), classes: a.shape[1])
    try device.softmax(a.onDevice(), into: p.onDevice())
    try oracle.softmax(a.onOracle(), into: p.onOracle())
    try settle("softmax", [("p", p, expected)])
  }

  package func segmentationLoss(
    _ a: Floats, labels: Bytes, classWeights w: Floats, settings: SegmentationLoss,
    gradient: Floats, figures: Floats
  ) throws {
    let expected = Oracle.segmentationLoss(
      try host(a), labels: try host(labels), classWeights: try host(w), settings: settings)
    try device.segmentationLoss(
      a.onDevice(), labels: labels.onDevice(), classWeights: w.onDevice(), settings: settings,
      gradient: gradient.onDevice(), figures: figures.onDevice())
    try oracle.segmentationLoss(
      a.onOracle(), labels: labels.onOracle(), classWeights: w.onOracle(), settings: settings,
      gradient: gradient.onOracle(), figures: figures.onOracle())
    try settle(
      "segmentationLoss",
      [("gradient", gradient, expected.gradient), ("figures", figures, expected.figures)])
  }

  /// The entries of a map without those beside it.
  private func host(_ map: FeatureMap<Storage>) throws -> [Float] {
    map.extents.part(of: try host(map.tensor))
  }
}

extension FeatureMap {
  fileprivate var extents: MapExtents {
    MapExtents(
      batch: batch, height: height, width: width, channels: channels, pitch: pitch,
      channelOffset: channelOffset)
  }

  fileprivate func onDevice<D, H>() -> FeatureMap<D> where Storage == CheckedStorage<D, H> {
    FeatureMap<D>(tensor.onDevice(), channels: channelOffset..<channelOffset + channels)
  }
  fileprivate func onOracle<D, H>() -> FeatureMap<H> where Storage == CheckedStorage<D, H> {
    FeatureMap<H>(tensor.onOracle(), channels: channelOffset..<channelOffset + channels)
  }
}

extension BatchNormalisation {
  fileprivate func onDevice<D, H>() -> BatchNormalisation<D>
  where Storage == CheckedStorage<D, H> {
    BatchNormalisation<D>(
      scale: scale.onDevice(), shift: shift.onDevice(), mean: mean.onDevice(),
      deviation: deviation.onDevice(), runningMean: runningMean.onDevice(),
      runningVariance: runningVariance.onDevice())
  }
  fileprivate func onOracle<D, H>() -> BatchNormalisation<H>
  where Storage == CheckedStorage<D, H> {
    BatchNormalisation<H>(
      scale: scale.onOracle(), shift: shift.onOracle(), mean: mean.onOracle(),
      deviation: deviation.onOracle(), runningMean: runningMean.onOracle(),
      runningVariance: runningVariance.onOracle())
  }
}
