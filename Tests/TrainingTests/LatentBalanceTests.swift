import Foundation
import Networks
import ReferenceBackend
import Testing
import Training

@Suite struct LatentBalanceTests {
  private let rescue = LatentBalance.Rescue(increment: 0.25, threshold: 0.02)

  /// 1 - q^2 of the increment, to nothing.
  @Test func theRaiseFallsToZero() {
    let balance = LatentBalance(increment: 1, threshold: 0.1, power: 2)
    let raises = [0, 0.5, 0.75, 1].map { balance.raise(done: $0) }
    #expect(raises.map(\.increment) == [1, 0.75, 0.4375, 0])
    #expect(raises.allSatisfy { $0.threshold == 0.1 })
  }

  /// The rescue follows where the balance would raise by less, and does not fall.
  @Test func theRescueTakesOver() {
    let balance = LatentBalance(increment: 1, threshold: 0.1, power: 2, rescue: rescue)
    let raises = [0, 0.5, 0.75, 0.875, 1].map { balance.raise(done: $0) }
    #expect(raises.map(\.increment) == [1, 0.75, 0.4375, 0.25, 0.25])
    #expect(raises.map(\.threshold) == [0.1, 0.1, 0.1, 0.02, 0.02])
  }

  @Test func savedBalancesDecodeWithAndWithoutARescue() throws {
    let old = #"{"increment":0.01,"threshold":0.1,"decay":0.98,"power":2}"#
    let decoded = try JSONDecoder().decode(LatentBalance.self, from: Data(old.utf8))
    #expect(decoded == LatentBalance(threshold: 0.1))
    let balance = LatentBalance(rescue: rescue)
    let data = try JSONEncoder().encode(balance)
    #expect(try JSONDecoder().decode(LatentBalance.self, from: data) == balance)
  }

  @Test func problemsAreNamed() {
    #expect(LatentBalance(rescue: rescue).problem == nil)
    for (balance, word) in [
      (LatentBalance(increment: -1), "-1.0 a step"), (LatentBalance(threshold: -2), "below -2.0"),
      (LatentBalance(rescue: .init(increment: -3, threshold: 0)), "-3.0 a step"),
      (LatentBalance(rescue: .init(increment: 0, threshold: .nan)), "below nan"),
    ] {
      #expect(balance.problem?.contains(word) == true)
    }
  }

  /// The collapsed network's recipe has it; the dictionaries' measured well without.
  @Test func recipesThatRescue() {
    let collapsed = AutoencoderConfiguration(
      widths: [64, 24, 16, 24, 64], encoderLayers: 2, code: .topK(4))
    let dictionary = AutoencoderConfiguration.dictionary(inputs: 64, latents: 40, code: .topK(3))
    func balance(_ network: AutoencoderConfiguration) -> LatentBalance? {
      TrainingConfiguration.recommended(for: network, epochs: 5).balance
    }
    #expect(balance(collapsed)?.rescue != nil)
    #expect(balance(dictionary) != nil && balance(dictionary)?.rescue == nil)
  }

  /// In the last steps of a run, silent latents come back through the rescue alone.
  @Test func silentLatentsComeBackAtTheEnd() throws {
    func silent(_ rescue: LatentBalance.Rescue?) throws -> Int? {
      let network = AutoencoderConfiguration(
        widths: [64, 24, 16, 24, 64], encoderLayers: 2, code: .topK(4))
      var configuration = TrainingConfiguration.recommended(
        for: network, epochs: 20, batchSize: 32)
      configuration.annealing = nil
      configuration.balance = LatentBalance(increment: 0, rescue: rescue)
      configuration.seed = 3
      let trainer = try Trainer(
        configuration, images: bars(640), normalisation: .unit, on: ReferenceBackend())
      try trainer.run { _ in }
      return trainer.history[19].dead
    }
    let without = try #require(try silent(nil))
    let with = try #require(try silent(.init(increment: 0.02, threshold: 0.1)))
    #expect(without > 0, "none is silent without a rescue, so that nothing can be told")
    #expect(with == 0, "\(with) of \(without) are silent")
  }
}
