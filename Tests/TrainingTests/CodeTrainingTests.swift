import Compute
import Datasets
import Foundation
import Imaging
import Networks
import OpenCLBackend
import OpenCLRuntime
import ReferenceBackend
import TestSupport
import Testing
import Training

/// A small network with a code, on images of bars.
private func configuration(
  _ code: Code, epochs: Int = 30, targetL0: Double? = nil, beta: Double? = nil
) -> TrainingConfiguration {
  let network = AutoencoderConfiguration(
    widths: [64, 24, 16, 24, 64], encoderLayers: 2, code: code, unitNormDecoder: code == .l1)
  var result = TrainingConfiguration.recommended(
    for: network, epochs: epochs, batchSize: 32, targetL0: targetL0)
  result.learningRate = 5e-3
  result.seed = 3
  if let beta { result.beta = beta }
  return result
}

private func train(
  _ configuration: TrainingConfiguration, images: ImageSet = bars(640)
) throws -> Trainer<ReferenceBackend> {
  let trainer = try Trainer(
    configuration, images: images, normalisation: .unit, on: ReferenceBackend())
  try trainer.run { _ in }
  return trainer
}

private func evaluate(
  _ trainer: Trainer<ReferenceBackend>, _ images: ImageSet = bars(320, seed: 9)
) throws -> EvaluationReport {
  try Evaluator(trainer.step.network).evaluate(images, normalisation: .unit)
}

@Suite struct CodeTrainingTests {
  @Test(arguments: [Code.topK(4), .batchTopK(4)])
  func countsAreMet(code: Code) throws {
    let trainer = try train(configuration(code))
    let report = try evaluate(trainer)
    #expect(abs(report.l0 - 4) < (code == .topK(4) ? 0.35 : 0.6), "L0 \(report.l0)")
    #expect(trainer.history[29].mse < trainer.history[9].mse)
    // In training no more than K are ever kept once K has come down.
    #expect(trainer.history[29].l0 <= 4)
    #expect(trainer.history[29].dead != nil)
  }

  @Test(arguments: [Code.jumpReLU, .hardConcrete, .l1])
  func aTargetIsReached(code: Code) throws {
    let trainer = try train(configuration(code, epochs: 60, targetL0: 4))
    let report = try evaluate(trainer)
    #expect(abs(report.l0 - 4) < 0.6, "\(code): L0 \(report.l0)")
    let last = trainer.history[59]
    #expect(last.beta > 0)
    #expect(abs(last.loss - last.reconstruction - last.beta * last.l0) < 1e-12)
  }

  /// Fails where the gradient of the L0 penalty is dropped: beta must then change nothing.
  @Test(arguments: [Code.jumpReLU, .hardConcrete])
  func thePenaltyMakesCodesSparser(code: Code) throws {
    let free = try evaluate(train(configuration(code, beta: 0)))
    let penalised = try evaluate(train(configuration(code, beta: 3e-3)))
    #expect(penalised.l0 < 0.8 * free.l0, "\(code): L0 \(penalised.l0), without penalty \(free.l0)")
  }

  /// Fails where thresholds get no gradient or no step.
  @Test func thresholdsMoveAndStayPositive() throws {
    let trainer = try train(configuration(.jumpReLU, epochs: 10, beta: 1e-3))
    let network = trainer.step.network
    let thresholds = try network.backend.download(#require(network.threshold))
    #expect(thresholds.count == 16)
    #expect(thresholds.allSatisfy { $0 >= 0 })
    #expect(thresholds.count { abs($0 - 0.1) > 1e-3 } > 8)
  }

  @Test func aTargetOutOfReachIsSaid() throws {
    var configuration = configuration(.l1, epochs: 3, targetL0: 1)
    configuration.targetL0?.upper = 1.1e-4
    let trainer = try Trainer(
      configuration, images: bars(320), normalisation: .unit, on: ReferenceBackend())
    var warnings: [String] = []
    try trainer.run { if case .warning(let line) = $0 { warnings.append(line) } }
    #expect(warnings.count == 1 && warnings[0].contains("target of 1.0 was not met"))
  }

  /// Also after a few steps: what batches kept while K was larger is no threshold for the last K.
  @Test func aShortBatchTopKKeepsAsManyInUse() throws {
    let images = bars(192)
    let trainer = try train(configuration(.batchTopK(4), epochs: 10), images: images)
    let report = try evaluate(trainer, images)
    #expect(abs(report.l0 - 4) < 0.6, "L0 \(report.l0)")
  }

  /// BatchTopK keeps a mean of its batches' smallest kept values for use.
  @Test func aBatchTopKLearnsItsThreshold() throws {
    let trainer = try train(configuration(.batchTopK(4), epochs: 5))
    let network = trainer.step.network
    let threshold = try network.backend.download(#require(network.threshold))
    #expect(threshold.count == 1 && threshold[0] > 0)
  }

  @Test func theContractivePenaltyShrinksTheEncoder() throws {
    func norm(_ lambda: Double) throws -> Double {
      var configuration = configuration(.topK(4), epochs: 10)
      configuration.contractive = lambda
      let network = try train(configuration).step.network
      return try network.backend.download(network.arena.value(network.codeLayer.weight))
        .reduce(0.0) { $0 + Double($1) * Double($1) }
    }
    #expect(try norm(1e-2) < 0.8 * norm(0))
  }

  /// The average is what is kept, and it is not the last step's weights.
  @Test func averagedWeightsAreKept() throws {
    var configuration = configuration(.relu, epochs: 2)
    let plain = try train(configuration)
    configuration.optimizer.averageDecay = 0.9
    let averaged = try train(configuration)
    #expect(averaged.lastGoodParameters != plain.lastGoodParameters)
    #expect(
      try averaged.step.backend.download(averaged.step.network.arena.values)
        == averaged.lastGoodParameters)
  }
}

@Suite struct DictionaryTests {
  private func configuration(
    _ arithmetic: CodeArithmetic, epochs: Int = 6, data: Bool = false
  ) -> TrainingConfiguration {
    var result = TrainingConfiguration.recommended(
      for: .dictionary(inputs: 64, latents: 40, code: .topK(3)), epochs: epochs, batchSize: 32)
    result.arithmetic = arithmetic
    result.startsFromData = data
    result.seed = 5
    return result
  }

  @Test(arguments: CodeArithmetic.allCases)
  func trainsAndKeepsUnitNorms(arithmetic: CodeArithmetic) throws {
    let trainer = try train(configuration(arithmetic, epochs: 20, data: true))
    #expect(trainer.history[19].mse < trainer.history[7].mse)
    let report = try evaluate(trainer)
    #expect(report.fvu < 0.6, "FVU \(report.fvu)")
    #expect(report.l0 <= 3)
    let network = trainer.step.network
    let rows = try network.backend.download(network.dictionary.value)
    for j in 0..<40 {
      let norm = rows[j * 64..<(j + 1) * 64].reduce(0.0) { $0 + Double($1) * Double($1) }
      #expect(abs(norm - 1) < 1e-5)
    }
  }

  /// The same first step: the gradients agree, and Adam's first step has no past to differ by.
  @Test func sparseAndDenseTakeTheSameFirstStep() throws {
    func firstStep(_ arithmetic: CodeArithmetic) throws -> (ParameterLayout, [Float]) {
      let backend = ReferenceBackend()
      var configuration = configuration(arithmetic)
      configuration.balance = nil
      let images = bars(32)
      let step = try TrainingStep(
        configuration, stepsPerEpoch: 1,
        data: images.statistics(for: configuration, normalisation: .unit), on: backend)
      let resident = try ResidentImages(
        images, normalisation: .unit, mean: step.network.inputMean, on: backend)
      let order = try backend.allocate([32], of: UInt32.self)
      try backend.upload(Array(0..<32), into: order)
      let errors = try backend.allocate([32], of: Float.self)
      let l0 = try backend.allocate([32], of: Float.self)
      try step.run(images: resident, order: order, rows: 0..<32, rowError: errors, rowL0: l0)
      return (step.network.arena.layout, try step.parameters())
    }
    let (layout, dense) = try firstStep(.dense)
    let (_, sparse) = try firstStep(.sparse)
    for slot in layout.slots {
      for i in slot.offset..<slot.offset + slot.shape.count {
        // Adam's first step is the gradient's sign times the rate, wherever the gradient is not
        // within rounding of zero.
        #expect(abs(dense[i] - sparse[i]) < 2e-4, "\(slot.name)[\(i - slot.offset)]")
      }
    }
  }

  /// What is averaged are rows that have been normalised, as the average without a past tells.
  @Test(arguments: CodeArithmetic.allCases)
  func theAverageIsOfNormalisedRows(arithmetic: CodeArithmetic) throws {
    var configuration = configuration(arithmetic, epochs: 2)
    configuration.schedule = LearningRateSchedule(.constant)
    configuration.learningRate = 0.05
    configuration.optimizer.gradientLimit = 1
    configuration.optimizer.averageDecay = 0
    let step = try train(configuration, images: bars(64)).step
    let (average, slot) = (try step.parameters(), step.network.dictionary.slot)
    for start in stride(from: slot.offset, to: slot.offset + slot.shape.count, by: 64) {
      let norm = average[start..<start + 64].reduce(0.0) { $0 + Double($1) * Double($1) }
      #expect(abs(norm - 1) < 1e-5)
    }
  }

  /// Clipping and SGD take the way over separate gradients.
  @Test func otherOptimizersTrainSparseDictionaries() throws {
    var configuration = configuration(.sparse, epochs: 10)
    configuration.optimizer.gradientLimit = 1
    configuration.optimizer.averageDecay = 0.9
    let clipped = try train(configuration)
    #expect(clipped.history[9].mse < clipped.history[3].mse)
    configuration.optimizer = OptimizerConfiguration(.sgd(momentum: 0.9))
    configuration.learningRate = 0.5
    let descent = try train(configuration)
    #expect(descent.history[9].mse < descent.history[3].mse)
  }

  /// From more latents than any default anneals from.
  @Test func annealingFromManyLatents() throws {
    var configuration = TrainingConfiguration.recommended(
      for: .dictionary(inputs: 64, latents: 700, code: .topK(3)), epochs: 2, batchSize: 32)
    configuration.arithmetic = .sparse
    configuration.annealing = AnnealedCount(from: 600, to: 3, over: 0.5, shape: .exponential)
    let trainer = try train(configuration, images: bars(96))
    #expect(trainer.history[0].l0 > 3 && trainer.history[1].l0 <= 3)
  }

  @Test func theInputIsCentredByTheTrainingSet() throws {
    let images = bars(320)
    let trainer = try train(configuration(.sparse, epochs: 1), images: images)
    let network = trainer.step.network
    let mean = try network.backend.download(#require(network.inputMean))
    let first = (0..<320).reduce(0.0) { $0 + Double(images.pixels[$1 * 64 + 5]) } / 320 / 255
    #expect(abs(Double(mean[5]) - first) < 1e-6)
  }

  /// The mean belongs to the model: reconstructions come out in the images' own units.
  @Test func reconstructionsAreNotCentred() throws {
    let trainer = try train(configuration(.sparse, epochs: 20, data: true))
    let evaluator = try Evaluator(trainer.step.network)
    let images = bars(64, seed: 9)
    try evaluator.forEachBatch(of: images, normalisation: .unit) { _, batch in
      let values = try evaluator.reconstruction(of: batch)
      let wanted = images.pixels.map { Double($0) / 255 }
      let error = zip(values, wanted).reduce(0.0) { $0 + pow(Double($1.0) - $1.1, 2) } / 64 / 64
      #expect(error < 0.05)
    }
  }
}

@Suite struct SweepTests {
  private func configurations(epochs: Int = 4) -> [TrainingConfiguration] {
    [2, 4, 8].map { configuration(.topK($0), epochs: epochs) }
  }

  /// Each model of a sweep is the one that it would be alone.
  @Test func sharedBatchesChangeNothing() throws {
    let sweep = try Sweep(
      configurations(), images: bars(300), normalisation: .unit, on: ReferenceBackend())
    for _ in 0..<4 { try sweep.runEpoch() }
    for (parameters, configuration) in zip(try sweep.parameters(), configurations()) {
      let alone = try train(configuration, images: bars(300))
      #expect(parameters == alone.lastGoodParameters)
    }
  }

  /// In the update of its only step, whose loss is finite.
  @Test func aModelThatDivergesIsNamed() throws {
    var configurations = configurations(epochs: 1)
    for index in configurations.indices { configurations[index].batchSize = 300 }
    configurations[1].learningRate = 1e38
    let sweep = try Sweep(
      configurations, images: bars(300), normalisation: .unit, on: ReferenceBackend())
    let error = #expect(throws: SweepDivergence.self) { try sweep.runEpoch() }
    #expect(error?.model == 1 && error?.epoch == 1)
    #expect(throws: SweepDivergence.self) { try sweep.parameters() }
    // Nor is there a state that is worth keeping.
    #expect(throws: SweepDivergence.self) { try sweep.states() }
  }

  /// Where it is noticed within an epoch, training ends there.
  @Test func aModelThatDivergesIsNotSaved() throws {
    var configurations = configurations(epochs: 2)
    for index in configurations.indices { configurations[index].batchSize = 100 }
    configurations[1].learningRate = 1e38
    let folder = try TemporaryFolder()
    let keeper = RunKeeper<[RunState]>(
      store: CheckpointStore(folder: folder.path), interval: .steps(2), requestedStop: { nil },
      contents: { _ in Safetensors(metadata: [:], entries: []) })
    let sweep = try Sweep(
      configurations, images: bars(300), normalisation: .unit, on: ReferenceBackend())
    let error = #expect(throws: SweepDivergence.self) { try sweep.runEpoch(keeper: keeper) }
    #expect(error?.model == 1 && error?.epoch == 1)
    #expect(sweep.stepsIntoEpoch == 2 && folder.names.isEmpty)
  }

  @Test func aContinuedSweepEndsWithTheSameBits() throws {
    func sweep() throws -> Sweep<ReferenceBackend> {
      try Sweep(
        configurations() + [configuration(.jumpReLU, epochs: 4, targetL0: 4)],
        images: bars(300), normalisation: .unit, on: ReferenceBackend())
    }
    let whole = try sweep()
    for _ in 0..<4 { try whole.runEpoch() }
    // At the end of an epoch and within one.
    for stop in [10, 13] {
      let folder = try TemporaryFolder()
      let store = CheckpointStore(folder: folder.path)
      let description = SweepDescription(
        configurations: whole.configurations, values: [2, 4, 8, 4], data: "bars", content: "")
      var moments = 0
      let keeper = RunKeeper<[RunState]>(
        store: store, interval: nil,
        requestedStop: {
          moments += 1
          return moments == stop ? SIGINT : nil
        }, contents: { try SweepCheckpoint(description: description, runs: $0).contents() })
      let first = try sweep()
      #expect(throws: RunInterrupted.self) {
        for _ in 0..<4 { try first.runEpoch(keeper: keeper) }
      }
      let checkpoint = try SweepCheckpoint(path: store.current)
      #expect(checkpoint.description.isSame(as: description))
      #expect(checkpoint.runs.allSatisfy { $0.training.stepCount == stop })
      let second = try sweep()
      try second.restore(checkpoint.runs)
      #expect(second.epochsDone == first.epochsDone && second.stepsIntoEpoch == stop % 10)
      for _ in second.epochsDone..<4 { try second.runEpoch() }
      #expect(try second.parameters() == whole.parameters())
      func figures(_ sweep: Sweep<ReferenceBackend>) -> [[[Double]]] {
        sweep.histories.map { history in
          history.map { [$0.loss, $0.mse, $0.l0, $0.beta, Double($0.dead ?? -1)] }
        }
      }
      #expect(figures(second) == figures(whole))
      // Of another sweep.
      #expect(throws: TrainingError.self) {
        try sweep().restore(Array(checkpoint.runs.dropLast()))
      }
      var other = checkpoint.runs
      other[1].epochsDone = 0
      #expect(throws: TrainingError.self) { try sweep().restore(other) }
    }
  }

  /// What is reckoned is what is allocated, but for what single operations take.
  @Test(.usesDevice) func theMemoryOfASweepIsKnown() throws {
    guard let device = try TestDevice.find() else { return }
    let images = bars(300)
    func allocated(_ batch: Int) throws -> (real: Int, reckoned: Int) {
      var all = configurations()
      for index in all.indices { all[index].batchSize = batch }
      let backend = try OpenCLBackend(device: device)
      let before = backend.allocatedByteCount
      let sweep = try Sweep(all, images: images, normalisation: .unit, on: backend)
      let real = Int(backend.allocatedByteCount - before)
      withExtendedLifetime(sweep) {}
      return (real, TrainingMemory(sweep: all, images: images.count).total(batch: batch))
    }
    let (small, large) = (try allocated(32), try allocated(160))
    #expect(large.real - small.real == large.reckoned - small.reckoned)
    #expect(abs(small.real - small.reckoned) < 2048, "\(small)")
  }

  /// A checkpoint that is whole and makes no sense.
  @Test func checkpointsThatAreOfNoSweep() throws {
    let sweep = try Sweep(
      configurations(), images: bars(300), normalisation: .unit, on: ReferenceBackend())
    try sweep.runEpoch()
    let runs = try sweep.states()
    let folder = try TemporaryFolder()
    func read(
      values: [Double] = [2, 4, 8], _ runs: [RunState], named change: (String) -> String = { $0 }
    ) throws -> SweepCheckpoint {
      let description = SweepDescription(
        configurations: sweep.configurations, values: values, data: "bars", content: "")
      var file = try SweepCheckpoint(description: description, runs: runs).contents()
      file.entries = file.entries.map {
        Safetensors.Entry(name: change($0.name), shape: $0.shape, elements: $0.elements)
      }
      file.writeChecksum(isSealed: true)
      try file.write(to: folder.file("c"))
      return try SweepCheckpoint(path: folder.file("c"))
    }
    func expectError(_ words: String, _ body: () throws -> SweepCheckpoint) {
      let error = #expect(throws: FileError.self) { _ = try body() }
      #expect(error?.reason.contains(words) == true, "\(error?.reason ?? "")")
    }
    #expect(try read(runs).runs.count == 3)
    expectError("not as many values as models") { try read(values: [2, 4], runs) }
    expectError("not as many values as models") { try read(Array(runs.dropLast())) }
    var uneven = runs
    uneven[2].epochsDone = 0
    uneven[2].history = []
    expectError("its models are not equally far") { try read(uneven) }
    for name in ["3/history", "-1/history", "history", "x/history", "02/history", "+2/history"] {
      expectError("is of none of its models") {
        try read(runs) { $0 == "2/history" ? name : $0 }
      }
    }
    expectError("no fitting history") { try read(runs) { $0 == "2/history" ? "2/other" : $0 } }
    try ModelFile(
      description: ModelDescription(
        training: sweep.configurations[0], normalisation: .unit, imageWidth: 8, imageHeight: 8,
        imageChannels: 1, epochsDone: 1, data: "bars"), parameters: try sweep.parameters()[0]
    ).write(to: folder.file("model"))
    expectError("not the checkpoint of a sweep") {
      try SweepCheckpoint(path: folder.file("model"))
    }
  }
}
