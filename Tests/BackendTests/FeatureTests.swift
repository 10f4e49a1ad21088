import Compute
import OpenCLBackend
import ReferenceBackend
import Testing
import Verification

extension FlawedBackend {
  func batchNormalise(
    _ x: FeatureMap<Storage>, _ parameters: BatchNormalisation<Storage>, activation: Activation,
    epsilon: Float, momentum: Float, into y: FeatureMap<Storage>
  ) throws {
    try right.batchNormalise(
      x, parameters, activation: activation, epsilon: epsilon, momentum: momentum, into: y)
    try spoil("batchNormalise", parameters.runningVariance)
  }
  func batchNormaliseBackward(
    _ g: FeatureMap<Storage>, output y: FeatureMap<Storage>, input x: FeatureMap<Storage>,
    _ parameters: BatchNormalisation<Storage>, activation: Activation, into dx: FeatureMap<Storage>,
    scaleGradient: Floats, shiftGradient: Floats
  ) throws {
    try right.batchNormaliseBackward(
      g, output: y, input: x, parameters, activation: activation, into: dx,
      scaleGradient: scaleGradient, shiftGradient: shiftGradient)
    try spoil("batchNormaliseBackward", dx.tensor)
  }
  func maxPool(_ x: FeatureMap<Storage>, size: Int, into y: FeatureMap<Storage>) throws {
    try right.maxPool(x, size: size, into: y)
    try spoil("maxPool", y.tensor)
  }
  func maxPoolBackward(
    _ g: FeatureMap<Storage>, output y: FeatureMap<Storage>, input x: FeatureMap<Storage>,
    size: Int, accumulating: Bool, into dx: FeatureMap<Storage>
  ) throws {
    try right.maxPoolBackward(
      g, output: y, input: x, size: size, accumulating: accumulating, into: dx)
    try spoil("maxPoolBackward", dx.tensor)
  }
  func softmax(_ a: Floats, into p: Floats) throws {
    try right.softmax(a, into: p)
    try spoil("softmax", p)
  }
  func segmentationLoss(
    _ a: Floats, labels: Bytes, classWeights w: Floats, settings: SegmentationLoss,
    gradient: Floats, figures: Floats
  ) throws {
    try right.segmentationLoss(
      a, labels: labels, classWeights: w, settings: settings, gradient: gradient,
      figures: figures)
    try spoil("segmentationLoss", gradient)
  }
}
