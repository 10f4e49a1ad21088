import Compute
import Foundation
import Imaging
import Networks
import OpenCLBackend
import RandomNumbers
import ReferenceBackend
import Segmentation
import TestSupport
import Testing
import Training

@Suite struct AdaptationTests {
  private let cropSize = 16

  /// Blobs under light that differs from left to right.
  private func image(width: Int, height: Int, seed: UInt64 = 3) -> SampleImage {
    var random = SplitMix64(seed: seed, stream: 0)
    let samples = (0..<width * height).map { pixel -> Float in
      let (x, y) = (Float(pixel % width), Float(pixel / width))
      let blobs = sin(x / 3) * cos(y / 4) > 0.2 ? Float(60) : 0
      return (60 + blobs + x + 10 * random.nextUniform()).rounded()
    }
    return SampleImage(
      width: width, height: height, channels: 1, sampleType: .uint8, samples: samples)
  }

  private let normalisation = PercentileNormalisation(
    sampleType: .uint8, low: [50], high: [180])

  private func model(
    code: Code = .topK(3), adaptation: Float = 0
  ) throws -> SegmenterModel {
    let network = ConvolutionalConfiguration(
      inputs: 1, baseChannels: 4, levels: 2, code: code, hasSkips: true, outputs: 2)
    let source = image(width: 40, height: 36, seed: 1)
    let labels = source.samples.map { UInt8($0 > 110 ? 1 : 0) }
    return try SegmenterTrainer.train(
      ConvolutionalTraining(
        network: network, cropSize: cropSize, batchSize: 2, length: .steps(4),
        learningRate: 1e-2),
      SegmenterTraining(
        loss: SegmentationLoss(), classWeights: [1, 1], augmentation: .light,
        freezesFrontEnd: false, frontEnd: .scratch, adaptation: adaptation),
      images: [LabelledImage(name: "a", image: normalisation(source), labels: labels)],
      normalisation: normalisation, classes: ClassMap(parsing: "ground=0,blob=1"),
      pretrained: nil, verification: StepVerification<ReferenceBackend>?.none,
      on: ReferenceBackend()
    ) { _ in }
  }

  private func predict<B: Backend>(
    _ model: SegmenterModel, _ image: SampleImage, adaptation: Float? = nil,
    tileSize: Int? = nil, on backend: B
  ) throws -> [Float] {
    try SegmentationPredictor(
      model, settings: PredictionSettings(tileSize: tileSize, adaptation: adaptation),
      on: backend
    ).predict(image).probabilities
  }

  private func largestDifference(_ a: [Float], _ b: [Float]) -> Float {
    zip(a, b).reduce(a.count == b.count ? 0 : .infinity) { max($0, abs($1.0 - $1.1)) }
  }

  /// The statistics of a crop as training finds them, by a network whose momentum is 1.
  private func statistics(
    _ model: SegmenterModel, _ image: SampleImage, x: Int, y: Int, width: Int, height: Int
  ) throws -> [Float] {
    let backend = ReferenceBackend()
    let network = try ConvolutionalNetwork(
      model.network, parameters: model.parameters, statistics: model.statistics, on: backend)
    let workspace = try ConvolutionalWorkspace(
      model.network, batch: 1, height: height, width: width, purpose: .training, on: backend)
    let seen = normalisation(image)
    let crop = (y..<y + height).flatMap { row in
      (x..<x + width).map { seen.samples[row * image.width + $0] }
    }
    try backend.upload(crop, into: workspace.input.tensor)
    try network.forward(workspace, momentum: 1, step: nil)
    return try backend.download(network.statistics)
  }

  @Test func cropsAreSpreadEvenly() {
    func crops(_ width: Int, _ height: Int) -> AdaptationCrops {
      AdaptationCrops(width: width, height: height, side: 192, alignment: 8)
    }
    #expect(crops(512, 512).columns == [32, 288] && crops(512, 512).rows == [32, 288])
    #expect(crops(696, 520).columns == [20, 252, 484] && crops(696, 520).rows == [34, 294])
    #expect(crops(1500, 2100).columns.count == 3 && crops(1500, 2100).rows.count == 4)
    let large = crops(20_000, 20_000)
    #expect(large.columns.count == 12 && large.columns == large.rows)
    #expect(Set(zip(large.columns, large.columns.dropFirst()).map { $1 - $0 }) == [1666, 1667])
    // As far from the left as from the right, but for rounding.
    #expect(abs(large.columns[0] + large.columns[11] + 192 - 20_000) <= 1)
    // A small image is one crop, enlarged to what the network takes.
    let small = crops(100, 201)
    #expect(small.cropWidth == 104 && small.cropHeight == 192)
    #expect(small.columns == [0] && small.rows == [4])
  }

  /// Of crops side by side, at the places that an image of 48x40 has for crops of 16x16, the
  /// statistics have equal shares.
  @Test(arguments: [Code.relu, .topK(3), .batchTopK(3), .jumpReLU, .hardConcrete])
  func takesInTheMeanOfTheCropsStatistics(code: Code) throws {
    let model = try model(code: code)
    let image = image(width: 48, height: 40)
    let share: Float = 0.3
    var mixed = model
    mixed.statistics = model.statistics.map { (1 - share) * $0 }
    for y in [2, 22] {
      for x in [0, 16, 32] {
        let own = try statistics(model, image, x: x, y: y, width: 16, height: 16)
        for i in own.indices { mixed.statistics[i] += share * own[i] / 6 }
      }
    }
    let backend = ReferenceBackend()
    let adapted = try predict(model, image, adaptation: share, on: backend)
    let expected = try predict(mixed, image, on: backend)
    let plain = try predict(model, image, on: backend)
    #expect(largestDifference(adapted, expected) < 1e-5)
    #expect(largestDifference(plain, expected) > 1e-3)
  }

  /// An image that is one crop and that the model adapts to wholly is normalised as in training, but
  /// for M / (M - 1) in the variances.
  @Test func adaptingWhollyIsNormalisingByTheImage() throws {
    let model = try model()
    let image = image(width: 16, height: 16)
    let backend = ReferenceBackend()
    let network = try ConvolutionalNetwork(
      model.network, parameters: model.parameters, statistics: model.statistics, on: backend)
    let workspace = try ConvolutionalWorkspace(
      model.network, batch: 1, height: 16, width: 16, purpose: .training, on: backend)
    try backend.upload(normalisation(image).samples, into: workspace.input.tensor)
    try network.forward(workspace, momentum: 0.1, step: nil)
    let output = workspace.output.matrix
    try backend.softmax(output, into: output)
    let expected = try backend.download(output)
    let adapted = try predict(model, image, adaptation: 1, on: backend)
    #expect(largestDifference(adapted, expected) < 0.02)
    #expect(largestDifference(try predict(model, image, on: backend), expected) > 0.04)
  }

  @Test(.usesDevice, arguments: [Code.relu, .topK(3)])
  func tilesGiveTheBitsOfTheWhole(code: Code) throws {
    let model = try model(code: code, adaptation: 0.4)
    let image = image(width: 53, height: 45)
    func check<B: Backend>(on backend: B) throws -> [Float] {
      let whole = try predict(model, image, tileSize: 64, on: backend)
      for tileSize in [8, 20, 33] {
        #expect(try predict(model, image, tileSize: tileSize, on: backend) == whole)
      }
      return whole
    }
    let reference = try check(on: ReferenceBackend())
    guard let device = try TestDevice.find() else { return }
    for family in [DeviceFamily.cpu, .gpu] {
      let found = try check(on: OpenCLBackend(device: device, family: family, tuning: .rule))
      #expect(largestDifference(found, reference) < 1e-4)
    }
  }

  /// One predictor gives each image what a predictor of its own would, whatever came before.
  @Test func imagesDoNotDependOnEachOther() throws {
    let model = try model(adaptation: 0.5)
    let (first, second) = (
      image(width: 48, height: 40), image(width: 21, height: 13, seed: 9)
    )
    let backend = ReferenceBackend()
    let predictor = try SegmentationPredictor(model, on: backend)
    let before = try predictor.predict(first).probabilities
    #expect(try predictor.predict(second).probabilities == predict(model, second, on: backend))
    #expect(try predictor.predict(first).probabilities == before)
  }

  @Test func theModelSaysHowFarUnlessItIsAsked() throws {
    let backend = ReferenceBackend()
    let image = image(width: 48, height: 40)
    let (plain, adapting) = (try model(), try model(adaptation: 0.3))
    #expect(plain.parameters == adapting.parameters)
    let folder = try TemporaryFolder()
    let path = folder.path + "/model.safetensors"
    try adapting.write(to: path)
    let again = try SegmenterModel(path: path)
    let adapted = try predict(plain, image, adaptation: 0.3, on: backend)
    #expect(try predict(again, image, on: backend) == adapted)
    #expect(
      try predict(again, image, adaptation: 0, on: backend) == predict(plain, image, on: backend))
    #expect(try predict(plain, image, on: backend) != adapted)
  }

  @Test func earlierModelsDoNotAdapt() throws {
    let settings = try model(adaptation: 0.3).description.segmenting
    var fields = try #require(
      JSONSerialization.jsonObject(with: JSONEncoder().encode(settings)) as? [String: Any])
    #expect(fields.removeValue(forKey: "adaptation") != nil)
    let earlier = try JSONDecoder().decode(
      SegmenterTraining.self, from: JSONSerialization.data(withJSONObject: fields))
    #expect(earlier.adaptation == 0)
    var expected = settings
    expected.adaptation = 0
    #expect(earlier == expected)
  }

  @Test(arguments: [-0.1, 1.5, .nan] as [Float])
  func aWrongShareInAModelIsRefused(share: Float) throws {
    var description = try model().description
    description.segmenting.adaptation = share
    #expect("\(description.problem ?? "")".hasPrefix("an adaptation of "))
  }

  @Test func whatIsMeasuredCountsForTheMemory() throws {
    let model = try model()
    func plan(_ bytes: Int, adaptation: Float) throws -> TilePlan {
      try SegmentationPredictor(
        model, settings: PredictionSettings(memoryLimit: bytes, adaptation: adaptation),
        on: ReferenceBackend()
      ).plan(width: 400, height: 30)
    }
    // The least that suffices without and with crops of as many pixels as a training's.
    var wide = model
    wide.description.training.cropSize = 256
    var limits: [Int] = []
    for (model, adaptation) in [(wide, Float(0)), (wide, 0.5)] {
      var limit = 1 << 14
      while (try? SegmentationPredictor(
        model, settings: PredictionSettings(memoryLimit: limit, adaptation: adaptation),
        on: ReferenceBackend()
      ).plan(width: 2000, height: 2000)) == nil { limit += 1 << 14 }
      limits.append(limit)
    }
    // 256 * 256 pixels with 4 channels several times.
    #expect(limits[0] < 4 << 20 && limits[1] > 256 * 256 * 4 * 16, "\(limits)")
    #expect(try plan(1 << 20, adaptation: 0.5) == plan(1 << 20, adaptation: 0))
  }
}

@Suite struct RunningStatisticsTests {
  @Test func areTakenOverMoreBatchesAsLearningSlowsDown() {
    let training = ConvolutionalTraining(
      network: ConvolutionalConfiguration(
        inputs: 1, baseChannels: 4, levels: 2, code: .relu, hasSkips: true, outputs: 2),
      length: .steps(1000), learningRate: 2e-3)
    // The first batch counts wholly; later ones for at least 20 / (step + 19).
    #expect(training.momentum(step: 1, rate: 2e-3) == 1)
    #expect(training.momentum(step: 21, rate: 2e-3) == 0.5)
    #expect(training.momentum(step: 200, rate: 2e-3) == 0.1)
    #expect(abs(training.momentum(step: 700, rate: 6e-4) - 0.03) < 1e-7)
    #expect(abs(training.momentum(step: 981, rate: 2e-5) - 0.02) < 1e-7)
    #expect(training.momentum(step: 999, rate: 1) == 0.1)
  }

  /// Where the weights stay as they are, a run ends with the weighted mean of its batches' statistics.
  @Test func aRunEndsWithTheMeanOfItsBatches() throws {
    // Enough for the rate of learning to tell, too.
    let steps = 400
    let network = ConvolutionalConfiguration(
      inputs: 1, baseChannels: 4, levels: 2, code: .relu, hasSkips: true, outputs: 2)
    let training = ConvolutionalTraining(
      network: network, cropSize: 8, batchSize: 2, length: .steps(steps), learningRate: 1e-12,
      seed: 3)
    var random = SplitMix64(seed: 5, stream: 0)
    let samples = (0..<40 * 40).map { Float($0 % 40) / 40 + 0.3 * random.nextUniform() }
    let image = LabelledImage(
      name: "a",
      image: SampleImage(
        width: 40, height: 40, channels: 1, sampleType: .float32, samples: samples),
      labels: samples.map { $0 > 0.6 ? 1 : 0 })
    let normalisation = PercentileNormalisation(sampleType: .float32, low: [0], high: [1])
    let settings = SegmenterTraining(
      loss: SegmentationLoss(), classWeights: [1, 1], augmentation: .light,
      freezesFrontEnd: false, frontEnd: .scratch)
    let backend = ReferenceBackend()
    let model = try SegmenterTrainer.train(
      training, settings, images: [image], normalisation: normalisation,
      classes: ClassMap(parsing: "ground=0,light=1"), pretrained: nil,
      verification: StepVerification<ReferenceBackend>?.none, on: backend
    ) { _ in }

    let oracle = try ConvolutionalNetwork(
      network, parameters: network.initialParameters(seed: 3),
      statistics: network.initialStatistics, on: backend)
    let workspace = try ConvolutionalWorkspace(
      network, batch: 2, height: 8, width: 8, purpose: .training, on: backend)
    let crops = AugmentedCrops([image], size: 8, augmentation: .light, seed: 3)
    var inputs = [Float](repeating: 0, count: 2 * 64)
    var labels = [UInt8](repeating: 0, count: 2 * 64)
    var expected = network.initialStatistics
    for step in 1...steps {
      crops.fill(step: step, inputs: &inputs, labels: &labels)
      try backend.upload(inputs, into: workspace.input.tensor)
      try oracle.forward(workspace, momentum: 1, step: nil)
      let own = try backend.download(oracle.statistics)
      let done = Double(step - 1) / Double(steps)
      let momentum = training.momentum(step: step, rate: training.rate(at: done))
      for i in expected.indices { expected[i] += momentum * (own[i] - expected[i]) }
    }
    for (found, expected) in zip(model.statistics, expected) {
      #expect(abs(found - expected) < 1e-4 * max(1, abs(expected)))
    }
  }
}
