import Compute
import Datasets
import DeviceTrust
import Foundation
import Networks
import OpenCLBackend
import OpenCLRuntime
import RandomNumbers
import Segmentation
import TestSupport
import Testing
import Training
import Verification

/// What a small training run and the evaluation after it leave.
private struct TrainingResult: Equatable {
  let parameters: [Float]
  let firings: [UInt32]
  let mse: Double
}

private let glyphs = Glyphs.dataset(trainCount: 24, testCount: 8, seed: 3)

private func train(_ configuration: TrainingConfiguration, on backend: OpenCLBackend) throws
  -> TrainingResult
{
  let trainer = try Trainer(configuration, images: glyphs.train, normalisation: .unit, on: backend)
  try trainer.run { _ in }
  let report = try Evaluator(trainer.step.network, batchSize: 5).evaluate(
    glyphs.test, normalisation: .unit)
  return TrainingResult(
    parameters: trainer.lastGoodParameters, firings: report.firings, mse: report.mse)
}

/// Three steps an epoch, so that the last batch of one is short.
private func configuration(_ network: AutoencoderConfiguration, targetL0: Double? = nil)
  -> TrainingConfiguration
{
  TrainingConfiguration.recommended(for: network, epochs: 2, batchSize: 10, targetL0: targetL0)
}

@Suite(.usesDevice) struct FaultTests {
  /// Every call and event of a training run and its evaluation, on both layouts of the kernels.
  @Test(arguments: DeviceFamily.allCases) func training(family: DeviceFamily) throws {
    guard let device = try TestDevice.find() else { return }
    let networks: [(name: String, configuration: TrainingConfiguration)] = [
      ("collapsed", configuration(.collapsed(inputs: 784))),
      ("jumprelu", configuration(.collapsed(inputs: 784, code: .jumpReLU), targetL0: 8)),
      ("topk dictionary", configuration(.dictionary(inputs: 784, latents: 96, code: .topK(4)))),
    ]
    for (name, configuration) in networks {
      for fault in Fault.allCases {
        // Every event; of the calls of one network every seventh, of the others every 29th, unless
        // `SPARROW_FAULTS=all`, which takes half an hour.
        let isFirst = name == networks[0].name
        let tally = try Faults.failEach(
          fault, device: device, family: family,
          step: fault == .event ? 1 : isFirst && fault == .once ? 7 : 29
        ) { try train(configuration, on: $0) }
        tally.print(as: "training \(name), \(family) layout, \(fault)")
        guard fault == .once else { continue }
        #expect(tally.injected > (isFirst ? 150 : 30))
        guard isFirst else { continue }
        #expect(tally.calls.count >= 6)
        guard Faults.isThorough else { continue }
        #expect(
          tally.calls.isSuperset(of: [
            "clCreateBuffer", "clSetKernelArg", "clEnqueueNDRangeKernel", "clEnqueueReadBuffer",
            "clEnqueueWriteBuffer", "clCreateKernel",
          ]))
      }
    }
  }

  /// A step of a segmenter's training, and the prediction of an image in tiles.
  @Test(arguments: DeviceFamily.allCases) func segmentation(family: DeviceFamily) throws {
    guard let device = try TestDevice.find() else { return }
    let work = try SegmentationWork()
    for fault in Fault.allCases {
      let training = try Faults.failEach(
        fault, device: device, family: family, step: fault == .event ? 1 : 29
      ) { try work.train(on: $0).parameters }
      training.print(as: "segmentation step, \(family) layout, \(fault)")
    }
    guard let model = try? work.train(on: OpenCLBackend(device: device, family: family)) else {
      Issue.record("no model")
      return
    }
    for fault in [Fault.once, .lasting] {
      let prediction = try Faults.failEach(
        fault, device: device, family: family, step: fault == .event ? 1 : 29
      ) { try work.predict(model, on: $0) }
      prediction.print(as: "prediction, \(family) layout, \(fault)")
    }
  }

  /// Programs that are built from source, and taken from the cache.
  @Test func buildingAndTheCache() throws {
    guard let device = try TestDevice.find() else { return }
    func sums(_ backend: OpenCLBackend) throws -> [Float] {
      let x = try backend.allocate([3, 7], of: Float.self)
      let sums = try backend.allocate([7], of: Float.self)
      try backend.fill(x, with: 0.5)
      try backend.columnSums(of: x, into: sums)
      return try backend.download(sums)
    }
    for fault in [Fault.once, .lasting] {
      let built = try Faults.failEach(fault, device: device, family: .cpu, cache: nil, work: sums)
      #expect(built.calls.contains("clBuildProgram"))
      built.print(as: "building, \(fault)")
      let folder = try TemporaryFolder()
      let cache = ProgramCache(directory: URL(fileURLWithPath: folder.path))
      let cached = try Faults.failEach(
        fault, device: device, family: .cpu, cache: cache, mayBeMadeGood: true, work: sums)
      // A binary that the driver does not take is built anew.
      #expect(fault == .lasting || cached.madeGood > 0)
      cached.print(as: "cache, \(fault)")
    }
  }

  /// The measurement of matmul's variants: one that cannot run is passed over.
  @Test func tuning() throws {
    guard let device = try TestDevice.find() else { return }
    // So large that a variant is timed by two launches, and tall, for three variants on two cores.
    let (m, n, k) = (96, 128, 6000)
    var generator = SplitMix64(seed: 5)
    let a = (0..<m * k).map { _ in generator.nextUniform() }
    let b = (0..<k * n).map { _ in generator.nextUniform() }
    let tally = try Faults.failEach(
      .once, device: device, family: .cpu, tuning: MatmulTuning(file: nil, measures: true),
      step: 5, mayBeMadeGood: true
    ) { backend in
      let (x, y, c) = (
        try backend.allocate([m, k], of: Float.self), try backend.allocate([k, n], of: Float.self),
        try backend.allocate([m, n], of: Float.self)
      )
      try backend.upload(a, into: x)
      try backend.upload(b, into: y)
      try backend.matmul(MatrixOperand(x), MatrixOperand(y), into: c, epilogue: .none)
      return try backend.download(c)
    }
    tally.print(as: "tuning")
  }

  /// A platform or device that answers with an error is left out with its reason, and nothing else.
  @Test func listing() throws {
    guard let device = try TestDevice.find() else { return }
    let (all, calls) = try FaultInjection.countCalls { try DeviceCatalog.survey() }
    var tally = FaultTally()
    for code in Faults.codes {
      for call in 1...calls {
        FaultInjection.arm(failing: call, code: code)
        defer { FaultInjection.disarm() }
        tally.injected += 1
        do {
          let entries = try DeviceCatalog.survey()
          let problems = entries.flatMap(\.problems)
          // Not all drivers tell devices of one model apart.
          if problems.isEmpty, Self.lacksUnits(entries, all) {
            tally.madeGood += 1
            continue
          }
          #expect(problems.count == 1)
          #expect(problems.first?.contains(OpenCLError.symbol(of: code)) == true)
          let count = entries.reduce(0) { $0 + $1.devices.count }
          #expect(count < all.reduce(0) { $0 + $1.devices.count })
          tally.madeGood += 1
        } catch let error as OpenCLError {
          #expect(error.call == "clGetPlatformIDs" && error.code == code)
          tally.thrown += 1
          tally.calls.insert(error.call)
        }
        #expect(!FaultInjection.isArmed)
      }
    }
    tally.print(as: "listing")
    #expect(try DeviceCatalog.devices().map(\.properties).contains(device.properties))
  }

  private static func lacksUnits(
    _ entries: [DeviceCatalog.Entry], _ all: [DeviceCatalog.Entry]
  ) -> Bool {
    let (some, whole) = (entries.flatMap(\.devices), all.flatMap(\.devices))
    return some.map(\.name) == whole.map(\.name)
      && some.map(\.properties.unit) != whole.map(\.properties.unit)
  }

  /// Every case of the self-test, with each of its calls failed: the verdict names the call, and
  /// the next self-test on the same backend passes.
  @Test(arguments: DeviceFamily.allCases) func selfTest(family: DeviceFamily) throws {
    guard let device = try TestDevice.find() else { return }
    let backend = try OpenCLBackend(device: device, family: family, tuning: .rule)
    var tally = FaultTally()
    // Every fifth case, unless all are asked for.
    for (index, operation) in OperationCases.start.enumerated()
    where Faults.isThorough || index.isMultiple(of: 5) {
      #expect(try operation.report(on: backend).comparison.passes)
      // How often a write is asked whether it is complete depends on the moment, so that the number
      // of calls is not known beforehand.
      for call in 1... {
        let code = Faults.codes[call % Faults.codes.count]
        FaultInjection.arm(failing: call, code: code)
        defer { FaultInjection.disarm() }
        do {
          let comparison = try operation.report(on: backend).comparison
          #expect(comparison.passes && FaultInjection.isArmed, "call \(call) went unnoticed")
          break
        } catch let error as OpenCLError {
          #expect(error.code == code && error.call.hasPrefix("cl"))
          tally.thrown += 1
          tally.calls.insert(error.call)
        }
        tally.injected += 1
        let again = try operation.report(on: backend).comparison
        #expect(again.passes, "\(operation.operation) after call \(call): \(again.failure ?? "")")
      }
    }
    // The whole self-test says in its verdict what failed.
    let first = Array(OperationCases.start.prefix(3))
    var call = 1
    while true {
      let code = Faults.codes[call % Faults.codes.count]
      FaultInjection.arm(failing: call, code: code)
      defer { FaultInjection.disarm() }
      let ledger = HandleLedger()
      let verdict = ledger.observe { SelfTest.run(first, on: device, family: family) }
      #expect(ledger.liveCount == 0)
      if FaultInjection.isArmed { break }
      tally.injected += 1
      call += 1
      switch verdict {
      case .failed(let error):
        #expect(error.hasPrefix("cl") && error.contains(OpenCLError.symbol(of: code)))
        tally.thrown += 1
      default:
        // Around the cache of programs failures are made good.
        #expect(verdict.isPassed)
        tally.madeGood += 1
      }
    }
    tally.print(as: "self-test, \(family) layout")
  }

  /// A kernel that ended midway has not returned its tickets; the failure that tells of it makes
  /// the next launch begin with fresh ones.
  @Test func ticketsOfAKernelThatEndedMidway() throws {
    guard let device = try TestDevice.find() else { return }
    let text = KernelSources.standard.text(of: .tickets)
    let kept = text.replacingOccurrences(
      of: "#define RETURN_TICKETS", with: "#define RETURN_TICKETS\n#define NEVER")
    #expect(kept != text)
    let backend = try OpenCLBackend(
      device: device, family: .cpu, tuning: .rule,
      sources: KernelSources.standard.replacing(.tickets, with: kept))
    let x = try backend.allocate([9, 9], of: Float.self)
    let y = try backend.allocate([9, 9], of: Float.self)
    let bias = try backend.allocate([9], of: Float.self)
    try backend.fill(x, with: 2)
    try backend.fill(bias, with: 0)
    // Not a matmul, whose tiles have a trial of their own that such a kernel does not pass.
    func product() throws -> [Float] {
      try backend.fill(y, with: -1)
      try backend.denseForward(
        x, through: [DenseLayer(weight: x, bias: bias, activation: .identity, output: y)])
      return try backend.download(y)
    }
    let right = [Float](repeating: 36, count: 81)
    #expect(try product() == right)
    // Without a failure nobody knows: no block is left to draw.
    #expect(try product() != right)
    for isEvent in [false, true] {
      if isEvent {
        FaultInjection.arm(failingEvent: 1, code: -5)
        #expect(throws: OpenCLError.self) { try backend.beginDownload(y).wait() }
      } else {
        FaultInjection.arm(failing: 1, code: -5)
        #expect(throws: OpenCLError.self) { try backend.finish() }
      }
      FaultInjection.disarm()
      #expect(try product() == right)
      #expect(try product() != right)
    }
  }
}

/// A segmenter so small that each of its calls can be failed.
struct SegmentationWork {
  private let images: [LabelledImage]
  private let normalisation: PercentileNormalisation
  private let classes: ClassMap

  init() throws {
    var generator = SplitMix64(seed: 7)
    let (width, height) = (20, 16)
    let labels = (0..<width * height).map { UInt8($0 % width / 10) }
    let image = SampleImage(
      width: width, height: height, channels: 1, sampleType: .uint8,
      samples: labels.map { (90 + 60 * Float($0) + 20 * generator.nextUniform()).rounded() })
    var counter = PercentileCounter(like: image)
    try counter.add(image, path: "image")
    normalisation = counter.normalisation()
    images = [LabelledImage(name: "image", image: normalisation(image), labels: labels)]
    plain = image
    classes = try ClassMap(parsing: "left=0,right=1")
  }

  private let plain: SampleImage

  func pretrain(on backend: OpenCLBackend, code: Code) throws -> PretrainedModel {
    let network = ConvolutionalConfiguration(
      inputs: 1, baseChannels: 8, levels: 2, code: code, hasSkips: false, outputs: 1)
    let model = try Pretrainer.train(
      ConvolutionalTraining(
        network: network, cropSize: 8, batchSize: 2, length: .steps(1), learningRate: 1e-2),
      alpha: 1, corruption: Corruption(maskShare: 0.1, maskSize: 2, noise: 0.05), images: images,
      normalisation: normalisation, verification: StepVerification<OpenCLBackend>?.none,
      on: backend
    ) { _ in }
    _ = try Pretrainer.evaluate(model, images: images, on: backend)
    return model
  }

  func encode(_ model: PretrainedModel, on backend: OpenCLBackend) throws {
    _ = try CodeClustering(model, on: backend).codes(of: plain)
  }

  func train(on backend: OpenCLBackend, code: Code = .topK(3)) throws -> SegmenterModel {
    let network = ConvolutionalConfiguration(
      inputs: 1, baseChannels: 8, levels: 2, code: code, hasSkips: true, outputs: 2)
    return try SegmenterTrainer.train(
      ConvolutionalTraining(
        network: network, cropSize: 8, batchSize: 2, length: .steps(1), learningRate: 1e-2),
      SegmenterTraining(
        loss: SegmentationLoss(), classWeights: [1, 1], augmentation: .light,
        freezesFrontEnd: false, frontEnd: .scratch),
      images: images, normalisation: normalisation, classes: classes, pretrained: nil,
      verification: StepVerification<OpenCLBackend>?.none, on: backend
    ) { _ in }
  }

  func predict(
    _ model: SegmenterModel, adaptation: Float? = nil, on backend: OpenCLBackend
  ) throws -> [Float] {
    try SegmentationPredictor(
      model, settings: PredictionSettings(tileSize: 12, adaptation: adaptation), on: backend
    ).predict(plain).probabilities
  }
}
