import Compute
import Datasets
import Foundation
import Networks
import OpenCLBackend
import OpenCLRuntime
import RandomNumbers
import ReferenceBackend
import TestSupport
import Testing
import Training

/// Small images with structure: 8x8 bars at random places.
func bars(_ count: Int, seed: UInt64 = 1) -> ImageSet {
  var generator = SplitMix64(seed: seed)
  var pixels = [UInt8](repeating: 0, count: count * 64)
  for image in 0..<count {
    let row = Int(generator.nextIndex(below: 8))
    let column = Int(generator.nextIndex(below: 8))
    for i in 0..<8 {
      pixels[image * 64 + row * 8 + i] = 220
      pixels[image * 64 + i * 8 + column] = 160
    }
  }
  return ImageSet(count: count, width: 8, height: 8, channels: 1, pixels: pixels)
}

func configuration(
  epochs: Int = 3, batch: Int = 32, rate: Double = 1e-2, seed: UInt64 = 1
) -> TrainingConfiguration {
  TrainingConfiguration(
    network: AutoencoderConfiguration(widths: [64, 24, 16, 24, 64], encoderLayers: 2),
    epochs: epochs, batchSize: batch, learningRate: rate, seed: seed)
}

@Suite struct TrainingAgainstPyTorchTests {
  private struct Fixture: Decodable {
    let widths: [Int]
    let rate: Double
    let pixels: [[UInt8]]
    let start, end: [[[Float]]]
    let losses, l0: [Double]
  }

  /// Five steps of Adam from the same weights: see `Fixtures/adam_steps.py`.
  @Test func fiveStepsAgree() throws {
    let file = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
      .appendingPathComponent("Fixtures/adam_steps.json")
    let fixture = try JSONDecoder().decode(Fixture.self, from: Data(contentsOf: file))
    let configuration = TrainingConfiguration(
      network: AutoencoderConfiguration(widths: fixture.widths, encoderLayers: 2), epochs: 1,
      batchSize: fixture.pixels.count, learningRate: fixture.rate)
    let backend = ReferenceBackend()
    let step = try TrainingStep(configuration, on: backend)
    let layout = step.network.arena.layout
    for (slot, values) in zip(layout.slots, fixture.start.flatMap { $0 }) {
      try backend.upload(values, into: step.network.arena.value(slot))
    }
    let images = try ResidentImages(
      ImageSet(
        count: fixture.pixels.count, width: 6, height: 1, channels: 1,
        pixels: fixture.pixels.flatMap { $0 }),
      normalisation: .unit, on: backend)
    let count = fixture.pixels.count
    let order = try backend.allocate([count], of: UInt32.self)
    try backend.upload(Array(0..<UInt32(count)), into: order)
    let errors = try backend.allocate([count], of: Float.self)
    let l0 = try backend.allocate([count], of: Float.self)
    for (wantedLoss, wantedL0) in zip(fixture.losses, fixture.l0) {
      try step.run(images: images, order: order, rows: 0..<count, rowError: errors, rowL0: l0)
      let loss = try backend.download(errors).reduce(0.0) { $0 + Double($1) } / Double(count * 6)
      #expect(abs(loss - wantedLoss) < 1e-6 * wantedLoss)
      #expect(
        try backend.download(l0).reduce(0.0) { $0 + Double($1) } / Double(count) == wantedL0)
    }
    for (slot, values) in zip(layout.slots, fixture.end.flatMap { $0 }) {
      let got = try backend.download(step.network.arena.value(slot))
      for (value, wanted) in zip(got, values) {
        #expect(abs(value - wanted) < 2e-6, "\(slot.name): \(value), PyTorch has \(wanted)")
      }
    }
  }
}

@Suite struct TrainerTests {
  @Test func lossFallsAndFiguresHold() throws {
    let images = bars(500)
    let trainer = try Trainer(
      configuration(epochs: 30), images: images, normalisation: .unit, on: ReferenceBackend())
    var epochs: [Int] = []
    try trainer.run { event in
      if case .epoch(let metrics) = event { epochs.append(metrics.epoch) }
    }
    #expect(epochs == Array(1...30))
    let (first, last) = (trainer.history[0], trainer.history[29])
    #expect(last.mse < first.mse / 2)
    // alpha is 1 / inputs, so that the loss is the mean squared error.
    #expect(abs(last.loss - last.mse) < 1e-12)
    #expect(last.l0 > 0 && last.l0 <= 16)
    #expect(trainer.lastGoodEpoch == 30)
  }

  @Test func aSeedDecidesEveryBit() throws {
    func train(seed: UInt64, threads: Int) throws -> [Float] {
      let trainer = try Trainer(
        configuration(seed: seed), images: bars(100), normalisation: .unit,
        on: ReferenceBackend(threads: threads))
      try trainer.run { _ in }
      return trainer.lastGoodParameters
    }
    let first = try train(seed: 1, threads: 1)
    #expect(try train(seed: 1, threads: 2) == first)
    #expect(try train(seed: 2, threads: 2) != first)
  }

  /// 100 images in batches of 32 make four steps, the last of four images: every image counts.
  @Test func theLastSmallBatchIsTrained() throws {
    let backend = ReferenceBackend()
    let trainer = try Trainer(
      configuration(epochs: 1), images: bars(100), normalisation: .unit, on: backend)
    try trainer.run { _ in }
    #expect(trainer.step.optimizer.stepCount == 4)
  }

  @Test func aBatchLargerThanTheSetIsRefused() {
    #expect(throws: TrainingError.self) {
      _ = try Trainer(
        configuration(batch: 101), images: bars(100), normalisation: .unit, on: ReferenceBackend())
    }
  }

  @Test func divergenceNamesTheStepAndKeepsTheLastGoodModel() throws {
    // Two good epochs, then a NaN among the parameters.
    let backend = ReferenceBackend()
    let trainer = try Trainer(
      configuration(epochs: 5), images: bars(320), normalisation: .unit, on: backend)
    var kept: [Float] = []
    let error = #expect(throws: TrainingError.self) {
      try trainer.run { event in
        guard case .epoch(let metrics) = event, metrics.epoch == 2 else { return }
        kept = trainer.lastGoodParameters
        let bias = trainer.step.network.arena.layout.slots[7]
        try backend.fill(trainer.step.network.arena.value(bias), with: .nan)
      }
    }
    guard case .diverged(let epoch, let step, let keptEpoch) = try #require(error) else {
      Issue.record("another error: \(String(describing: error))")
      return
    }
    #expect((epoch, step, keptEpoch) == (3, 1, 2))
    #expect(trainer.lastGoodParameters == kept)
    #expect(!kept.isEmpty && !kept.contains { !$0.isFinite })
  }
}

@Suite(.usesDevice) struct DeviceTrainingTests {
  private func losses<B: Backend>(
    _ configuration: TrainingConfiguration, _ images: ImageSet, steps: Int, on backend: B
  ) throws -> ([Double], [Float]) {
    let step = try TrainingStep(configuration, on: backend)
    let resident = try ResidentImages(images, normalisation: .unit, on: backend)
    let count = steps * configuration.batchSize
    let order = try backend.allocate([count], of: UInt32.self)
    try backend.upload((0..<count).map { UInt32($0 % images.count) }, into: order)
    let errors = try backend.allocate([count], of: Float.self)
    let l0 = try backend.allocate([count], of: Float.self)
    for index in 0..<steps {
      let rows = index * configuration.batchSize..<(index + 1) * configuration.batchSize
      try step.run(
        images: resident, order: order, rows: rows, rowError: errors.rows(rows),
        rowL0: l0.rows(rows))
    }
    let values = try backend.download(errors)
    let losses = (0..<steps).map { index in
      values[index * configuration.batchSize..<(index + 1) * configuration.batchSize]
        .reduce(0.0) { $0 + Double($1) }
    }
    return (losses, try backend.download(step.network.arena.values))
  }

  /// The same loss on device and reference to 1e-5 over the first 20 steps, at the seed's size.
  @Test(arguments: DeviceFamily.allCases)
  func deviceFollowsTheReference(family: DeviceFamily) throws {
    guard let device = try TestDevice.find() else { return }
    let images = Glyphs.dataset(trainCount: 2000, testCount: 1, seed: 3).train
    let configuration = TrainingConfiguration(network: .collapsed(inputs: 784), seed: 4)
    let backend = try OpenCLBackend(device: device, family: family, tuning: .rule)
    let (onDevice, _) = try losses(configuration, images, steps: 20, on: backend)
    let (onReference, _) = try losses(configuration, images, steps: 20, on: ReferenceBackend())
    for (step, (got, wanted)) in zip(onDevice, onReference).enumerated() {
      #expect(abs(got - wanted) <= 1e-5 * wanted, "step \(step + 1): \(got), reference \(wanted)")
    }
  }

  @Test func twoRunsGiveTheSameBits() throws {
    guard let device = try TestDevice.find() else { return }
    let images = Glyphs.dataset(trainCount: 1000, testCount: 1, seed: 3).train
    let configuration = TrainingConfiguration(network: .collapsed(inputs: 784), seed: 4)
    func run() throws -> [Float] {
      let backend = try OpenCLBackend(device: device)
      return try losses(configuration, images, steps: 30, on: backend).1
    }
    let (first, second) = (try run(), try run())
    let same = first == second
    #expect(same)
  }
}
