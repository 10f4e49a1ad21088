import Foundation
import Imaging
import ReferenceBackend
import Segmentation
import TestSupport
import Testing
import Training

/// Files that only look like a run of this program's: their checksum is right, their settings are
/// not.
@Suite struct CheckpointSettingsTests {
  private typealias Checkpoint = ConvolutionalCheckpoint<SegmentationSettings>

  /// A checkpoint after a step.
  private func checkpoint() throws -> Checkpoint {
    let images = brightSpots(count: 2)
    let normalisation = try percentiles(images)
    let (configuration, own) = (training(network(), steps: 2), settings())
    let description = Checkpoint.Description(
      settings: SegmentationSettings(
        model: SegmenterDescription(
          training: configuration, segmenting: own, normalisation: normalisation,
          classes: try #require(spots), stepsDone: 0, images: 2), images: "/i", labels: "/l",
        limit: nil), content: "", device: "", program: "")
    let folder = try TemporaryFolder()
    let store = CheckpointStore(folder: folder.path)
    #expect(throws: RunInterrupted.self) {
      try SegmenterTrainer.train(
        configuration, own, images: normalised(images, normalisation),
        normalisation: normalisation, classes: description.settings.model.classes,
        pretrained: nil,
        keeper: RunKeeper(
          store: store, interval: nil, requestedStop: { 2 },
          contents: { try Checkpoint(description: description, state: $0).contents() }),
        verification: StepVerification<ReferenceBackend>?.none, on: ReferenceBackend()
      ) { _ in }
    }
    return try Checkpoint(path: store.current)
  }

  private func read(_ checkpoint: Checkpoint) throws -> Checkpoint {
    let folder = try TemporaryFolder()
    try checkpoint.contents().write(to: folder.file("x"))
    return try Checkpoint(path: folder.file("x"))
  }

  @Test func settingsBeyondTheirLimitsAreRefused() throws {
    let good = try checkpoint()
    _ = try read(good)
    func expect(
      _ words: String, sourceLocation: SourceLocation = #_sourceLocation,
      _ change: (inout SegmentationSettings) -> Void
    ) throws {
      var bad = good
      change(&bad.description.settings)
      let error = #expect(throws: FileError.self, sourceLocation: sourceLocation) {
        try read(bad)
      }
      #expect("\(try #require(error))".contains(words), sourceLocation: sourceLocation)
    }
    for spacing: Float in [0, 1e-30, -32] {
      try expect("elastic spacing") { $0.model.segmenting.augmentation.elasticSpacing = spacing }
    }
    for (name, place) in [
      ("rotation", \Augmentation.rotation), ("scale", \.scale), ("elastic share", \.elasticShare),
      ("elastic amplitude", \.elasticAmplitude), ("elastic spacing", \.elasticSpacing),
      ("brightness", \.brightness), ("contrast", \.contrast), ("gamma", \.gamma),
      ("noise", \.noise), ("blur share", \.blurShare), ("blur", \.blur),
    ] as [(String, WritableKeyPath<Augmentation, Float>)] {
      for value: Float in [1e19, -1] {
        try expect(name) { $0.model.segmenting.augmentation[keyPath: place] = value }
      }
    }
    try expect("share of fading") {
      $0.model.segmenting.augmentation.classFading = .init(share: 2, limit: 0.5)
    }
    try expect("limit of fading") {
      $0.model.segmenting.augmentation.classFading = .init(share: 0.5, limit: -1)
    }
    try expect("smoothed by") { $0.model.segmenting.loss.smoothing = 0 }
    try expect("of the Dice") { $0.model.segmenting.loss.diceWeight = 1e30 }
    try expect("of the cross-entropy") { $0.model.segmenting.loss.crossEntropyWeight = -1 }
    try expect("gradient limit") { $0.model.training.optimizer.gradientLimit = 1e-60 }
    try expect("latents") {
      $0.model.training.code.annealing = AnnealedCount(
        from: 1 << 20, to: 3, over: 0.3, shape: .exponential)
    }
  }

  /// The log grows with the run, and so is no part of the header, whose length is bounded. Checkpoints of
  /// the first version have it there, as text.
  @Test func theLogIsATensor() throws {
    var long = try checkpoint()
    long.state.log.rows = (1...100_000).map { [10 * Double($0), 0.1, 1 / Double($0), 1e-9, 3] }
    (long.state.log.sums, long.state.log.count) = ([1, 2, 3], 1)
    long = Checkpoint(description: long.description, state: long.state)
    let contents = try long.contents()
    #expect(contents.metadata.values.reduce(0) { $0 + $1.utf8.count } < 10_000)
    let again = try read(long).state.log
    #expect(again.rows == long.state.log.rows)
    #expect(again.sums == [1, 2, 3] && again.count == 1)

    let json = Data(
      #"{"csv":"step,loss,seconds\n10,0.5,1.25\n20,0.25,2.5\n","sums":[1],"count":2}"#.utf8)
    let old = try JSONDecoder().decode(StepLogState.self, from: json)
    #expect(old.rows == [[10, 0.5, 1.25], [20, 0.25, 2.5]] && old.sums == [1] && old.count == 2)
    #expect(throws: DecodingError.self) {
      try JSONDecoder().decode(
        StepLogState.self, from: Data(#"{"csv":"a\nb,c\n","sums":[],"count":0}"#.utf8))
    }
    // Rows of nothing, of which there could be any number, and of another length than the sums say.
    for (shape, values) in [([1 << 40, 0], []), ([1, 4], [1, 2, 3, 4])] as [([Int], [Double])] {
      var bad = try long.contents()
      let place = try #require(bad.entries.firstIndex { $0.name == "log" })
      bad.entries[place] = .init(name: "log", shape: shape, elements: .f64(values))
      bad.writeChecksum(isSealed: true)
      let folder = try TemporaryFolder()
      try bad.write(to: folder.file("x"))
      #expect(throws: FileError.self, "\(shape)") { try Checkpoint(path: folder.file("x")) }
    }
  }

  /// What could not be read again does not take the place of what can.
  @Test func headersThatAreTooLongAreNotWritten() throws {
    let folder = try TemporaryFolder()
    let path = try folder.write("good", to: "x")
    let long = Safetensors(
      metadata: ["a": String(repeating: "x", count: 16 << 20)], entries: [])
    #expect(throws: FileError.self) { try long.write(to: path) }
    #expect(try String(contentsOfFile: path, encoding: .utf8) == "good")
    #expect(folder.names == ["x"])
  }

  @Test func countsBeyondTheirLimitsAreRefused() throws {
    let good = try checkpoint()
    var bad = good
    bad.description.log.count = .max
    #expect(throws: FileError.self) { try read(bad) }
    bad = good
    bad.description.stepCount = 1 << 47
    #expect(throws: FileError.self) { try read(bad) }
    bad = good
    bad.description.settings.limit = -1
    #expect(throws: FileError.self) { try read(bad) }
  }
}
