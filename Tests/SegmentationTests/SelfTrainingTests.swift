import Compute
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

  @Test func settingsAreChecked() {
    #expect(SelfTraining().problem == nil)
    for bad in [
      SelfTraining(start: 0), SelfTraining(start: 1), SelfTraining(confidence: .nan),
      SelfTraining(confidence: 1.1), SelfTraining(labelledShare: 0),
    ] { #expect(bad.problem != nil) }
  }

  /// Steps before the start see the labelled image alone; those after it the others as well.
  @Test func learnsFromTheOthersAfterTheStart() throws {
    let image = halves("a", seed: 1, labelled: true)
    var counter = PercentileCounter(like: image.image)
    try counter.add(image.image, path: image.name)
    let normalisation = counter.normalisation()
    let labelled = LabelledImage(
      name: image.name, image: normalisation(image.image), labels: image.labels)
    let others = (2..<5).map { halves("b\($0)", seed: $0, labelled: false) }
    let classes = try ClassMap(parsing: "left=0,right=1")
    func losses(_ selfTraining: SelfTraining?, _ unlabelled: [LabelledImage]) throws -> [Float] {
      var losses: [Float] = []
      _ = try SegmenterTrainer.train(
        ConvolutionalTraining(
          network: ConvolutionalConfiguration(
            inputs: 1, baseChannels: 4, levels: 2, code: .relu, hasSkips: true, outputs: 2),
          cropSize: 16, batchSize: 2, length: .steps(10), learningRate: 1e-2, seed: 1),
        SegmenterTraining(
          loss: SegmentationLoss(), classWeights: [1, 1], augmentation: .none,
          freezesFrontEnd: false, frontEnd: .scratch, selfTraining: selfTraining),
        images: [labelled], unlabelled: unlabelled, normalisation: normalisation,
        classes: classes, pretrained: nil,
        verification: StepVerification<ReferenceBackend>?.none, on: ReferenceBackend()
      ) { losses.append($0.figures[0]) }
      return losses
    }
    let alone = try losses(nil, [])
    let taught = try losses(SelfTraining(start: 0.4, confidence: 0.5), others)
    #expect(alone.count == 10 && taught.count == 10)
    #expect(alone.prefix(4) == taught.prefix(4))
    #expect(alone.suffix(6) != taught.suffix(6))
    // The labelled image among the unlabelled ones is no other image.
    let same = try losses(
      SelfTraining(start: 0.4, confidence: 0.5), [halves("a", seed: 1, labelled: false)])
    #expect(same == alone)
  }
}
