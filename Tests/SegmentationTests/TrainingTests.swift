import Compute
import Foundation
import Imaging
import Networks
import OpenCLBackend
import OpenCLRuntime
import RandomNumbers
import ReferenceBackend
import Segmentation
import TestSupport
import Testing
import Training

@Suite(.usesDevice) struct VerifiedTrainingTests {
  /// All steps pass, and the run has the bits of one that is not verified.
  @Test(arguments: [Code.relu, .topK(3), .batchTopK(3), .jumpReLU, .hardConcrete, .l1])
  func stepsPassAndTheRunStaysAsItIs(code: Code) throws {
    guard let device = try TestDevice.find() else { return }
    let backend = try OpenCLBackend(device: device, tuning: .rule)
    let verification = StepVerification(every: 2, oracle: ReferenceBackend())
    let plain = try segmenter(steps: 4, code: code, levels: 3, on: backend)
    let verified = try segmenter(
      steps: 4, code: code, levels: 3, on: backend, verification: verification)
    #expect(verification.steps == 2 && verification.lastStep == 4)
    #expect(plain.parameters == verified.parameters && plain.statistics == verified.statistics)
    let target = code.hasPenalty ? 2.0 : nil
    let (front, _) = try pretrained(steps: 4, code: code, target: target, on: backend)
    let (verifiedFront, _) = try pretrained(
      steps: 4, code: code, target: target, on: backend, verification: verification)
    #expect(verification.steps == 4)
    #expect(front.parameters == verifiedFront.parameters)
    #expect(verification.worst.ratio > 0 && verification.worst.ratio <= 1)
  }

  @Test func aWrongKernelStopsTheRunAndIsNamed() throws {
    guard let device = try TestDevice.find() else { return }
    let text = KernelSources.standard.text(of: .pool)
    let wrong = text.replacingOccurrences(
      of: "if (accumulating) slope +=", with: "if (accumulating) slope =")
    #expect(wrong != text)
    let backend = try OpenCLBackend(
      device: device, tuning: .rule, sources: KernelSources.standard.replacing(.pool, with: wrong))
    let error = #expect(throws: TrainingError.self) {
      try segmenter(
        steps: 4, on: backend,
        verification: StepVerification(every: 3, oracle: ReferenceBackend()))
    }
    let words = "\(try #require(error))"
    #expect(words.hasPrefix("step 3 failed its verification: "), "\(words)")
    #expect(words.contains("maxPoolBackward differs from the reference"), "\(words)")
    #expect(words.hasSuffix("no step passed before"), "\(words)")
  }
}

@Suite struct SegmenterTrainingTests {
  @Test(arguments: [Code.relu, .topK(3), .batchTopK(3), .jumpReLU, .hardConcrete, .l1])
  func learnsToTellSpotsFromTheGround(code: Code) throws {
    let backend = ReferenceBackend()
    var losses: [Float] = []
    let model = try segmenter(steps: 80, code: code, on: backend) {
      losses.append($0.figures[0])
    }
    #expect(losses.count == 80)
    let (first, last) = (losses.prefix(10).reduce(0, +), losses.suffix(10).reduce(0, +))
    #expect(last < 0.6 * first)
    let predictor = try SegmentationPredictor(model, on: backend)
    var report = SegmentationReport(classes: ["ground", "spot"])
    for image in brightSpots(count: 4).suffix(2) {
      report.add(
        image.name, prediction: try predictor.predict(image.image).labels,
        truth: image.labels ?? [], width: image.image.width, height: image.image.height)
    }
    #expect(report.overall.miou ?? 0 > 0.75, "\(report.overall.miou ?? 0)")
  }

  @Test func sameSeedSameBits() throws {
    let backend = ReferenceBackend()
    let first = try segmenter(steps: 6, on: backend)
    let again = try segmenter(steps: 6, on: backend)
    let other = try segmenter(steps: 6, seed: 2, on: backend)
    #expect(first.parameters == again.parameters && first.statistics == again.statistics)
    #expect(first.parameters != other.parameters)
  }

  @Test(.usesDevice, arguments: [DeviceFamily.cpu, .gpu])
  func theDeviceTrainsAsTheReferenceDoes(family: DeviceFamily) throws {
    guard let device = try TestDevice.find() else { return }
    func losses<B: Backend>(on backend: B) throws -> [Float] {
      var losses: [Float] = []
      // Of three levels the lowest has 16 channels, from which there is minimal filtering.
      _ = try segmenter(steps: 8, code: .relu, levels: 3, on: backend) {
        losses.append($0.figures[0])
      }
      return losses
    }
    let expected = try losses(on: ReferenceBackend())
    let found = try losses(
      on: OpenCLBackend(device: device, family: family, tuning: .rule))
    for (a, b) in zip(expected, found) { #expect(abs(a - b) < 2e-3 * abs(a), "\(a) and \(b)") }
  }

  @Test func aFrozenFrontEndStaysAsItWas() throws {
    let backend = ReferenceBackend()
    let (front, _) = try pretrained(steps: 4, on: backend)
    var frozen = settings(.pretrained)
    frozen.freezesFrontEnd = true
    let model = try segmenter(steps: 4, frozen, pretrained: front, on: backend)
    for (layout, values, from, source) in [
      (
        model.network.parameterLayout, model.parameters, front.network.parameterLayout,
        front.parameters
      ),
      (
        model.network.statisticsLayout, model.statistics, front.network.statisticsLayout,
        front.statistics
      ),
    ] {
      for slot in layout.slots where slot.name.hasPrefix("encoder.") || slot.name.hasPrefix("code.")
      {
        let other = try #require(from.slots.first { $0.name == slot.name })
        #expect(
          values[slot.offset..<slot.offset + slot.shape.count]
            == source[other.offset..<other.offset + other.shape.count], "\(slot.name)")
      }
    }
  }

  /// What the front end is when a run goes on is the checkpoint's, not what a new run starts from.
  @Test(
    arguments: [Code.relu, .topK(3), .batchTopK(3), .jumpReLU, .hardConcrete, .l1], [false, true])
  func aFrozenRunThatWasStoppedEndsWithTheSameBits(code: Code, learnsUnlabelled: Bool) throws {
    let backend = ReferenceBackend()
    let (front, _) = try pretrained(steps: 10, code: code, on: backend)
    let images = brightSpots(count: 4)
    let normalisation = front.description.normalisation
    let classes = try #require(spots)
    var own = settings(.pretrained)
    own.freezesFrontEnd = true
    if learnsUnlabelled {
      (own.selfTraining, own.adaptation) = (SelfTraining(start: 0.4), 0.3)
    }
    let configuration = training(network(code: code), steps: 10)
    func train(
      _ front: PretrainedModel?, from state: ConvolutionalState? = nil,
      _ keeper: RunKeeper<ConvolutionalState>? = nil,
      verification: StepVerification<ReferenceBackend>? = nil
    ) throws -> SegmenterModel {
      try SegmenterTrainer.train(
        configuration, own, images: normalised(Array(images[..<2]), normalisation),
        unlabelled: learnsUnlabelled ? Array(images[2...]) : [], normalisation: normalisation,
        classes: classes, pretrained: front, from: state, keeper: keeper,
        verification: verification, on: backend
      ) { _ in }
    }
    let whole = try train(front)
    let folder = try TemporaryFolder()
    let settings = SegmentationSettings(
      model: SegmenterDescription(
        training: configuration, segmenting: own, normalisation: normalisation, classes: classes,
        stepsDone: 0, images: 2), images: "/images", labels: "/labels", limit: nil)
    let description = ConvolutionalCheckpoint<SegmentationSettings>.Description(
      settings: settings, content: "", device: "", program: "")
    // Before the teacher and after it.
    for stop in [2, 9] {
      let store = CheckpointStore(folder: try folder.makeFolder("stopped-\(stop)"))
      var asked = 0
      let keeper = RunKeeper<ConvolutionalState>(
        store: store, interval: nil,
        requestedStop: {
          asked += 1
          return asked == stop ? 2 : nil
        },
        contents: {
          try ConvolutionalCheckpoint(description: description, state: $0).contents()
        })
      #expect(throws: RunInterrupted.self) { try train(front, keeper) }
      let saved = try ConvolutionalCheckpoint<SegmentationSettings>(path: store.current).state
      #expect((1..<10).contains(saved.training.stepCount))
      let verification = StepVerification(every: 2, oracle: ReferenceBackend())
      let resumed = try train(nil, from: saved, verification: verification)
      #expect(verification.steps > 0)
      #expect(resumed.parameters == whole.parameters)
      #expect(resumed.statistics == whole.statistics)
    }
  }

  @Test func aFrontEndOfAnotherShapeIsRefused() throws {
    let backend = ReferenceBackend()
    let (front, _) = try pretrained(steps: 1, on: backend)
    #expect(throws: TrainingError.self) {
      try segmenter(
        steps: 1, code: .topK(3), levels: 3, settings(.pretrained), pretrained: front, on: backend)
    }
  }
}

@Suite struct PretrainingTests {
  @Test func restoresWhatWasTakenAway() throws {
    let backend = ReferenceBackend()
    let (_, before) = try pretrained(steps: 1, on: backend)
    let (_, after) = try pretrained(steps: 120, on: backend)
    #expect(after.fvu < 0.7 * before.fvu, "\(before.fvu) to \(after.fvu)")
    #expect(after.l0 > 0 && after.l0 <= 3)
  }

  @Test func aTargetIsHeld() throws {
    let (_, report) = try pretrained(
      steps: 300, code: .jumpReLU, target: 2, on: ReferenceBackend())
    #expect(abs(report.l0 - 2) < 0.4, "\(report.l0)")
  }
}

@Suite struct PredictorTests {
  /// Whatever the tiles, the bits are those of the whole image.
  @Test(.usesDevice, arguments: [Code.relu, .topK(3), .jumpReLU])
  func tilesGiveTheBitsOfTheWhole(code: Code) throws {
    let model = try segmenter(steps: 2, code: code, levels: 3, on: ReferenceBackend())
    let image = brightSpots(count: 1, width: 91, height: 75)[0].image
    func check<B: Backend>(on backend: B) throws {
      let whole = try SegmentationPredictor(
        model, settings: PredictionSettings(tileSize: 96), on: backend
      ).predict(image)
      #expect(whole.probabilities.count == 91 * 75 * 2)
      for tileSize in [8, 20, 33, 64] {
        let predictor = try SegmentationPredictor(
          model, settings: PredictionSettings(tileSize: tileSize), on: backend)
        #expect(try predictor.plan(width: 91, height: 75).tileCount > 1)
        #expect(try predictor.predict(image).probabilities == whole.probabilities, "\(tileSize)")
      }
      // The positions of the lowest resolution are odd in number, so that mirrored they would change
      // places with those between them.
      for views in [PredictionViews.two, .eight] {
        let results = try [96, 20].map { tileSize in
          try SegmentationPredictor(
            model, settings: PredictionSettings(tileSize: tileSize, views: views), on: backend
          ).predict(image).probabilities
        }
        #expect(results[0] == results[1], "\(views)")
        #expect(results[0] != whole.probabilities)
      }
    }
    try check(on: ReferenceBackend())
    guard let device = try TestDevice.find() else { return }
    for family in [DeviceFamily.cpu, .gpu] {
      try check(on: OpenCLBackend(device: device, family: family, tuning: .rule))
    }
  }

  /// With two views an image mirrored left to right is segmented like the image, mirrored; with four
  /// also top to bottom, with eight also transposed, and never without.
  @Test(arguments: PredictionViews.allCases)
  func viewsMakeThePredictionSymmetric(views: PredictionViews) throws {
    let (width, height) = (24, 32)
    let model = try segmenter(steps: 3, on: ReferenceBackend())
    let image = brightSpots(count: 1, width: width, height: height)[0].image
    let predictor = try SegmentationPredictor(
      model, settings: PredictionSettings(views: views), on: ReferenceBackend())
    let plain = try predictor.predict(image).probabilities
    for (least, transposes, index) in [
      (2, false, { y, x in y * width + width - 1 - x }),
      (4, false, { y, x in (height - 1 - y) * width + x }),
      (8, true, { y, x in x * height + y }),
    ] as [(Int, Bool, (Int, Int) -> Int)] {
      var moved = SampleImage(
        width: transposes ? height : width, height: transposes ? width : height, channels: 1,
        sampleType: image.sampleType, samples: image.samples)
      for y in 0..<height {
        for x in 0..<width { moved.samples[index(y, x)] = image.samples[y * width + x] }
      }
      let other = try predictor.predict(moved).probabilities
      var largest: Float = 0
      for y in 0..<height {
        for x in 0..<width {
          largest = max(largest, abs(plain[2 * (y * width + x)] - other[2 * index(y, x)]))
        }
      }
      #expect(views.rawValue >= least ? largest < 1e-5 : largest > 1e-4, "\(least): \(largest)")
    }
  }

  @Test func tilesFitTheMemory() throws {
    let model = try segmenter(steps: 1, levels: 3, on: ReferenceBackend())
    let small = try SegmentationPredictor(
      model, settings: PredictionSettings(memoryLimit: 8 << 20), on: ReferenceBackend())
    let large = try SegmentationPredictor(model, on: ReferenceBackend())
    #expect(try small.plan(width: 900, height: 900).tileSize < 512)
    #expect(try large.plan(width: 900, height: 900).tileCount == 1)
    #expect(throws: SegmentationError.self) {
      let tiny = try SegmentationPredictor(
        model, settings: PredictionSettings(memoryLimit: 1 << 16), on: ReferenceBackend())
      _ = try tiny.plan(width: 2000, height: 2000)
    }
  }
}

@Suite struct TrainingLengthTests {
  /// A run by the clock has its last step once, when the time is over.
  @Test func aStepIsTheLastOneWhenTheTimeIsOver() {
    let length = TrainingLength.minutes(1)
    #expect(length.expectedSteps(done: 726, seconds: 59.98) == 727)
    #expect(length.expectedSteps(done: 100, seconds: 30) == 200)
    #expect(length.expectedSteps(done: 727, seconds: 60.01) == 727)
    #expect(TrainingLength.steps(7).expectedSteps(done: 7, seconds: 1) == 7)
  }
}

@Suite struct TilesOnDevicesTests {
  private func plan(
    _ settings: PredictionSettings, _ free: FreeMemory
  ) throws(SegmentationError) -> TilePlan {
    try settings.plan(
      width: 900, height: 900,
      network: ConvolutionalConfiguration(
        .base, inputs: 1, code: nil, hasSkips: true, outputs: 2),
      crops: nil, margin: 0, free: free)
  }

  /// In one piece and in all, whatever `--max-memory` allows.
  @Test func tilesFitTheDevice() throws {
    let settings = PredictionSettings(memoryLimit: 1 << 40)
    #expect(try plan(settings, .unlimited).tileCount == 1)
    for free in [
      FreeMemory(largest: 100 << 20, total: .max), FreeMemory(largest: .max, total: 100 << 20),
    ] {
      let tiles = try plan(settings, free)
      #expect(tiles.tileCount > 1 && tiles.tileSize >= 128)
    }
    let little = FreeMemory(largest: 1 << 20, total: 1 << 20)
    #expect {
      _ = try plan(settings, little)
    } throws: {
      "\($0)".hasPrefix("out of device memory")
    }
    #expect {
      _ = try plan(PredictionSettings(tileSize: 900, memoryLimit: 1 << 40), little)
    } throws: {
      "\($0)".hasPrefix("--tile 900: its maps take")
    }
  }
}

@Suite(.usesDevice) struct DeviceFailureTests {
  /// A command that was aborted on the device may have ended midway: what it has left is not saved.
  @Test func noStateIsLeftByACommandThatWasAborted() throws {
    guard let device = try TestDevice.find() else { return }
    let backend = try OpenCLBackend(device: device, tuning: .rule)
    let images = brightSpots(count: 2)
    let normalisation = try percentiles(images)
    /// - Returns: how many steps the states had that were saved.
    func saved(
      failing event: Int?, stopsAtEnd: Bool = false
    ) throws -> (steps: [Int], isReached: Bool) {
      let folder = try TemporaryFolder()
      let keeper = RunKeeper<ConvolutionalState>(
        store: CheckpointStore(folder: folder.path), interval: nil, requestedStop: { nil },
        contents: { _ in Safetensors(metadata: [:], entries: []) })
      var (steps, isReached) = ([Int](), false)
      keeper.willSave = { steps.append($0.training.stepCount) }
      if let event { FaultInjection.arm(failingEvent: event) }
      defer { FaultInjection.disarm() }
      do {
        _ = try SegmenterTrainer.train(
          training(network(), steps: 3), settings(), images: normalised(images, normalisation),
          normalisation: normalisation, classes: try #require(spots), pretrained: nil,
          keeper: keeper, verification: StepVerification<ReferenceBackend>?.none, on: backend
        ) {
          if stopsAtEnd, $0.step == 3 { throw TrainingError.unsuitableData("an error of the host") }
        }
      } catch is OpenCLError {
        isReached = true
      } catch is TrainingError {}
      return (steps, isReached)
    }
    for event in 1... {
      let (steps, isReached) = try saved(failing: event)
      guard isReached else {
        #expect(event > 4)
        break
      }
      #expect(steps == [], "event \(event)")
    }
    // Nor does it stay so: where the device is not to blame, there is a state.
    #expect(try saved(failing: nil, stopsAtEnd: true).steps == [3])
  }
}

@Suite struct SegmentationModelTests {
  @Test func comesBackFromItsFile() throws {
    let folder = try TemporaryFolder()
    let backend = ReferenceBackend()
    let model = try segmenter(steps: 2, on: backend)
    let path = folder.path + "/model.safetensors"
    try model.write(to: path)
    let again = try SegmenterModel(path: path)
    #expect(again.parameters == model.parameters && again.statistics == model.statistics)
    #expect(again.description.classes == model.description.classes)
    #expect(again.description.normalisation == model.description.normalisation)
    #expect(again.network == model.network)
    #expect {
      _ = try PretrainedModel(path: path)
    } throws: {
      "\($0)".contains("a pretrained front end is of")
    }
    var bytes = [UInt8](try Data(contentsOf: URL(fileURLWithPath: path)))
    bytes[bytes.count - 9] ^= 4
    try Data(bytes).write(to: URL(fileURLWithPath: path))
    #expect {
      _ = try SegmenterModel(path: path)
    } throws: {
      "\($0)".contains("checksum")
    }
  }
}

@Suite struct ComparisonTests {
  @Test func foldsHoldEachImageOnce() {
    for (count, images) in [(2, 2), (3, 7), (5, 5), (4, 30)] {
      let folds = Comparison.folds(count: count, of: images, seed: 3)
      #expect(folds.flatMap { $0 }.sorted() == Array(0..<images))
      let sizes = folds.map(\.count)
      #expect((sizes.max() ?? 0) - (sizes.min() ?? 0) <= 1)
    }
  }

  @Test func ranksEveryMethodOnHeldBackImages() throws {
    let backend = ReferenceBackend()
    let images = brightSpots(count: 4)
    let (front, _) = try pretrained(steps: 10, on: backend)
    var prepared: [[String]] = []
    let comparison = try Comparison.run(
      training(network(), steps: 40), images: images,
      classes: try #require(spots), pretrained: front, folds: 2, on: backend
    ) { known in
      prepared.append(known.map(\.name))
      return Comparison.Preparation(
        normalisation: try percentiles(known), settings: settings())
    } report: { _, _, _, _ in
    }
    // Nothing comes from the images that are held back.
    let folds = Comparison.folds(count: 2, of: 4, seed: training(network(), steps: 40).seed)
    #expect(prepared == folds.reversed().map { $0.map { images[$0].name } })
    #expect(comparison.runs.count == 10)
    #expect(Set(comparison.ranking) == Set(ComparedMethod.allCases))
    for method in ComparedMethod.allCases {
      let score = try #require(comparison.score(of: method))
      #expect(score.mean > 0.4 && score.mean < 1, "\(method) \(score.mean)")
    }
    let scores = comparison.ranking.compactMap { comparison.score(of: $0)?.mean }
    #expect(scores == scores.sorted(by: >))
  }
}
