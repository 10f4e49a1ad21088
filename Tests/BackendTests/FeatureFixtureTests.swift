import Compute
import Foundation
import TestSupport
import Testing

/// The figures of `Fixtures/features.py`.
private struct Fixture: Decodable {
  struct Normalisation: Decodable {
    let activation: Activation
    let shape: [Int]
    let momentum, epsilon: Float
    let x, scale, shift, g, runningMeanBefore, runningVarianceBefore: [Float]
    let y, runningMean, runningVariance, dx, dscale, dshift: [Float]
  }
  struct Pool: Decodable {
    let shape: [Int]
    let x, g, y, dx: [Float]
  }
  struct Loss: Decodable {
    let classes: Int
    let a, weights: [Float]
    let labels: [UInt8]
    let crossEntropyWeight, diceWeight, smoothing: Float
    let figures, gradient: [Float]
  }
  let normalisations: [Normalisation]
  let pool: Pool
  let loss: Loss

  static func read() throws -> Fixture {
    let file = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
      .appendingPathComponent("Fixtures/features.json")
    return try JSONDecoder().decode(Fixture.self, from: Data(contentsOf: file))
  }
}

/// Against another implementation, of which nothing but the figures is known.
@Suite(.usesDevice) struct FeatureFixtureTests {
  @Test func normalisationIsThatOfPyTorch() throws {
    for fixture in try Fixture.read().normalisations {
      try onEveryBackend { try normalise(fixture, on: $0) }
    }
  }

  private func normalise<B: Backend>(_ f: Fixture.Normalisation, on backend: B) throws {
    let shape = Shape(f.shape)
    let channels: Shape = [f.scale.count]
    let parameters = BatchNormalisation(
      scale: try backend.tensor(f.scale, channels), shift: try backend.tensor(f.shift, channels),
      mean: try backend.tensor(f.scale, channels), deviation: try backend.tensor(f.scale, channels),
      runningMean: try backend.tensor(f.runningMeanBefore, channels),
      runningVariance: try backend.tensor(f.runningVarianceBefore, channels))
    let x = FeatureMap(try backend.tensor(f.x, shape))
    let y = FeatureMap(try backend.tensor(f.x, shape))
    let g = FeatureMap(try backend.tensor(f.g, shape))
    let dscale = try backend.tensor(f.scale, channels)
    let dshift = try backend.tensor(f.scale, channels)
    try backend.batchNormalise(
      x, parameters, activation: f.activation, epsilon: f.epsilon, momentum: f.momentum, into: y)
    try backend.batchNormaliseBackward(
      g, output: y, input: x, parameters, activation: f.activation, into: g,
      scaleGradient: dscale, shiftGradient: dshift)
    try backend.expect(y.tensor, f.y, within: 1e-6)
    try backend.expect(parameters.runningMean, f.runningMean, within: 1e-6)
    try backend.expect(parameters.runningVariance, f.runningVariance, within: 2e-6)
    try backend.expect(g.tensor, f.dx, within: 1e-6)
    try backend.expect(dscale, f.dscale, within: 1e-5)
    try backend.expect(dshift, f.dshift, within: 1e-5)
  }

  @Test func poolingIsThatOfPyTorch() throws {
    let f = try Fixture.read().pool
    try onEveryBackend { try pool(f, on: $0) }
  }

  private func pool<B: Backend>(_ f: Fixture.Pool, on backend: B) throws {
    let large = Shape(f.shape)
    let small: Shape = [f.shape[0], f.shape[1] / 2, f.shape[2] / 2, f.shape[3]]
    let x = FeatureMap(try backend.tensor(f.x, large))
    let y = FeatureMap(try backend.tensor(f.g, small))
    let dx = FeatureMap(try backend.tensor(f.x, large))
    try backend.maxPool(x, size: 2, into: y)
    try backend.maxPoolBackward(
      FeatureMap(try backend.tensor(f.g, small)), output: y, input: x, size: 2,
      accumulating: false, into: dx)
    try backend.expect(y.tensor, f.y, within: 0)
    try backend.expect(dx.tensor, f.dx, within: 0)
  }

  @Test func lossIsThatOfPyTorch() throws {
    let f = try Fixture.read().loss
    try onEveryBackend { try loss(f, on: $0) }
  }

  private func loss<B: Backend>(_ f: Fixture.Loss, on backend: B) throws {
    let shape: Shape = [f.labels.count, f.classes]
    let labels = try backend.allocate([f.labels.count], of: UInt8.self)
    try backend.upload(f.labels, into: labels)
    let a = try backend.tensor(f.a, shape)
    let figures = try backend.allocate([3], of: Float.self)
    try backend.segmentationLoss(
      a, labels: labels, classWeights: try backend.tensor(f.weights, [f.classes]),
      settings: SegmentationLoss(
        crossEntropyWeight: f.crossEntropyWeight, diceWeight: f.diceWeight,
        smoothing: f.smoothing), gradient: a, figures: figures)
    try backend.expect(figures, f.figures, within: 1e-6)
    try backend.expect(a, f.gradient, within: 1e-7)
  }
}

extension Backend {
  fileprivate func tensor(_ values: [Float], _ shape: Shape) throws -> Floats {
    let tensor = try allocate(shape, of: Float.self)
    try upload(values, into: tensor)
    return tensor
  }

  fileprivate func expect(_ tensor: Floats, _ wanted: [Float], within bound: Float) throws {
    let got = try download(tensor)
    #expect(got.count == wanted.count)
    for (i, (value, figure)) in zip(got, wanted).enumerated() {
      #expect(abs(value - figure) <= bound, "\(name), element \(i)")
    }
  }
}
