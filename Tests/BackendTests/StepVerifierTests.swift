import Compute
import Datasets
import Networks
import OpenCLBackend
import OpenCLRuntime
import RandomNumbers
import ReferenceBackend
import TestSupport
import Testing
import Training

private let images: ImageSet = {
  var generator = SplitMix64(seed: 2)
  return ImageSet(
    count: 90, width: 6, height: 6, channels: 1,
    pixels: (0..<90 * 36).map { _ in UInt8(generator.nextIndex(below: 256)) })
}()

private func configuration(_ code: Code, dictionary: Bool = false) -> TrainingConfiguration {
  var result = TrainingConfiguration.recommended(
    for: dictionary
      ? .dictionary(inputs: 36, latents: 30, code: code)
      : AutoencoderConfiguration(
        widths: [36, 16, 12, 16, 36], encoderLayers: 2, code: code, unitNormDecoder: code == .l1),
    epochs: 2, batchSize: 32, targetL0: code.hasPenalty ? 3 : nil)
  if dictionary { result.arithmetic = .sparse }
  return result
}

/// Trains with every step of `interval` verified.
private func train<B: Backend>(
  _ configuration: TrainingConfiguration, on backend: B, every interval: Int?,
  changing change: @escaping (StepRecord) -> StepRecord = { $0 }
) throws -> (parameters: [Float], steps: Int) {
  let trainer = try Trainer(
    configuration, images: images, normalisation: .unit, on: backend)
  let verification = StepVerification(every: interval ?? 1, oracle: ReferenceBackend())
  let verifier = StepVerifier(
    configuration, images: images, normalisation: .unit, device: backend,
    verification: verification)
  trainer.verificationInterval = interval
  trainer.verify = { try verifier.verify(change($0)) }
  try trainer.run { _ in }
  #expect(verification.worst.ratio <= 1)
  return (trainer.lastGoodParameters, verification.steps)
}

/// Trains several models at once with every step of `interval` verified.
private func sweep<B: Backend>(
  _ configurations: [TrainingConfiguration], on backend: B, every interval: Int?,
  changing change: @escaping (Int, StepRecord) -> StepRecord = { $1 }
) throws -> (parameters: [[Float]], steps: Int) {
  let sweep = try Sweep(configurations, images: images, normalisation: .unit, on: backend)
  let verification = StepVerification(every: interval ?? 1, oracle: ReferenceBackend())
  let verifiers = configurations.enumerated().map { place, configuration in
    StepVerifier(
      configuration, images: images, normalisation: .unit, device: backend,
      model: "model \(place)", verification: verification)
  }
  sweep.verificationInterval = interval
  sweep.verify = { try verifiers[$0].verify(change($0, $1)) }
  for _ in 0..<2 { try sweep.runEpoch() }
  return (try sweep.parameters(), verification.steps)
}

/// With one bit of a moment changed, as a passing fault may leave it.
private func withAFault(_ record: StepRecord) -> StepRecord {
  var after = record.after
  guard let index = after.tensors.firstIndex(where: { $0.name == "second_moment" }) else {
    return record
  }
  let value = after.tensors[index].values[5]
  after.tensors[index].values[5] = Float(bitPattern: value.bitPattern ^ 1)
  return StepRecord(
    step: record.step, epoch: record.epoch, stepInEpoch: record.stepInEpoch,
    images: record.images, before: record.before, after: after, rowError: record.rowError,
    rowL0: record.rowL0)
}

@Suite struct StepVerifierTests {
  /// On the device that tests are run on: all steps pass, and the run has the bits of one that is
  /// not verified.
  @Test(
    .usesDevice,
    arguments: [Code.relu, .topK(3), .batchTopK(3), .jumpReLU, .hardConcrete, .l1], [false, true])
  func stepsPassAndTheRunStaysAsItIs(code: Code, dictionary: Bool) throws {
    guard !dictionary || code == .topK(3) else { return }
    let configuration = configuration(code, dictionary: dictionary)
    try expectSameBits(steps: 3) { try train(configuration, on: $0, every: $1) }
  }

  /// - Parameters:
  ///   - steps: how many are verified of those that `train` does.
  ///   - train: with each step of so many verified, or none.
  private func expectSameBits<Parameters: Equatable>(
    steps: Int, _ train: (OpenCLBackend, Int?) throws -> (parameters: Parameters, steps: Int)
  ) throws {
    guard let device = try TestDevice.find() else { return }
    let plain = try train(OpenCLBackend(device: device, tuning: .rule), nil)
    let verified = try train(OpenCLBackend(device: device, tuning: .rule), 2)
    #expect(verified.steps == steps && plain.steps == 0)
    #expect(verified.parameters == plain.parameters)
  }

  @Test(arguments: ["densePass", "denseGradients", "adam", "gather"])
  func aWrongOperationStopsTheRunAndIsNamed(operation: String) throws {
    let error = #expect(throws: TrainingError.self) {
      try train(configuration(.relu), on: FlawedBackend(flaw: operation), every: 2)
    }
    let text = "\(try #require(error))"
    #expect(text.contains("step 2, number 2 of epoch 1"), "\(text)")
    #expect(text.contains("\(operation) differs from the reference"), "\(text)")
  }

  /// A step that was not what it is when done again, as after a passing fault, is found by its bits.
  @Test func aPassingFaultIsFound() throws {
    let error = #expect(throws: TrainingError.self) {
      try train(configuration(.topK(3)), on: ReferenceBackend(), every: 2) {
        $0.step == 4 ? withAFault($0) : $0
      }
    }
    let text = "\(try #require(error))"
    #expect(text.contains("step 4, number 1 of epoch 2"), "\(text)")
    #expect(text.contains("second_moment of encoder.0.weight[5]"), "\(text)")
    #expect(text.contains("the last step that passed was 2"), "\(text)")
  }

  /// The models of a sweep too, each of them; the control of one has a state of its own.
  @Test(.usesDevice) func stepsOfASweepPass() throws {
    let configurations = [configuration(.topK(3)), configuration(.jumpReLU)]
    try expectSameBits(steps: 6) { try sweep(configurations, on: $0, every: $1) }
  }

  @Test func aFaultInOneModelOfASweepIsFound() throws {
    let error = #expect(throws: TrainingError.self) {
      _ = try sweep(
        [configuration(.topK(3)), configuration(.topK(5))], on: ReferenceBackend(), every: 2
      ) { $0 == 1 && $1.step == 4 ? withAFault($1) : $1 }
    }
    let text = "\(try #require(error))"
    #expect(text.contains("step 4, number 1 of epoch 2 of model 1, failed"), "\(text)")
    #expect(text.contains("second_moment of encoder.0.weight[5]"), "\(text)")
  }
}
