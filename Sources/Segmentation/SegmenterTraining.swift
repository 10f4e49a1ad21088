import Compute
import Networks
import Training
import Verification

/// What the training of a segmenter is told besides `ConvolutionalTraining`.
package struct SegmenterTraining: Codable, Hashable, Sendable {
  package var loss: SegmentationLoss
  package var classWeights: [Float]
  package var augmentation: Augmentation
  package var freezesFrontEnd: Bool
  /// What the front end starts from.
  package enum FrontEnd: String, Codable, Sendable {
    /// Random weights, trained with the rest.
    case scratch
    /// A pretrained model's weights.
    case pretrained
    /// Random weights that stay as they are.
    case random
  }
  package var frontEnd: FrontEnd
  /// How images without labels are learned from; not at all when nil.
  package var selfTraining: SelfTraining?
  /// How far predictions bring the statistics of normalisation towards each image's own, from 0,
  /// those of the training alone, to 1.
  package var adaptation: Float
  /// How the brightness places outlines; not at all when nil.
  package var outlines: BrightnessOutlines?

  package init(
    loss: SegmentationLoss, classWeights: [Float], augmentation: Augmentation,
    freezesFrontEnd: Bool, frontEnd: FrontEnd, selfTraining: SelfTraining? = nil,
    adaptation: Float = 0, outlines: BrightnessOutlines? = nil
  ) {
    self.adaptation = adaptation
    self.outlines = outlines
    self.loss = loss
    self.classWeights = classWeights
    self.augmentation = augmentation
    self.freezesFrontEnd = freezesFrontEnd
    self.frontEnd = frontEnd
    self.selfTraining = selfTraining
  }

  package init(from decoder: any Decoder) throws {
    let values = try decoder.container(keyedBy: CodingKeys.self)
    loss = try values.decode(SegmentationLoss.self, forKey: .loss)
    classWeights = try values.decode([Float].self, forKey: .classWeights)
    augmentation = try values.decode(Augmentation.self, forKey: .augmentation)
    freezesFrontEnd = try values.decode(Bool.self, forKey: .freezesFrontEnd)
    frontEnd = try values.decode(FrontEnd.self, forKey: .frontEnd)
    selfTraining = try values.decodeIfPresent(SelfTraining.self, forKey: .selfTraining)
    // Earlier versions predicted all images alike.
    adaptation = try values.decodeIfPresent(Float.self, forKey: .adaptation) ?? 0
    outlines = try values.decodeIfPresent(BrightnessOutlines.self, forKey: .outlines)
  }
}

/// Trains segmenters.
package enum SegmenterTrainer {
  /// - Parameters:
  ///   - images: normalised, with labels.
  ///   - unlabelled: as read, for `settings.selfTraining`.
  ///   - pretrained: what the front end starts from, where `settings.frontEnd` says so.
  ///   - state: where the run goes on; from its start when nil.
  ///   - keeper: saves the run; it is not saved when nil.
  ///   - verification: has steps done again; none is when nil.
  ///   - labelling: called while the teacher labels images, with how many it has, and of how many.
  ///   - report: called after each step, with cross-entropy, dice and labelled positions.
  package static func train<B: Backend, Host: Backend>(
    _ training: ConvolutionalTraining, _ settings: SegmenterTraining, images: [LabelledImage],
    unlabelled: [LabelledImage] = [], normalisation: PercentileNormalisation, classes: ClassMap,
    pretrained: PretrainedModel?, from state: ConvolutionalState? = nil,
    keeper: RunKeeper<ConvolutionalState>? = nil,
    verification: StepVerification<Host>?, on backend: B,
    labelling: @escaping (Int, Int) -> Void = { _, _ in }, report: (StepReport) throws -> Void
  ) throws -> SegmenterModel {
    var parameters = training.network.initialParameters(seed: training.seed)
    var statistics = training.network.initialStatistics
    if settings.frontEnd == .pretrained, let pretrained {
      try training.network.adoptFrontEnd(
        of: pretrained, parameters: &parameters, statistics: &statistics)
    }
    let crops = AugmentedCrops(
      images, size: training.cropSize, augmentation: settings.augmentation, seed: training.seed)
    let task = try SegmenterTask(
      crops, loss: settings.loss, classWeights: settings.classWeights, training, on: backend)
    if settings.frontEnd == .random {
      // What stays as it is must be in order before: statistics that fit these weights and images.
      let trainer = try ConvolutionalTrainer(
        training, parameters: parameters, statistics: statistics, on: backend)
      try trainer.measureStatistics(task, batches: 40)
      statistics = try trainer.statistics()
    }
    let freezes = settings.freezesFrontEnd || settings.frontEnd == .random
    let trainer = try ConvolutionalTrainer(
      training, parameters: parameters, statistics: statistics, freezesFrontEnd: freezes,
      on: backend)
    // What it calls holds it.
    defer { trainer.teaching = nil }
    if let state { try trainer.restore(state) }
    let (start, startStatistics) = (parameters, statistics)
    trainer.verifySteps(by: verification) { record, checked in
      try ConvolutionalTrainer(
        training, parameters: start, statistics: startStatistics, freezesFrontEnd: freezes,
        on: checked
      ).difference(
        repeating: record,
        SegmenterTask(
          task.crops, loss: settings.loss, classWeights: task.classWeights, training, on: checked))
    }
    func model(_ weights: ConvolutionalWeights) -> SegmenterModel {
      SegmenterModel(
        description: SegmenterDescription(
          training: training, segmenting: settings, normalisation: normalisation,
          classes: classes, stepsDone: trainer.stepsDone, images: images.count),
        parameters: weights.parameters, statistics: weights.statistics)
    }
    let others = SelfTraining.others(unlabelled, than: images, normalisation: normalisation)
    if let selfTraining = settings.selfTraining, !others.isEmpty {
      trainer.teaching = .init(start: selfTraining.start) { teacher, steps, pause in
        let crops = (1 - selfTraining.start) * Double(steps) * Double(training.batchSize)
        let pixels = crops * Double(training.cropSize * training.cropSize)
        let taught = try selfTraining.images(
          labelled: images,
          others: SelfTraining.drawn(
            others, pixels: SelfTraining.mostLabelled * pixels, seed: training.seed),
          teacher: model(teacher), on: backend
        ) {
          labelling($0, $1)
          try pause()
        }
        try task.change(
          to: AugmentedCrops(
            taught, size: training.cropSize,
            augmentation: selfTraining.keepsFading
              ? settings.augmentation : settings.augmentation.fadingClasses(by: 0),
            seed: training.seed),
          classWeights: selfTraining.keepsClassWeights
            ? settings.classWeights : settings.classWeights.map { _ in 1 })
      }
    }
    try trainer.run(task, keeper: keeper, report: report)
    return model(try trainer.weights())
  }
}

/// Trains front ends without labels.
package enum Pretrainer {
  /// - Parameters:
  ///   - images: normalised.
  ///   - state: where the run goes on; from its start when nil.
  ///   - keeper: saves the run; it is not saved when nil.
  ///   - verification: has steps done again; none is when nil.
  ///   - report: called after each step with each crop's squared error, then each crop's L0.
  package static func train<B: Backend, Host: Backend>(
    _ training: ConvolutionalTraining, alpha: Double, corruption: Corruption,
    images: [LabelledImage], normalisation: PercentileNormalisation,
    from state: ConvolutionalState? = nil, keeper: RunKeeper<ConvolutionalState>? = nil,
    verification: StepVerification<Host>?,
    on backend: B, report: (StepReport) throws -> Void
  ) throws -> PretrainedModel {
    let crops = RestoredCrops(
      images, size: training.cropSize, corruption: corruption, seed: training.seed)
    let parameters = training.network.initialParameters(seed: training.seed)
    let statistics = training.network.initialStatistics
    let task = try PretrainingTask(crops, alpha: alpha, training, on: backend)
    let trainer = try ConvolutionalTrainer(
      training, parameters: parameters, statistics: statistics, on: backend)
    if let state { try trainer.restore(state) }
    trainer.verifySteps(by: verification) { record, checked in
      try ConvolutionalTrainer(
        training, parameters: parameters, statistics: statistics, on: checked
      ).difference(
        repeating: record, PretrainingTask(crops, alpha: alpha, training, on: checked))
    }
    try trainer.run(task, keeper: keeper, report: report)
    return PretrainedModel(
      description: PretrainedDescription(
        training: training, alpha: alpha, corruption: corruption, normalisation: normalisation,
        stepsDone: trainer.stepsDone, images: images.count),
      parameters: try trainer.parameters(), statistics: try trainer.statistics())
  }
}
