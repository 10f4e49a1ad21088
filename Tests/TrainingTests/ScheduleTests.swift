import Foundation
import Networks
import Testing
import Training

@Suite struct TrainingConfigurationTests {
  /// What would trap later, were it believed of a file.
  @Test func absurdValuesHaveAProblem() {
    let network = AutoencoderConfiguration.dictionary(inputs: 4, latents: 8, code: .topK(2))
    #expect(TrainingConfiguration(network: network).problem == nil)
    let changes: [(String, (inout TrainingConfiguration) -> Void)] = [
      ("epochs", { $0.epochs = -1 }), ("batches", { $0.batchSize = .max }),
      ("learning rate", { $0.learningRate = .nan }), ("beta", { $0.beta = .leastNonzeroMagnitude }),
      ("decoder", { $0.encoderStart = .infinity }), ("rate", { $0.encoderRate = -1 }),
      ("annealed", { $0.annealing = AnnealedCount(from: .max, to: 1, over: 1) }),
      ("weight from", { $0.targetL0 = TargetL0(2, lower: 0) }),
      ("weight from", { $0.targetL0 = TargetL0(2, lower: 1, upper: 0.5) }),
      ("gains", { $0.targetL0 = TargetL0(2, integralGain: .nan) }),
      ("falls over", { $0.targetL0 = TargetL0(2, fraction: 2) }),
      ("power", { $0.balance = LatentBalance(power: .nan) }),
      ("sparse", { ($0.network.code, $0.arithmetic) = (.relu, .sparse) }),
    ]
    for (words, change) in changes {
      var configuration = TrainingConfiguration(network: network)
      change(&configuration)
      #expect(configuration.problem?.contains(words) == true, "\(words): \(configuration)")
    }
  }
}

@Suite struct LearningRateScheduleTests {
  private func rates(_ schedule: LearningRateSchedule, epochs: Int = 5) -> [Double] {
    (1...4 * epochs).map {
      schedule.rate(base: 2, step: $0, stepsPerEpoch: 4, epochs: epochs)
    }
  }

  @Test func constantStaysAndWarmsUp() {
    #expect(rates(LearningRateSchedule()) == [Double](repeating: 2, count: 20))
    let wanted: [Double] = [2.0 / 6, 4.0 / 6, 1, 8.0 / 6, 10.0 / 6, 2, 2, 2]
    #expect(rates(LearningRateSchedule(.constant, warmup: 1.5), epochs: 2) == wanted)
  }

  /// Four steps up, then sixteen down: whole at first, a sixteenth at last.
  @Test func linearDecaysAfterItsWarmup() {
    let got = rates(LearningRateSchedule(.linear, warmup: 1))
    let falling = (0..<16).map { (step: Int) -> Double in 2 - Double(step) / 8 }
    #expect(got == [0.5, 1, 1.5, 2] + falling)
    #expect(got[19] == 0.125)
  }

  @Test func decayStartsWhereItIsToldTo() {
    let got = rates(LearningRateSchedule(.linear, warmup: 0.5, decayStart: 3))
    let level = [Double](repeating: 2, count: 12)
    let falling = (1..<8).map { (step: Int) -> Double in 2 - Double(step) / 4 }
    #expect(got == [1] + level + falling)
  }

  @Test func cosineFallsSlowlyFastSlowly() {
    let got = rates(LearningRateSchedule(.cosine, warmup: 1))
    #expect(got[3] == 2 && got[4] == 2)
    #expect(abs(got[12] - 1) < 1e-15)
    #expect(abs(got[8] - (1 + 0.5.squareRoot())) < 1e-15)
    // (1 + cos(15 pi / 16))
    #expect(abs(got[19] - 0.01921471959676957) < 1e-15)
    #expect(zip(got.dropFirst(4), got.dropFirst(5)).allSatisfy { $0 > $1 })
  }

  /// A run that is continued beyond its end gets no negative rate.
  @Test func afterTheEndTheRateIsZero() {
    for kind in [LearningRateSchedule.Kind.linear, .cosine] {
      let schedule = LearningRateSchedule(kind)
      #expect(schedule.rate(base: 2, step: 21, stepsPerEpoch: 4, epochs: 5) == 0)
      #expect(schedule.rate(base: 2, step: 100, stepsPerEpoch: 4, epochs: 5) == 0)
    }
  }

  @Test func problemsAreNamed() {
    typealias Schedule = LearningRateSchedule
    #expect(Schedule(.cosine, warmup: 2, decayStart: 2).problem == nil)
    for (schedule, word) in [
      (Schedule(warmup: -1), "warm-up of -1.0"), (Schedule(warmup: .nan), "warm-up"),
      (Schedule(.linear, decayStart: -1), "-1.0"),
      (Schedule(.linear, warmup: 2, decayStart: 1), "within the warm-up"),
      (Schedule(decayStart: 1), "constant"),
    ] {
      #expect(schedule.problem?.contains(word) == true)
    }
    #expect(Schedule(warmup: 3).problem(epochs: 2)?.contains("longer than the run") == true)
    #expect(Schedule(.linear, decayStart: 3).problem(epochs: 2)?.contains("the run has 2") == true)
    #expect(Schedule(.linear, warmup: 2, decayStart: 2).problem(epochs: 2) == nil)
  }

  @Test func itSurvivesItsCodingAndItsNames() throws {
    let schedule = LearningRateSchedule(.cosine, warmup: 0.5, decayStart: 2)
    let data = try JSONEncoder().encode(schedule)
    #expect(try JSONDecoder().decode(LearningRateSchedule.self, from: data) == schedule)
    #expect(
      LearningRateSchedule.Kind.allCases.map(\.rawValue) == ["constant", "linear", "cosine"])
    #expect(LearningRateSchedule.Kind(rawValue: "step") == nil)
  }
}

@Suite struct AnnealedCountTests {
  @Test func countsFallToTheirEndOverTheirShare() {
    func values(_ shape: AnnealedCount.Shape) -> [Int] {
      let count = AnnealedCount(from: 64, to: 4, over: 0.5, shape: shape)
      return (1...10).map { count.value(step: $0, totalSteps: 16) }
    }
    // Eighths of the way: 64 - 7.5 i; 4 + 30 (1 + cos(pi i / 8)); 64 * 2^(-i / 2).
    #expect(values(.linear) == [64, 57, 49, 42, 34, 27, 19, 12, 4, 4])
    #expect(values(.cosine) == [64, 62, 55, 45, 34, 23, 13, 6, 4, 4])
    #expect(values(.exponential) == [64, 45, 32, 23, 16, 11, 8, 6, 4, 4])
  }

  @Test func theEndsAreExact() {
    for shape in AnnealedCount.Shape.allCases {
      let count = AnnealedCount(from: 1024, to: 32, over: 1, shape: shape)
      #expect(count.value(step: 1, totalSteps: 2350) == 1024)
      #expect(count.value(step: 2351, totalSteps: 2350) == 32)
      let none = AnnealedCount(from: 1024, to: 32, over: 0, shape: shape)
      #expect(none.value(step: 1, totalSteps: 2350) == 32)
      let level = AnnealedCount(from: 32, to: 32, over: 0.5, shape: shape)
      #expect((1...9).allSatisfy { level.value(step: $0, totalSteps: 8) == 32 })
    }
  }

  @Test func problemsAreNamed() {
    #expect(AnnealedCount(from: 64, to: 8, over: 0.5).problem == nil)
    #expect(AnnealedCount(from: 0, to: 8, over: 0.5).problem != nil)
    #expect(AnnealedCount(from: 64, to: 0, over: 0.5).problem != nil)
    #expect(AnnealedCount(from: 64, to: 8, over: 1.5).problem != nil)
    #expect(AnnealedCount(from: 64, to: 8, over: .nan).problem != nil)
  }
}
