import Compute
import Foundation
import Networks
import ReferenceBackend
import Testing
import Training

/// The figures of `Fixtures/optimizer_steps.py`.
private struct Fixture: Decodable {
  struct Step: Decodable {
    let norm: Double
    let parameters, averages: [[Float]]
  }
  let shapes: [[Int]]
  let rate, decay, limit: Double
  let start: [[Float]]
  let gradients: [[[Float]]]
  let adam, clippedAdam, sgd, clippedSGD: [Step]
  let linear, cosine: [Double]

  static func read() throws -> Fixture {
    let file = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
      .appendingPathComponent("Fixtures/optimizer_steps.json")
    return try JSONDecoder().decode(Fixture.self, from: Data(contentsOf: file))
  }

  func arena(on backend: ReferenceBackend) throws -> ParameterArena<ReferenceBackend> {
    var layout = ParameterLayout()
    for (index, shape) in shapes.enumerated() { layout.append("p\(index)", Shape(shape)) }
    let arena = try ParameterArena(layout, on: backend)
    for (slot, values) in zip(layout.slots, start) {
      try backend.upload(values, into: arena.value(slot))
    }
    return arena
  }
}

private func expectClose(_ got: [Float], _ wanted: [Float], _ what: String) {
  #expect(got.count == wanted.count)
  for (value, figure) in zip(got, wanted) {
    #expect(abs(value - figure) < 2e-6, "\(what): \(value), PyTorch has \(figure)")
  }
}

private let adam = OptimizerConfiguration.Method.adam(beta1: 0.8, beta2: 0.99, epsilon: 1e-6)
private let sgd = OptimizerConfiguration.Method.sgd(momentum: 0.7)

@Suite struct OptimizersAgainstPyTorchTests {
  @Test(arguments: ["adam", "clippedAdam", "sgd", "clippedSGD"])
  func everyStepAgrees(run: String) throws {
    let fixture = try Fixture.read()
    let (method, figures) =
      switch run {
      case "adam": (adam, fixture.adam)
      case "clippedAdam": (adam, fixture.clippedAdam)
      case "sgd": (sgd, fixture.sgd)
      default: (sgd, fixture.clippedSGD)
      }
    let backend = ReferenceBackend()
    let arena = try fixture.arena(on: backend)
    let optimizer = try Optimizer(
      OptimizerConfiguration(
        method, gradientLimit: run.hasPrefix("clipped") ? fixture.limit : nil,
        averageDecay: fixture.decay), for: arena, on: backend)
    #expect(optimizer.average == nil)
    for (step, figure) in figures.enumerated() {
      for (slot, values) in zip(arena.layout.slots, fixture.gradients[step]) {
        try backend.upload(values, into: arena.gradient(slot))
      }
      try optimizer.step(arena, learningRate: fixture.rate, on: backend)
      let average = try #require(optimizer.average)
      for (index, slot) in arena.layout.slots.enumerated() {
        expectClose(
          try backend.download(arena.value(slot)), figure.parameters[index],
          "step \(step + 1), \(slot.name)")
        expectClose(
          try backend.download(average.view(at: slot.offset, shape: slot.shape)),
          figure.averages[index], "step \(step + 1), average of \(slot.name)")
      }
      if let norm = optimizer.gradientNorm {
        #expect(abs(try Double(backend.download(norm)[0]) - figure.norm) < 1e-6)
      }
    }
    #expect(optimizer.stepCount == figures.count)
    // Some of the gradients are longer than the limit, some are not.
    #expect(figures.contains { $0.norm > fixture.limit })
    #expect(figures.contains { $0.norm < fixture.limit })
  }

  @Test func schedulesAgree() throws {
    let fixture = try Fixture.read()
    for (kind, figures) in [
      (LearningRateSchedule.Kind.linear, fixture.linear), (.cosine, fixture.cosine),
    ] {
      for (index, figure) in figures.enumerated() {
        let rate = LearningRateSchedule(kind).rate(
          base: fixture.rate, step: index + 1, stepsPerEpoch: 3, epochs: 2)
        #expect(abs(rate - figure) < 1e-15, "\(kind), step \(index + 1)")
      }
    }
  }
}

@Suite struct OptimizerTests {
  private static let configurations = [
    OptimizerConfiguration(adam, gradientLimit: 1.5, averageDecay: 0.9),
    OptimizerConfiguration(sgd, gradientLimit: 1.5, averageDecay: 0.9),
    OptimizerConfiguration(adam), OptimizerConfiguration(sgd, averageDecay: 0),
  ]

  private func bits(_ values: [Float]) -> [UInt32] { values.map(\.bitPattern) }

  /// Three steps, a checkpoint, three steps by another optimizer: the bits of six steps.
  @Test(arguments: configurations) func restoringContinuesWithTheSameBits(
    configuration: OptimizerConfiguration
  ) throws {
    let fixture = try Fixture.read()
    let backend = ReferenceBackend()
    func run(interruptedAfter pause: Int?) throws -> ([UInt32], TrainingState) {
      var arena = try fixture.arena(on: backend)
      var optimizer = try Optimizer(configuration, for: arena, on: backend)
      for (step, gradients) in fixture.gradients.enumerated() {
        if step == pause {
          let parameters = try backend.download(arena.values)
          let state = try optimizer.state(on: backend)
          arena = try ParameterArena(arena.layout, on: backend)
          try backend.upload(parameters, into: arena.values)
          optimizer = try Optimizer(configuration, for: arena, on: backend)
          try optimizer.restore(state, on: backend)
        }
        for (slot, values) in zip(arena.layout.slots, gradients) {
          try backend.upload(values, into: arena.gradient(slot))
        }
        try optimizer.step(arena, learningRate: fixture.rate, on: backend)
      }
      return (bits(try backend.download(arena.values)), try optimizer.state(on: backend))
    }
    let (whole, wholeState) = try run(interruptedAfter: nil)
    let (parts, partsState) = try run(interruptedAfter: 3)
    #expect(whole == parts)
    #expect(wholeState.stepCount == 6 && partsState.stepCount == 6)
    #expect(wholeState.tensors.map(\.name) == partsState.tensors.map(\.name))
    for (one, other) in zip(wholeState.tensors, partsState.tensors) {
      #expect(bits(one.values) == bits(other.values), "\(one.name)")
    }
  }

  /// Parameter by parameter is the same as the arena at once.
  @Test(arguments: configurations) func stepsByViewsGiveTheSameBits(
    configuration: OptimizerConfiguration
  ) throws {
    let fixture = try Fixture.read()
    let backend = ReferenceBackend()
    func run(byViews: Bool) throws -> ([UInt32], [UInt32]) {
      let arena = try fixture.arena(on: backend)
      let optimizer = try Optimizer(configuration, for: arena, on: backend)
      for gradients in fixture.gradients {
        for (slot, values) in zip(arena.layout.slots, gradients) {
          try backend.upload(values, into: arena.gradient(slot))
        }
        guard byViews else {
          try optimizer.step(arena, learningRate: fixture.rate, on: backend)
          continue
        }
        try optimizer.beginStep(arena, on: backend)
        for slot in arena.layout.slots.reversed() {
          try optimizer.update(slot, of: arena, learningRate: fixture.rate, on: backend)
        }
        try optimizer.endStep(arena, on: backend)
      }
      let state = try optimizer.state(on: backend)
      return (bits(try backend.download(arena.values)), bits(state.tensors.flatMap(\.values)))
    }
    let (whole, parts) = (try run(byViews: false), try run(byViews: true))
    #expect(whole.0 == parts.0 && whole.1 == parts.1)
  }

  /// What an operation that updates a parameter itself is given is what `step` uses.
  @Test func aParametersMomentsAreThoseOfItsSlot() throws {
    let fixture = try Fixture.read()
    let backend = ReferenceBackend()
    let (one, other) = (try fixture.arena(on: backend), try fixture.arena(on: backend))
    let configuration = OptimizerConfiguration(adam)
    let whole = try Optimizer(configuration, for: one, on: backend)
    let parts = try Optimizer(configuration, for: other, on: backend)
    for gradients in fixture.gradients {
      for (slot, values) in zip(one.layout.slots, gradients) {
        try backend.upload(values, into: one.gradient(slot))
        try backend.upload(values, into: other.gradient(slot))
      }
      try whole.step(one, learningRate: fixture.rate, on: backend)
      try parts.beginStep(other, on: backend)
      for slot in other.layout.slots {
        let parameter = parts.adamParameter(slot, of: other)
        try backend.adam(
          parameters: parameter.value, gradients: other.gradient(slot),
          firstMoment: parameter.firstMoment, secondMoment: parameter.secondMoment,
          step: parts.adamStep(learningRate: fixture.rate))
      }
      try parts.endStep(other, on: backend)
    }
    #expect(bits(try backend.download(one.values)) == bits(try backend.download(other.values)))
    #expect(
      try whole.state(on: backend).tensors.map(\.values)
        == parts.state(on: backend).tensors.map(\.values))
    #expect(
      parts.momentViews(of: one.layout.slots[1]).map(\.shape) == [Shape([7]), Shape([7])])
  }

  @Test func stateThatDoesNotFitIsRefusedAndChangesNothing() throws {
    let fixture = try Fixture.read()
    let backend = ReferenceBackend()
    let arena = try fixture.arena(on: backend)
    let optimizer = try Optimizer(
      OptimizerConfiguration(sgd, averageDecay: 0.9), for: arena, on: backend)
    let good = [Float](repeating: 1, count: arena.values.count)
    for (state, words) in [
      (TrainingState(stepCount: 1, tensors: [("velocity", good)]), "velocity, average"),
      (
        TrainingState(stepCount: 1, tensors: [("velocity", good), ("average", [1, 2])]),
        "average has 2 values, not 32"
      ),
      (
        TrainingState(stepCount: 1, tensors: [("velocity", good), ("first_moment", good)]),
        "first_moment"
      ),
      (
        TrainingState(stepCount: -1, tensors: [("velocity", good), ("average", good)]),
        "step count of -1"
      ),
    ] {
      let error = #expect(throws: TrainingError.self) {
        try optimizer.restore(state, on: backend)
      }
      #expect("\(try #require(error))".contains(words))
    }
    let state = try optimizer.state(on: backend)
    #expect(state.stepCount == 0 && state.tensors.allSatisfy { $0.values.allSatisfy { $0 == 0 } })
  }

  @Test func configurationsAreCheckedAndSurviveTheirCoding() throws {
    for configuration in Self.configurations {
      #expect(configuration.problem == nil)
      let data = try JSONEncoder().encode(configuration)
      #expect(try JSONDecoder().decode(OptimizerConfiguration.self, from: data) == configuration)
    }
    for (configuration, word) in [
      (OptimizerConfiguration(.adam(beta1: 1)), "beta1"),
      (OptimizerConfiguration(.adam(beta2: -0.1)), "beta2"),
      (OptimizerConfiguration(.adam(epsilon: 0)), "epsilon"),
      (OptimizerConfiguration(.sgd(momentum: 1)), "momentum"),
      (OptimizerConfiguration(gradientLimit: 0), "limit"),
      (OptimizerConfiguration(gradientLimit: 1e300), "limit"),
      (OptimizerConfiguration(gradientLimit: .nan), "limit"),
      (OptimizerConfiguration(averageDecay: 1), "averaging"),
    ] {
      #expect(configuration.problem?.contains(word) == true, "\(configuration)")
    }
  }
}
