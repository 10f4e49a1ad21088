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

@Suite struct BrightnessOutlinesTests {
  private let width = 61
  private let height = 53

  /// Discs of different brightness with edges that fall off over four pixels, labelled where they are
  /// above a share of their brightness.
  private func discs(share: Float, scale: Float = 1, offset: Float = 0) -> LabelledImage {
    let places: [(x: Float, y: Float, radius: Float, level: Float)] = [
      (14, 13, 9, 1), (42, 15, 8, 0.5), (15, 39, 8, 0.7), (45, 39, 10, 0.4),
    ]
    var samples = [Float](repeating: offset, count: width * height)
    var labels = [UInt8](repeating: 0, count: width * height)
    for y in 0..<height {
      for x in 0..<width {
        for place in places {
          let (dx, dy) = (Float(x) - place.x, Float(y) - place.y)
          let depth = (place.radius - (dx * dx + dy * dy).squareRoot()) / 4 + 0.5
          let rise = min(1, max(0, depth))
          samples[y * width + x] += scale * place.level * rise
          if rise > share { labels[y * width + x] = 1 }
        }
      }
    }
    return LabelledImage(
      name: "discs",
      image: SampleImage(
        width: width, height: height, channels: 1, sampleType: .float32, samples: samples),
      labels: labels)
  }

  /// What a network says that sees labels and is not sure of them.
  private func probabilities(_ labels: [UInt8]) -> [Float] {
    labels.flatMap { $0 == 1 ? [0.4, 0.6] : [0.6, 0.4] as [Float] }
  }

  private func labels(_ probabilities: [Float]) -> [UInt8] {
    Prediction(width: width, height: height, classes: 2, probabilities: probabilities).labels
  }

  private func iou(_ a: [UInt8], _ b: [UInt8]) -> Double {
    let both = zip(a, b).count { $0 == 1 && $1 == 1 }
    return Double(both) / Double(zip(a, b).count { $0 == 1 || $1 == 1 })
  }

  /// Outlines about a pixel away, in an image of other brightness, come to where the labelled image
  /// has them; also those of dark objects.
  @Test(arguments: [0.3, 0.5, 0.65] as [Float], [1, 0.2, -0.6] as [Float])
  func bringsOutlinesToTheirPlace(share: Float, scale: Float) throws {
    let labelled = [LabelledImage](repeating: discs(share: share), count: 19)
    let outlines = try #require(BrightnessOutlines(fittedTo: labelled, weight: 20, reach: 16))
    let image = discs(share: share, scale: scale, offset: 3)
    let truth = try #require(image.labels)
    for seen in [share - 0.25, share + 0.2] {
      var result = probabilities(try #require(discs(share: seen).labels))
      let before = iou(labels(result), truth)
      outlines.apply(
        to: &result, samples: image.image.samples, channels: 1, width: width, height: height,
        inside: (width, height))
      let after = iou(labels(result), truth)
      #expect(before < 0.86 && after > 0.9, "\(seen): \(before) to \(after)")
    }
  }

  /// Where all is equally bright there is no way from one class to the other; the sums of such an image
  /// differ by rounding alone.
  @Test(arguments: [0.1, 0.7, 0.93, 3.3, -117.7] as [Float])
  func flatImagesStayAsTheyAre(brightness: Float) {
    let outlines = BrightnessOutlines(share: 0.5, weight: 20, reach: 7)
    let plain = probabilities(
      (0..<width * height).map { UInt8($0 % width < width / 3 || $0 % 7 == 0 ? 1 : 0) })
    var result = plain
    outlines.apply(
      to: &result, samples: [Float](repeating: brightness, count: width * height), channels: 1,
      width: width, height: height, inside: (width, height))
    #expect(result == plain)
  }

  /// The share of images whose labels lie at these shares of the way up, each as often as `copies`.
  private func fitted(_ shares: [Float], copies: Int = 19) throws -> Float {
    let images = shares.flatMap { [LabelledImage](repeating: discs(share: $0), count: copies) }
    return try #require(BrightnessOutlines(fittedTo: images, weight: 1)).share
  }

  /// Labels that lie further out have their outlines at a lower share; of several images all count.
  @Test func sharesFollowTheLabels() throws {
    let shares = try [0.3, 0.5, 0.65].map { try fitted([$0]) }
    #expect(shares[0] + 0.1 < shares[1] && shares[1] + 0.05 < shares[2], "\(shares)")
    let both = try fitted([0.3, 0.65])
    #expect(shares[0] < both && both < shares[2], "\(both)")
  }

  /// One image's share comes half of the way to 1/2, that of nineteen a twentieth.
  @Test func fewImagesTellLittle() throws {
    let (one, many) = (try fitted([0.3], copies: 1), try fitted([0.3], copies: 19))
    #expect(many < 0.4)
    #expect(abs((0.5 - one) / (0.5 - many) - 0.5 / 0.95) < 1e-4, "\(one), \(many)")
  }

  @Test func withoutTwoClassesThereIsNoShare() {
    let image = discs(share: 0.5)
    for label in [1, SegmentationLoss.ignored] {
      let alone = LabelledImage(
        name: "a", image: image.image, labels: image.labels?.map { _ in label })
      #expect(BrightnessOutlines(fittedTo: [alone], weight: 1) == nil)
    }
    #expect(BrightnessOutlines(fittedTo: [], weight: 1) == nil)
  }

  /// Against the formula in double precision, with two channels and a part that reaches beyond the
  /// image.
  @Test func agreesWithTheFormula() {
    let (width, height, inside) = (23, 19, (width: 21, height: 16))
    let outlines = BrightnessOutlines(share: 0.4, weight: 6, reach: 3)
    var random = SplitMix64(seed: 7, stream: 0)
    let samples = (0..<2 * width * height).map { _ in random.nextUniform() }
    // Regions large enough that some windows have one class alone.
    let plain = (0..<width * height).flatMap { pixel -> [Float] in
      let second = 0.57 * random.nextUniform() + (pixel % width < 12 ? 0 : 0.43)
      return [1 - second, second]
    }
    var result = plain
    outlines.apply(
      to: &result, samples: samples, channels: 2, width: width, height: height, inside: inside)
    var unchanged = 0
    for y in 0..<height {
      for x in 0..<width {
        let pixel = y * width + x
        var (sums, counts) = ([0.0, 0.0], [0.0, 0.0])
        for v in max(0, y - 3)..<min(inside.height, y + 4) {
          for u in max(0, x - 3)..<min(inside.width, x + 4) {
            let other = v * width + u
            let label = plain[2 * other + 1] > plain[2 * other] ? 1 : 0
            sums[label] += (Double(samples[2 * other]) + Double(samples[2 * other + 1])) / 2
            counts[label] += 1
          }
        }
        guard x < inside.width, y < inside.height, counts.allSatisfy({ $0 >= 4 }) else {
          unchanged += 1
          #expect(result[2 * pixel] == plain[2 * pixel])
          #expect(result[2 * pixel + 1] == plain[2 * pixel + 1])
          continue
        }
        let means = zip(sums, counts).map { $0 / $1 }
        let brightness = (Double(samples[2 * pixel]) + Double(samples[2 * pixel + 1])) / 2
        let place = min(1.5, max(-0.5, (brightness - means[0]) / (means[1] - means[0])))
        let odds = Double(plain[2 * pixel + 1]) / Double(plain[2 * pixel])
        let changed = log(odds) + 6 * (place - 0.4)
        #expect(abs(Double(result[2 * pixel + 1]) - 1 / (1 + exp(-changed))) < 1e-4)
        #expect(abs(result[2 * pixel] + result[2 * pixel + 1] - 1) < 1e-6)
      }
    }
    let padding = width * height - inside.width * inside.height
    #expect(unchanged > padding && unchanged < padding + 200, "\(unchanged)")
  }

  private func model(_ outlines: BrightnessOutlines?) throws -> SegmenterModel {
    let image = discs(share: 0.5, scale: 100, offset: 20)
    let normalisation = PercentileNormalisation(sampleType: .float32, low: [20], high: [90])
    return try SegmenterTrainer.train(
      ConvolutionalTraining(
        network: ConvolutionalConfiguration(
          inputs: 1, baseChannels: 4, levels: 3, code: .topK(3), hasSkips: true, outputs: 2),
        cropSize: 24, batchSize: 2, length: .steps(4), learningRate: 1e-2),
      SegmenterTraining(
        loss: SegmentationLoss(), classWeights: [1, 1], augmentation: .light,
        freezesFrontEnd: false, frontEnd: .scratch, outlines: outlines),
      images: [
        LabelledImage(name: "a", image: normalisation(image.image), labels: image.labels)
      ],
      normalisation: normalisation, classes: ClassMap(parsing: "ground=0,disc=1"),
      pretrained: nil, verification: StepVerification<ReferenceBackend>?.none,
      on: ReferenceBackend()
    ) { _ in }
  }

  private func predict<B: Backend>(
    _ model: SegmenterModel, tileSize: Int? = nil, weight: Float? = nil, on backend: B
  ) throws -> [Float] {
    try SegmentationPredictor(
      model, settings: PredictionSettings(tileSize: tileSize, outlineWeight: weight), on: backend
    ).predict(discs(share: 0.5, scale: 80, offset: 30).image).probabilities
  }

  /// Whatever the tiles, the bits are those of the whole image.
  @Test(.usesDevice, arguments: [5, 16])
  func tilesGiveTheBitsOfTheWhole(reach: Int) throws {
    let model = try model(BrightnessOutlines(share: 0.45, weight: 15, reach: reach))
    func check<B: Backend>(on backend: B) throws {
      let whole = try predict(model, tileSize: 64, on: backend)
      #expect(try predict(model, tileSize: 64, weight: 0, on: backend) != whole)
      for tileSize in [8, 20, 33] {
        #expect(try predict(model, tileSize: tileSize, on: backend) == whole, "\(tileSize)")
      }
    }
    try check(on: ReferenceBackend())
    guard let device = try TestDevice.find() else { return }
    for family in DeviceFamily.allCases {
      try check(on: OpenCLBackend(device: device, family: family, tuning: .rule))
    }
  }

  @Test func aPredictionMayWeighThemOtherwise() throws {
    let backend = ReferenceBackend()
    let model = try model(BrightnessOutlines(share: 0.45, weight: 15))
    var plain = model
    plain.description.segmenting.outlines = nil
    let trained = try predict(model, on: backend)
    #expect(try predict(model, weight: 15, on: backend) == trained)
    #expect(try predict(model, weight: 3, on: backend) != trained)
    #expect(try predict(model, weight: 0, on: backend) == predict(plain, on: backend))
  }

  @Test func modelsOfEarlierVersionsHaveNone() throws {
    let settings = try model(BrightnessOutlines(share: 0.25, weight: 2, reach: 3))
      .description.segmenting
    let data = try JSONEncoder().encode(settings)
    #expect(try JSONDecoder().decode(SegmenterTraining.self, from: data) == settings)
    var fields = try #require(JSONSerialization.jsonObject(with: data) as? [String: Any])
    #expect(fields.removeValue(forKey: "outlines") != nil)
    let earlier = try JSONDecoder().decode(
      SegmenterTraining.self, from: JSONSerialization.data(withJSONObject: fields))
    #expect(earlier.outlines == nil)
  }

  @Test(arguments: [
    BrightnessOutlines(share: 1.5, weight: 1), .init(share: .nan, weight: 1),
    .init(share: 0.5, weight: -1), .init(share: 0.5, weight: .infinity),
    .init(share: 0.5, weight: 1, reach: 0), .init(share: 0.5, weight: 1, reach: 1 << 40),
  ])
  func wrongOnesInAModelAreRefused(outlines: BrightnessOutlines) throws {
    var description = try model(nil).description
    #expect(description.problem == nil)
    description.segmenting.outlines = outlines
    #expect("\(description.problem ?? "")".hasPrefix("outlines "))
  }
}
