import Compute
import Datasets
import Networks
import RandomNumbers
import ReferenceBackend
import Testing
import Training

@Suite struct MetricsTests {
  /// Predicting the mean of the set gives exactly 1.
  @Test func predictingTheMeanGivesFVUOne() {
    let images = bars(97)
    let normalisation = Normalisation(scale: 0.5, shift: -3)
    let size = images.featureCount
    let mean = (0..<size).map { j in
      (0..<images.count).reduce(0.0) { $0 + Double(images.pixels[$1 * size + j]) }
        / Double(images.count)
    }
    var squaredError = 0.0
    for n in 0..<images.count {
      for j in 0..<size {
        let difference = (Double(images.pixels[n * size + j]) - mean[j]) * 0.5
        squaredError += difference * difference
      }
    }
    let fvu = Metrics.fvu(
      squaredError: squaredError,
      totalVariation: Metrics.totalVariation(of: images, normalisation: normalisation))
    #expect(abs(fvu - 1) < 1e-12)
  }

  /// The same through a network: zero weights and the mean as the last bias.
  @Test func aNetworkThatPredictsTheMeanHasFVUOne() throws {
    let images = bars(300)
    let backend = ReferenceBackend()
    var network = AutoencoderConfiguration(widths: [64, 4, 64], encoderLayers: 1)
    network.outputActivation = .identity
    let layout = network.parameterLayout
    var parameters = [Float](repeating: 0, count: layout.count)
    for j in 0..<64 {
      let sum = (0..<300).reduce(0.0) { $0 + Double(images.pixels[$1 * 64 + j]) }
      parameters[layout.slots[3].offset + j] = Float(sum / 300 / 255)
    }
    let evaluator = try Evaluator(
      Autoencoder(network, parameters: parameters, on: backend), batchSize: 64)
    let report = try evaluator.evaluate(images, normalisation: .unit)
    #expect(abs(report.fvu - 1) < 1e-5)
    #expect(report.l0 == 0)
    #expect(report.dead == 4)
    #expect(report.images == 300)
  }

  /// A code with biases of both signs and no weights: half of the latents always fire.
  @Test func deadLatentsAndL0AreCounted() throws {
    let backend = ReferenceBackend()
    let network = AutoencoderConfiguration(widths: [64, 6, 64], encoderLayers: 1)
    let layout = network.parameterLayout
    var parameters = [Float](repeating: 0, count: layout.count)
    for j in 0..<6 { parameters[layout.slots[1].offset + j] = j < 2 ? 1 : -1 }
    let evaluator = try Evaluator(
      Autoencoder(network, parameters: parameters, on: backend), batchSize: 32)
    let report = try evaluator.evaluate(bars(100), normalisation: .unit)
    #expect(report.l0 == 2)
    #expect(report.dead == 4)
    #expect(report.firings == [100, 100, 0, 0, 0, 0])
  }

  /// The mean squared error does not depend on how the set is cut into batches.
  @Test func batchesDoNotChangeTheFigures() throws {
    let backend = ReferenceBackend()
    let network = AutoencoderConfiguration(widths: [64, 10, 64], encoderLayers: 1)
    let model = try Autoencoder(
      network, parameters: network.initialParameters(seed: 1), on: backend)
    let images = bars(101)
    let one = try Evaluator(model, batchSize: 101).evaluate(images, normalisation: .unit)
    let many = try Evaluator(model, batchSize: 7).evaluate(images, normalisation: .unit)
    #expect(one.mse == many.mse && one.fvu == many.fvu && one.l0 == many.l0)
  }
}
