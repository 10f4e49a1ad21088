import Compute
import Foundation
import Imaging
import Networks
import RandomNumbers
import ReferenceBackend
import Segmentation
import Testing
import Training

/// A bright half beside a dark one, under noise.
private func halves(_ name: String, seed: UInt64, labelled: Bool) -> LabelledImage {
  var generator = SplitMix64(seed: seed)
  let (width, height) = (32, 32)
  var samples: [Float] = []
  var labels: [UInt8] = []
  let edge = 8 + Int(generator.nextIndex(below: 16))
  for _ in 0..<height {
    for x in 0..<width {
      labels.append(x < edge ? 0 : 1)
      samples.append(((x < edge ? 90 : 150) + 10 * Float(generator.nextNormal())).rounded())
    }
  }
  return LabelledImage(
    name: name,
    image: SampleImage(
      width: width, height: height, channels: 1, sampleType: .uint8, samples: samples),
    labels: labelled ? labels : nil)
}

@Suite struct SelfTrainingTests {
  @Test func whatIsNotSureIsLeftOut() {
    let prediction = Prediction(
      width: 2, height: 2, classes: 2, probabilities: [0.9, 0.1, 0.31, 0.69, 0.3, 0.7, 0.5, 0.5])
    let ignored = SegmentationLoss.ignored
    #expect(
      SelfTraining(confidence: 0.7).sureLabels(of: prediction) == [0, ignored, 1, ignored])
    #expect(SelfTraining(confidence: 0).sureLabels(of: prediction) == [0, 1, 1, 0])
  }

  @Test func labelledImagesKeepTheirShare() {
    let settings = SelfTraining(labelledShare: 0.2)
    // 5 of 24 images are the labelled one: as little above a fifth as whole copies allow.
    #expect(settings.copies(labelled: 1, unlabelled: 19) == 5)
    #expect(settings.copies(labelled: 4, unlabelled: 16) == 1)
    #expect(settings.copies(labelled: 20, unlabelled: 1) == 1)
    #expect(settings.copies(labelled: 3, unlabelled: 0) == 1)
  }

  @Test func theTeacherLabelsNoMoreThanItShould() {
    let images = (1...6).map { halves("image \($0)", seed: $0, labelled: false) }
    func names(_ pixels: Double, seed: UInt64 = 1) -> [String] {
      SelfTraining.drawn(images, pixels: pixels, seed: seed).map(\.name)
    }
    #expect(names(6 * 1024) == images.map(\.name))
    #expect(names(3 * 1024 + 1023).count == 3)
    #expect(names(3 * 1024) == names(3 * 1024).sorted())
    #expect(names(0).count == 1)
    #expect(Set((1...20).map { names(0, seed: $0) }).count > 1)
    #expect(SelfTraining.drawn([], pixels: 1e6, seed: 1).isEmpty)
  }

  @Test func aLabelledImageIsNoOther() throws {
    let read = halves("a", seed: 1, labelled: true)
    var counter = PercentileCounter(like: read.image)
    try counter.add(read.image, path: "a")
    let normalisation = counter.normalisation()
    let labelled = LabelledImage(
      name: read.name, image: normalisation(read.image), labels: read.labels)
    // Numbered images of two folders have the same names.
    let others = [
      halves("a", seed: 1, labelled: false), halves("b", seed: 1, labelled: false),
      halves("a", seed: 2, labelled: false),
    ]
    let left = SelfTraining.others(others, than: [labelled], normalisation: normalisation)
    #expect(left.map(\.name) == ["b", "a"])
    #expect(left[1].image == others[2].image)
  }

  /// Zero at the restart and at the end, and all of it a warm-up after the start and the restart.
  @Test func theRateStartsOver() {
    let training = ConvolutionalTraining(
      network: ConvolutionalConfiguration(
        inputs: 1, baseChannels: 4, levels: 2, code: .relu, hasSkips: true, outputs: 2),
      length: .steps(100), learningRate: 1, warmup: 0.1)
    func rate(_ progress: Double) -> Double { training.rate(at: progress, restart: 0.5) }
    #expect(rate(0) == 0.05 && rate(0.5) == 0.05)
    #expect(abs(rate(0.05) - 0.5) < 1e-12 && abs(rate(0.55) - 0.5) < 1e-12)
    #expect(abs(rate(0.1) - 1) < 1e-12 && abs(rate(0.6) - 1) < 1e-12)
    #expect(abs(rate(0.3) - 0.5) < 1e-12 && abs(rate(0.8) - 0.5) < 1e-12)
    #expect(rate(0.4999) == 0.01 && rate(0.9999) == 0.01)
    // Without one as it always was, and a part shorter than the warm-up has none.
    #expect(abs(training.rate(at: 0.55) - 0.5) < 1e-12)
    #expect(training.rate(at: 0, restart: 0.05) == 1)
  }

  /// Descriptions of earlier versions have no scales, and kept the weights and all changes of crops.
  @Test func earlierSettingsAreRead() throws {
    let text = #"{"start":0.4,"confidence":0.5,"labelledShare":0.25}"#
    let settings = try JSONDecoder().decode(SelfTraining.self, from: Data(text.utf8))
    #expect(
      settings
        == SelfTraining(
          confidence: 0.5, labelledShare: 0.25, scales: [], keepsClassWeights: true,
          keepsFading: true))
    let again = try JSONDecoder().decode(
      SelfTraining.self, from: JSONEncoder().encode(SelfTraining()))
    #expect(again == SelfTraining())
  }

  @Test func settingsAreChecked() {
    #expect(SelfTraining().problem == nil)
    for bad in [
      SelfTraining(start: 0), SelfTraining(start: 1), SelfTraining(confidence: .nan),
      SelfTraining(confidence: 1.1), SelfTraining(labelledShare: 0),
      SelfTraining(scales: [0]), SelfTraining(scales: [.nan]),
    ] { #expect(bad.problem != nil) }
  }

  /// The cross-entropy in each of ten steps on one labelled image and others without labels.
  private func losses(
    _ selfTraining: SelfTraining?, _ unlabelled: [LabelledImage], classWeights: [Float] = [1, 1],
    augmentation: Augmentation = .none
  ) throws -> [Float] {
    let image = halves("a", seed: 1, labelled: true)
    var counter = PercentileCounter(like: image.image)
    try counter.add(image.image, path: image.name)
    let normalisation = counter.normalisation()
    let labelled = LabelledImage(
      name: image.name, image: normalisation(image.image), labels: image.labels)
    var losses: [Float] = []
    _ = try SegmenterTrainer.train(
      ConvolutionalTraining(
        network: ConvolutionalConfiguration(
          inputs: 1, baseChannels: 4, levels: 2, code: .relu, hasSkips: true, outputs: 2),
        cropSize: 16, batchSize: 2, length: .steps(10), learningRate: 1e-2, seed: 1),
      SegmenterTraining(
        loss: SegmentationLoss(), classWeights: classWeights, augmentation: augmentation,
        freezesFrontEnd: false, frontEnd: .scratch, selfTraining: selfTraining),
      images: [labelled], unlabelled: unlabelled, normalisation: normalisation,
      classes: try ClassMap(parsing: "left=0,right=1"), pretrained: nil,
      verification: StepVerification<ReferenceBackend>?.none, on: ReferenceBackend()
    ) { losses.append($0.figures[0]) }
    return losses
  }

  /// Steps before the start see the labelled image alone; those after it the others as well.
  @Test func learnsFromTheOthersAfterTheStart() throws {
    let alone = try losses(nil, [])
    func taught(by seeds: Range<UInt64>) throws -> [Float] {
      try losses(
        SelfTraining(start: 0.4, confidence: 0.5),
        seeds.map { halves("b\($0)", seed: $0, labelled: false) })
    }
    let (some, others) = (try taught(by: 2..<5), try taught(by: 5..<8))
    #expect(alone.count == 10 && some.count == 10 && others.count == 10)
    #expect(some.prefix(4) == others.prefix(4))
    #expect(zip(some, others).dropFirst(4).contains { $0 != $1 })
    // The labelled image among the unlabelled ones is no other image.
    let same = try losses(
      SelfTraining(start: 0.4, confidence: 0.5), [halves("a", seed: 1, labelled: false)])
    #expect(same == alone)
  }

  /// From the labelling on, weights of the classes hold only where they are kept.
  @Test func theTeachersLabelsDoNotLeanTwice() throws {
    let others = (2..<5).map { halves("b\($0)", seed: $0, labelled: false) }
    func taught(keeping: Bool, _ weights: [Float]) throws -> [Float] {
      try losses(
        SelfTraining(start: 0.4, keepsClassWeights: keeping), others, classWeights: weights)
    }
    let weights: [Float] = [2, 0.5]
    let (kept, dropped) = (
      try taught(keeping: true, weights), try taught(keeping: false, weights)
    )
    #expect(kept.prefix(4) == dropped.prefix(4))
    #expect(zip(kept, dropped).dropFirst(4).allSatisfy { $0 != $1 })
    #expect(try taught(keeping: true, [1, 1]) == taught(keeping: false, [1, 1]))
  }

  /// From the labelling on, classes fade only where that is kept.
  @Test func classesFadeUntilTheOthersAreLabelled() throws {
    let others = (2..<5).map { halves("b\($0)", seed: $0, labelled: false) }
    func taught(keeping: Bool, fading: Float) throws -> [Float] {
      var augmentation = Augmentation.none
      if fading > 0 { augmentation.classFading = .init(share: 1, limit: fading) }
      return try losses(
        SelfTraining(start: 0.4, keepsFading: keeping), others, augmentation: augmentation)
    }
    let (kept, dropped) = (
      try taught(keeping: true, fading: 0.8), try taught(keeping: false, fading: 0.8)
    )
    #expect(kept.prefix(4) == dropped.prefix(4))
    #expect(zip(kept, dropped).dropFirst(4).contains { $0 != $1 })
    let plain = try taught(keeping: true, fading: 0)
    #expect(plain.prefix(4) != dropped.prefix(4))
    #expect(try plain == taught(keeping: false, fading: 0))
  }
}
