import Compute
import Networks
import RandomNumbers
import ReferenceBackend
import Segmentation
import Testing
import Training

/// Small images in which a class is what is bright, under noise.
func brightSpots(count: Int, width: Int = 48, height: Int = 40) -> [LabelledImage] {
  (0..<count).map { index in
    var generator = SplitMix64(seed: 7, stream: UInt64(index))
    let centres = (0..<4).map { _ in
      (generator.nextUniform(0, Float(width)), generator.nextUniform(0, Float(height)))
    }
    var samples: [Float] = []
    var labels: [UInt8] = []
    for y in 0..<height {
      for x in 0..<width {
        let isSpot = centres.contains { cx, cy in
          let (dx, dy) = (Float(x) - cx, Float(y) - cy)
          return dx * dx + dy * dy < 50
        }
        labels.append(isSpot ? 1 : 0)
        samples.append((isSpot ? 140 : 90) + 20 * Float(generator.nextNormal()))
      }
    }
    return LabelledImage(
      name: "spots\(index)",
      image: SampleImage(
        width: width, height: height, channels: 1, sampleType: .uint8,
        samples: samples.map { min(255, max(0, $0.rounded())) }), labels: labels)
  }
}

let spots = try? ClassMap(parsing: "ground=0,spot=1")

func network(
  code: Code = .topK(3), outputs: Int = 2, hasSkips: Bool = true, levels: Int = 2
) -> ConvolutionalConfiguration {
  ConvolutionalConfiguration(
    inputs: 1, baseChannels: 4, levels: levels, code: code, hasSkips: hasSkips, outputs: outputs)
}

func training(
  _ network: ConvolutionalConfiguration, steps: Int, seed: UInt64 = 1
) -> ConvolutionalTraining {
  ConvolutionalTraining(
    network: network, cropSize: 24, batchSize: 2, length: .steps(steps), learningRate: 1e-2,
    seed: seed)
}

func settings(_ frontEnd: SegmenterTraining.FrontEnd = .scratch) -> SegmenterTraining {
  SegmenterTraining(
    loss: SegmentationLoss(), classWeights: [1, 1], augmentation: .light,
    freezesFrontEnd: frontEnd == .random, frontEnd: frontEnd)
}

func normalised(_ images: [LabelledImage], _ normalisation: PercentileNormalisation)
  -> [LabelledImage]
{
  images.map {
    LabelledImage(name: $0.name, image: normalisation($0.image), labels: $0.labels)
  }
}

func percentiles(_ images: [LabelledImage]) throws -> PercentileNormalisation {
  var counter = PercentileCounter(like: images[0].image)
  for image in images { try counter.add(image.image, path: image.name) }
  return counter.normalisation()
}

func segmenter<B: Backend>(
  steps: Int, code: Code = .topK(3), levels: Int = 2, seed: UInt64 = 1,
  _ settings: SegmenterTraining = settings(), pretrained: PretrainedModel? = nil, on backend: B,
  verification: StepVerification<ReferenceBackend>? = nil,
  report: (StepReport) -> Void = { _ in }
) throws -> SegmenterModel {
  let images = brightSpots(count: 2)
  let normalisation = try percentiles(images)
  return try SegmenterTrainer.train(
    training(network(code: code, levels: levels), steps: steps, seed: seed), settings,
    images: normalised(images, normalisation), normalisation: normalisation,
    classes: try #require(spots), pretrained: pretrained, verification: verification, on: backend,
    report: report)
}

func pretrained<B: Backend>(
  steps: Int, code: Code = .topK(3), target: Double? = nil, on backend: B,
  verification: StepVerification<ReferenceBackend>? = nil
) throws -> (PretrainedModel, PretrainingReport) {
  let images = brightSpots(count: 4)
  let normalisation = try percentiles(images)
  var configuration = training(network(code: code, outputs: 1, hasSkips: false), steps: steps)
  configuration.code = CodeTraining(
    beta: target == nil ? 0 : 1e-3, target: target.map { TargetL0($0) })
  let model = try Pretrainer.train(
    configuration, alpha: 1, corruption: Corruption(maskShare: 0.1, maskSize: 3, noise: 0.05),
    images: normalised(images, normalisation), normalisation: normalisation,
    verification: verification, on: backend
  ) { _ in }
  return (
    model, try Pretrainer.evaluate(model, images: normalised(images, normalisation), on: backend)
  )
}
