import Compute
import Datasets
import Imaging
import Networks
import RandomNumbers
import ReferenceBackend
import Testing
import Training

/// Codes made by hand: 4 images of 3 latents. Latent 0 fires for images 0, 2 and 3, latent 1 for
/// image 1, latent 2 never.
private let codes: [Float] = [
  2, 0, 0,
  0, 5, 0,
  4, 0, 0,
  3, 0, 0,
]

@Suite struct CodeStatisticsTests {
  private func statistics(exciterLimit: Int = 2, batch: Int = 4) -> CodeStatistics {
    var statistics = CodeStatistics(latents: 3, exciterLimit: exciterLimit)
    for start in stride(from: 0, to: 4, by: batch) {
      statistics.add(Array(codes[start * 3..<min(start + batch, 4) * 3]))
    }
    return statistics
  }

  @Test(arguments: [1, 3, 4]) func frequenciesMeansAndMaxima(batch: Int) {
    let statistics = statistics(batch: batch)
    #expect(statistics.images == 4)
    #expect(statistics.firings == [3, 1, 0])
    #expect((0..<3).map(statistics.frequency) == [0.75, 0.25, 0])
    #expect((0..<3).map(statistics.meanActive) == [3, 5, nil])
    #expect((0..<3).map(statistics.maximum) == [4, 5, nil])
    #expect(statistics.dead == 1)
    #expect(statistics.l0 == [1, 1, 1, 1])
    #expect(statistics.byFrequency == [0, 1, 2])
  }

  @Test(arguments: [1, 3, 4]) func theLargestValuesExcite(batch: Int) {
    let statistics = statistics(batch: batch)
    #expect(statistics.exciters(of: 0).map(\.image) == [2, 3])
    #expect(statistics.exciters(of: 0).map(\.value) == [4, 3])
    #expect(statistics.exciters(of: 1).map(\.image) == [1])
    #expect(statistics.exciters(of: 2).isEmpty)
  }

  @Test func ofEqualValuesTheEarlierImageIsFirst() {
    var statistics = CodeStatistics(latents: 1, exciterLimit: 3)
    statistics.add([1, 2, 2, 1, 2, 2])
    #expect(statistics.exciters(of: 0).map(\.image) == [1, 2, 4])
  }

  @Test func latentsOfEqualFrequencyStayInOrder() {
    var statistics = CodeStatistics(latents: 4)
    statistics.add([0, 1, 0, 1, 0, 1, 2, 2])
    #expect(statistics.byFrequency == [1, 3, 2, 0])
  }

  @Test func notANumberCountsAsActive() {
    var statistics = CodeStatistics(latents: 2)
    statistics.add([.nan, 0, 1, 0])
    #expect(statistics.firings == [2, 0])
    #expect(statistics.exciters(of: 0).map(\.image) == [1])
    #expect(statistics.maximum(0) == 1)
  }

  @Test func l0HasMomentsAndPercentiles() {
    let summary = L0Summary([2, 4, 4, 4, 5, 5, 7, 9])
    #expect(summary.mean == 5)
    #expect(summary.deviation == 2)
    #expect(summary.histogram == [0, 0, 1, 0, 3, 2, 0, 1, 0, 1])
    #expect((summary.minimum, summary.maximum) == (2, 9))
    #expect([0, 12.5, 13, 50, 51, 100].map(summary.percentile) == [2, 2, 4, 4, 5, 9])
    #expect(L0Summary([0, 0]).histogram == [2])
  }

  @Test func firingFrequenciesFallIntoTheirBins() {
    // 1 of 100, 10 of 100 and all: an edge belongs to the bin above, 1 to the last.
    let histogram = FiringHistogram(firings: [1, 10, 100, 99, 0, 0], images: 100)
    #expect(histogram.dead == 2)
    #expect(histogram.counts.count == 20 && histogram.edges.count == 21)
    #expect(abs(histogram.edges[0] - 0.01) < 1e-12 && histogram.edges[20] == 1)
    #expect(histogram.counts.indices.filter { histogram.counts[$0] > 0 } == [0, 10, 19])
    #expect(histogram.counts[19] == 2)
    // Nothing is lost, wherever the edges lie.
    let all = FiringHistogram(firings: Array(0...1000), images: 1000)
    #expect(all.counts.reduce(all.dead, +) == 1001)
    for (index, count) in all.counts.enumerated() {
      let inside = (1...1000).count {
        let share = Double($0) / 1000 * (1 + 1e-12)
        return share >= all.edges[index] && (share < all.edges[index + 1] || index == 29)
      }
      #expect(count == inside)
    }
    #expect(FiringHistogram(firings: [0, 0], images: 5).dead == 2)
  }
}

@Suite struct InputStatisticsTests {
  @Test func normsOfAKnownSet() {
    // Pixels 0 and 4 on the left, 3 and 3 on the right: mean (2, 3), deviation (2, 0).
    let images = ImageSet(count: 2, width: 2, height: 1, channels: 1, pixels: [0, 3, 4, 3])
    let statistics = InputStatistics(images, normalisation: Normalisation(scale: 1, shift: 0))
    #expect(abs(statistics.meanNorm - 13.squareRoot()) < 1e-12)
    #expect(statistics.deviationNorm == 2)
    // Centred on 2 by the normalisation, the mean is (0, 1), in units of a half (0, 0.5).
    let centred = InputStatistics(images, normalisation: Normalisation(scale: 0.5, shift: -1))
    #expect(centred.meanNorm == 0.5 && centred.deviationNorm == 1 && centred.ratio == 0.5)
    let flat = ImageSet(count: 2, width: 1, height: 1, channels: 1, pixels: [7, 7])
    #expect(InputStatistics(flat, normalisation: .unit).ratio == .infinity)
  }
}

@Suite struct LinearProbeTests {
  /// Codes whose largest entry of three is the label, among noise of no meaning.
  private func separable(_ count: Int, stream: UInt64, classes: Int = 3) -> LabelledCodes {
    var generator = SplitMix64(seed: 3, stream: stream)
    var codes = LabelledCodes(latents: classes + 4)
    for i in 0..<count {
      var code = [Float](repeating: 0, count: classes + 4)
      code[i % classes] = generator.nextUniform(1, 2)
      for j in 0..<3 { code[classes + j] = max(0, generator.nextUniform(-1, 1)) }
      codes.add(code, label: UInt8(i % classes))
    }
    return codes
  }

  @Test(arguments: [2, 3, 8, 9, 26]) func aSeparableSetIsSeparated(classes: Int) {
    let train = separable(600, stream: 0, classes: classes)
    let test = separable(300, stream: 1, classes: classes)
    let probe = LinearProbe(training: train)
    #expect(probe.classes == classes)
    #expect(probe.hits(on: train) == 600)
    #expect(probe.hits(on: test) == 300)
  }

  @Test func onNoiseItNamesTheMajority() {
    var generator = SplitMix64(seed: 9)
    func noise(_ count: Int) -> LabelledCodes {
      var codes = LabelledCodes(latents: 5)
      for _ in 0..<count {
        let code = (0..<5).map { _ in max(0, generator.nextUniform(-1, 1)) }
        codes.add(code, label: generator.nextUniform() < 0.7 ? 1 : 4)
      }
      return codes
    }
    let (train, test) = (noise(4000), noise(2000))
    let majority = LinearProbe.majorityAccuracy(training: train.labels, on: test.labels)
    #expect(abs(majority - 0.7) < 0.03)
    let hits = LinearProbe(training: train).hits(on: test)
    #expect(abs(Double(hits) / 2000 - majority) < 0.01)
  }

  /// Codes that are all alike leave the bias alone: exactly the majority.
  @Test func constantCodesGiveTheMajority() {
    var codes = LabelledCodes(latents: 2)
    for i in 0..<100 { codes.add([0, 0.1], label: i % 10 < 6 ? 2 : 0) }
    #expect(LinearProbe(training: codes).hits(on: codes) == 60)
    #expect(LinearProbe.majorityAccuracy(training: codes.labels, on: codes.labels) == 0.6)
  }

  @Test func theMajorityIsTheTrainingParts() {
    #expect(LinearProbe.majorityAccuracy(training: [1, 1, 2], on: [2, 2, 2, 1]) == 0.25)
  }

  /// In one dimension the optimum is where the derivative, worked out here in Double, is zero: the
  /// probe's decision changes sides where the optimal one does.
  @Test func itFindsTheOptimum() {
    var generator = SplitMix64(seed: 4)
    var codes = LabelledCodes(latents: 1)
    var points: [(Double, Int)] = []
    for i in 0..<2000 {
      let label = i % 4 == 0 ? 1 : 0
      let value = Float(generator.nextNormal()) + (label == 1 ? 2 : 0) + 5
      codes.add([value], label: UInt8(label))
      points.append((Double(value), label))
    }
    // Newton's method for p(1) = sigmoid(w x + b), standardised x; the softmax's two columns are
    // +-w / 2, so that its penalty l2 / 2 ||W||^2 is l2 / 4 w^2.
    let mean = points.reduce(0) { $0 + $1.0 } / 2000
    let deviation = (points.reduce(0) { $0 + ($1.0 - mean) * ($1.0 - mean) } / 2000).squareRoot()
    var (w, b) = (0.0, 0.0)
    for _ in 0..<30 {
      var (gw, gb, hww, hwb, hbb) = (1e-4 / 2 * w, 0.0, 1e-4 / 2, 0.0, 0.0)
      for (value, label) in points {
        let x = (value - mean) / deviation
        let p = sigmoid(w * x + b)
        let (error, curvature) = ((p - Double(label)) / 2000, p * (1 - p) / 2000)
        (gw, gb) = (gw + error * x, gb + error)
        (hww, hwb, hbb) = (hww + curvature * x * x, hwb + curvature * x, hbb + curvature)
      }
      let determinant = hww * hbb - hwb * hwb
      w -= (hbb * gw - hwb * gb) / determinant
      b -= (hww * gb - hwb * gw) / determinant
    }
    let border = mean - b / w * deviation
    let probe = LinearProbe(training: codes)
    func label(_ value: Double) -> UInt8 {
      var one = LabelledCodes(latents: 1)
      one.add([Float(value)], label: 0)
      return probe.predict(one, row: 0)
    }
    #expect(label(border - 0.03) == 0)
    #expect(label(border + 0.03) == 1)
  }

  @Test func theSameCodesGiveTheSameProbe() {
    let codes = separable(500, stream: 2)
    let (one, two) = (LinearProbe(training: codes), LinearProbe(training: codes))
    #expect(one == two)
  }

  private func sigmoid(_ x: Double) -> Double { 1 / (1 + exponential(-x)) }

  private func exponential(_ x: Double) -> Double {
    // (1 + y + ... + y^12 / 12!)^(2^10), y = x / 2^10, squared ten times.
    let y = x / 1024
    var (sum, term) = (1.0, 1.0)
    for k in 1...12 {
      term *= y / Double(k)
      sum += term
    }
    for _ in 0..<10 { sum *= sum }
    return sum
  }
}

@Suite struct LearnedDictionaryTests {
  private let backend = ReferenceBackend()

  @Test func oneDecoderLayerGivesItsRows() throws {
    let network = AutoencoderConfiguration(widths: [6, 5, 4, 6], encoderLayers: 2)
    let parameters = network.initialParameters(seed: 2)
    let dictionary = try LearnedDictionary(
      of: Autoencoder(network, parameters: parameters, on: backend), latents: [3, 0],
      amplitudes: [1, 1])
    #expect(dictionary.kind == .weights)
    let weight = network.parameterLayout.slots[4]
    #expect(weight.name == "decoder.0.weight")
    for (atom, latent) in zip(dictionary.atoms, [3, 0]) {
      let start = weight.offset + latent * 6
      #expect(atom == Array(parameters[start..<start + 6]))
    }
  }

  /// Two decoder layers without activation but ReLU between: on positive weights the response is
  /// the amplitude times the product of the weights, whatever the biases.
  @Test func aDeepDecoderGivesResponses() throws {
    var network = AutoencoderConfiguration(widths: [4, 3, 2, 4], encoderLayers: 1)
    network.outputActivation = .identity
    let layout = network.parameterLayout
    var parameters = [Float](repeating: 0.5, count: layout.count)
    let (one, two) = (layout.slots[2], layout.slots[4])
    for i in 0..<6 { parameters[one.offset + i] = Float(i + 1) }
    for i in 0..<8 { parameters[two.offset + i] = Float(i) - 2 }
    let model = try Autoencoder(network, parameters: parameters, on: backend)
    let dictionary = try LearnedDictionary(of: model, latents: [2, 0, 1], amplitudes: [2, 1, 0])
    #expect(dictionary.kind == .responses)
    func product(_ latent: Int, _ amplitude: Float) -> [Float] {
      (0..<4).map { j in
        (0..<2).reduce(0) {
          $0 + amplitude * parameters[one.offset + latent * 2 + $1]
            * parameters[two.offset + $1 * 4 + j]
        }
      }
    }
    #expect(dictionary.atoms == [product(2, 2), product(0, 1), product(1, 0)])
  }

  /// More latents than a batch holds.
  @Test func manyLatentsTakeSeveralBatches() throws {
    let network = AutoencoderConfiguration(widths: [3, 600, 5, 3], encoderLayers: 1)
    let model = try Autoencoder(
      network, parameters: network.initialParameters(seed: 1), on: backend)
    let all = try LearnedDictionary(
      of: model, latents: Array(0..<600), amplitudes: Array(repeating: 1, count: 600))
    #expect(all.atoms.count == 600)
    for latent in [0, 254, 255, 256, 599] {
      let one = try LearnedDictionary(of: model, latents: [latent], amplitudes: [1])
      #expect(one.atoms[0] == all.atoms[latent])
    }
  }
}

@Suite struct InspectionOfAModelTests {
  /// The evaluator's own counts and the inspection's are the same.
  @Test func theCodesAreThoseOfTheEvaluation() throws {
    let backend = ReferenceBackend()
    let network = AutoencoderConfiguration(widths: [64, 10, 64], encoderLayers: 1)
    let model = try Autoencoder(
      network, parameters: network.initialParameters(seed: 1), on: backend)
    let evaluator = try Evaluator(model, batchSize: 16)
    let images = bars(101)
    let report = try evaluator.evaluate(images, normalisation: .unit)
    let statistics = try evaluator.codeStatistics(
      of: images, normalisation: .unit, latents: 10)
    #expect(statistics.firings == report.firings.map(Int.init))
    #expect(abs(statistics.l0Summary.mean - report.l0) < 1e-12)
    #expect(statistics.dead == report.dead)
  }

  /// Images of two kinds, bright on the left or on the right, and a code that sees both halves.
  @Test func theProbeReadsLabelsFromCodes() throws {
    func set(_ count: Int) -> ImageSet {
      let pixels = (0..<count).flatMap { index -> [UInt8] in
        let bright = UInt8(100 + index * 7 % 100)
        return index % 3 == 0 ? [bright, 0] : [0, bright]
      }
      return ImageSet(
        count: count, width: 2, height: 1, channels: 1, pixels: pixels,
        labels: (0..<count).map { $0 % 3 == 0 ? 4 : 1 })
    }
    let backend = ReferenceBackend()
    let network = AutoencoderConfiguration(widths: [2, 2, 2], encoderLayers: 1)
    let layout = network.parameterLayout
    var parameters = [Float](repeating: 0, count: layout.count)
    parameters[0] = 1
    parameters[3] = 1
    let evaluator = try Evaluator(
      Autoencoder(network, parameters: parameters, on: backend), batchSize: 32)
    let dataset = Dataset(name: "halves", train: set(150), test: set(60))
    let report = try #require(
      try evaluator.probe(dataset, normalisation: .unit, latents: 2, l0: 1))
    #expect(report.accuracy == 1 && report.trainingAccuracy == 1)
    #expect(report.classes == 5)
    #expect(report.majorityAccuracy == 40.0 / 60)
    #expect(
      (report.trainingImages, report.trainingImagesInAll, report.testImages) == (150, 150, 60))
    // As if the codes were too large: every third image is learnt from.
    let l0 = 2.5 * Double(ProbeReport.entryLimit) / 150
    let thinned = try #require(
      try evaluator.probe(dataset, normalisation: .unit, latents: 2, l0: l0))
    #expect(thinned.trainingImages == 50 && thinned.trainingImagesInAll == 150)
    let bare = Dataset(name: "bars", train: bars(10), test: bars(5))
    let none = try Evaluator(
      Autoencoder(
        AutoencoderConfiguration(widths: [64, 2, 64], encoderLayers: 1),
        parameters: AutoencoderConfiguration(widths: [64, 2, 64], encoderLayers: 1)
          .initialParameters(seed: 1), on: backend), batchSize: 4
    ).probe(bare, normalisation: .unit, latents: 2, l0: 1)
    #expect(none == nil)
  }
}

@Suite struct InspectionPicturesTests {
  private func colour(_ image: Image, _ x: Int, _ y: Int) -> [UInt8] {
    let start = (y * image.width + x) * 3
    return Array(image.samples[start..<start + 3])
  }

  @Test func aTileShowsSigns() {
    let tile = InspectionPictures.tile([0, 2, -4, 1], width: 2, height: 2, channels: 1)
    #expect(colour(tile, 0, 0) == [255, 255, 255])
    let (positive, negative) = (colour(tile, 1, 0), colour(tile, 0, 1))
    #expect(positive[0] > positive[2] && negative[2] > negative[0])
    let rgb = InspectionPictures.tile([0, 1, -1], width: 1, height: 1, channels: 3)
    #expect(rgb.samples == [128, 255, 0])
    // All zero, or not finite: white, no crash.
    let odd = InspectionPictures.tile([0, .nan], width: 2, height: 1, channels: 1)
    #expect(odd.samples.allSatisfy { $0 == 255 })
  }

  @Test func deadLatentsAreGreyTiles() {
    let atoms: [[Float]?] = [[1, 1, 1, 1], nil]
    let picture = InspectionPictures.dictionary(
      atoms, width: 2, height: 2, channels: 1, caption: [])
    // 12 pixels around, 2 between tiles of 56.
    #expect(picture.width == 2 * 12 + 2 * 58 + 2 && picture.height == 2 * 12 + 58 + 2)
    let first = colour(picture, 20, 40)
    #expect(first[0] > first[2])
    #expect(colour(picture, 12 + 58 + 2 + 2, 40) == [190, 190, 190])
  }

  @Test func largePicturesHaveALimit() {
    #expect(InspectionPictures.dictionaryLimit(width: 28, height: 28) >= 16384)
    #expect(InspectionPictures.dictionaryLimit(width: 512, height: 512) >= 16384)
  }

  @Test func histogramsCanBeDrawn() throws {
    _ = try InspectionPictures.firingPlot(
      FiringHistogram(firings: [0, 0], images: 3)
    ).image()
    _ = try InspectionPictures.firingPlot(
      FiringHistogram(firings: [3], images: 3)
    ).image()
    _ = try InspectionPictures.l0Plot(L0Summary([0]), latents: 4).image()
    _ = try InspectionPictures.l0Plot(L0Summary(Array(0...16384)), latents: 16384).image()
  }

  @Test func excitersHaveARowForEachLatent() {
    let image = Image(width: 2, height: 2, channels: 1, samples: [9, 9, 9, 9])
    func picture(_ rows: Int) -> Image {
      InspectionPictures.exciters(
        (0..<rows).map {
          .init(
            latent: $0, frequency: 0.5, atom: $0 == 1 ? nil : [1, 0, 0, -1],
            images: Array(repeating: image, count: $0))
        }, width: 2, height: 2, channels: 1, caption: [])
    }
    #expect(picture(3).height - picture(2).height == 59)
    #expect(picture(0).height > 0)
  }
}
