import Compute
import Foundation
import Networks
import RandomNumbers
import ReferenceBackend
import Testing

private typealias Reference = ReferenceBackend

/// A small network with parameters that are nowhere special.
private func smallConfiguration(
  levels: Int = 3, code: Code = .relu, hasSkips: Bool = true, outputs: Int = 2
) -> ConvolutionalConfiguration {
  ConvolutionalConfiguration(
    inputs: 2, baseChannels: 3, levels: levels, latents: 6, code: code, hasSkips: hasSkips,
    outputs: outputs)
}

private func scattered(_ configuration: ConvolutionalConfiguration, seed: UInt64) -> [Float] {
  var values = configuration.initialParameters(seed: seed)
  var generator = SplitMix64(seed: seed, stream: 99)
  for slot in configuration.parameterLayout.slots where slot.shape.rank == 1 {
    for i in 0..<slot.shape.count {
      values[slot.offset + i] += generator.nextUniform(-0.2, 0.2)
      if slot.name == Code.threshold { values[slot.offset + i] = generator.nextUniform(0.05, 0.3) }
    }
  }
  return values
}

private func uniform(_ count: Int, seed: UInt64) -> [Float] {
  var generator = SplitMix64(seed: seed)
  return (0..<count).map { _ in generator.nextUniform(-1, 1) }
}

@Suite struct ConvolutionalGradientTests {
  /// Along the gradient of each parameter's tensor, the loss changes by that gradient's norm.
  @Test(arguments: [
    (Code.relu, true, 3), (.relu, false, 3), (.relu, true, 1), (.topK(2), true, 2),
    (.topK(2), false, 3), (.jumpReLU, true, 2), (.l1, false, 2), (.relu, true, 2),
  ])
  func agreeWithFiniteDifferences(code: Code, hasSkips: Bool, levels: Int) throws {
    let configuration = smallConfiguration(levels: levels, code: code, hasSkips: hasSkips)
    // Kinks of ReLU and of the pooling lie everywhere, but elsewhere for each start: what is wrong
    // is wrong for all of them.
    let errors = try [3, 4, 5, 6].map { try relativeErrors(configuration, seed: $0) }
    for slot in configuration.parameterLayout.slots where slot.name != Code.threshold {
      let own = errors.map { $0[slot.name] ?? .infinity }
      #expect(own.min() ?? 1 < 0.01, "\(slot.name): off by \(own)")
    }
  }

  /// Of each tensor: how much the slope along its gradient differs from the gradient's norm.
  private func relativeErrors(
    _ configuration: ConvolutionalConfiguration, seed: UInt64
  ) throws -> [String: Double] {
    let backend = Reference()
    let parameters = scattered(configuration, seed: seed)
    let (batch, side) = (2, 16)
    let input = uniform(batch * side * side * configuration.inputs, seed: seed + 10)
    let target = uniform(batch * side * side * configuration.outputs, seed: seed + 20)
    let workspace = try ConvolutionalWorkspace(
      configuration, batch: batch, height: side, width: side, purpose: .training, on: backend)
    let step = try CodeStep(latents: configuration.latents, on: backend)
    try backend.upload(input, into: workspace.input.tensor)

    func forward(_ parameters: [Float]) throws -> (
      loss: Double, network: ConvolutionalNetwork<Reference>
    ) {
      let network = try ConvolutionalNetwork(
        configuration, parameters: parameters, statistics: configuration.initialStatistics,
        on: backend)
      try network.forward(workspace, momentum: 0.1, step: step)
      let output = try backend.download(workspace.output.tensor)
      let loss = zip(output, target).reduce(0.0) {
        $0 + 0.5 * (Double($1.0) - Double($1.1)) * (Double($1.0) - Double($1.1))
      }
      return (loss, network)
    }

    let (_, network) = try forward(parameters)
    let output = try backend.download(workspace.output.tensor)
    let outputGradient = try #require(workspace.outputGradient)
    try backend.upload(zip(output, target).map { $0 - $1 }, into: outputGradient)
    try network.backward(workspace, step: step)
    let gradients = try backend.download(network.arena.gradients)

    var result: [String: Double] = [:]
    for slot in configuration.parameterLayout.slots {
      let range = slot.offset..<slot.offset + slot.shape.count
      let norm = gradients[range].reduce(0.0) { $0 + Double($1) * Double($1) }.squareRoot()
      guard norm > 1e-4 else { continue }
      result[slot.name] = try [3e-3, 1e-3, 3e-4].map { distance in
        func moved(_ sign: Double) -> [Float] {
          var values = parameters
          for i in range {
            values[i] += Float(sign * distance * Double(gradients[i]) / norm)
          }
          return values
        }
        let slope = (try forward(moved(1)).loss - forward(moved(-1)).loss) / (2 * distance)
        return abs(slope - norm) / norm
      }.min()
    }
    return result
  }

  @Test func aFrozenFrontEndHasNoGradient() throws {
    let configuration = smallConfiguration()
    let backend = Reference()
    let network = try ConvolutionalNetwork(
      configuration, parameters: scattered(configuration, seed: 3),
      statistics: configuration.initialStatistics, freezesFrontEnd: true, on: backend)
    let workspace = try ConvolutionalWorkspace(
      configuration, batch: 2, height: 8, width: 8, purpose: .training, on: backend)
    let step = try CodeStep(latents: configuration.latents, on: backend)
    try backend.upload(uniform(2 * 64 * 2, seed: 5), into: workspace.input.tensor)
    let before = try backend.download(network.statistics)
    try network.forward(workspace, momentum: 0.1, step: step)
    let gradient = try #require(workspace.outputGradient)
    try backend.upload(uniform(2 * 64 * 2, seed: 8), into: gradient)
    try network.backward(workspace, step: step)
    let gradients = try backend.download(network.arena.gradients)
    for slot in configuration.parameterLayout.slots {
      let isTrained = slot.name.hasPrefix("decoder.") || slot.name.hasPrefix("head.")
      let values = gradients[slot.offset..<slot.offset + slot.shape.count]
      #expect(values.contains { $0 != 0 } == isTrained, "\(slot.name)")
    }
    let after = try backend.download(network.statistics)
    for slot in configuration.statisticsLayout.slots {
      let range = slot.offset..<slot.offset + slot.shape.count
      #expect((before[range] != after[range]) == slot.name.hasPrefix("decoder."), "\(slot.name)")
    }
  }
}

@Suite struct FoldedNetworkTests {
  /// With the statistics of the very batch, use and training give the same.
  @Test(arguments: [Code.relu, .topK(2), .jumpReLU])
  func givesWhatTrainingGivesWithTheBatchsStatistics(code: Code) throws {
    let configuration = smallConfiguration(code: code)
    let backend = Reference()
    let parameters = scattered(configuration, seed: 4)
    let input = uniform(2 * 16 * 16 * 2, seed: 7)
    let network = try ConvolutionalNetwork(
      configuration, parameters: parameters, statistics: configuration.initialStatistics,
      on: backend)
    let workspace = try ConvolutionalWorkspace(
      configuration, batch: 2, height: 16, width: 16, purpose: .training, on: backend)
    try backend.upload(input, into: workspace.input.tensor)
    let step = try CodeStep(latents: configuration.latents, on: backend)
    try network.forward(workspace, momentum: 0.1, step: step)
    // After one step from 0 and 1: mean = 0.1 mean of the batch, variance = 0.9 + 0.1 M / (M - 1) v.
    var statistics = try backend.download(network.statistics)
    for slot in configuration.statisticsLayout.slots {
      let level =
        slot.name.hasPrefix("code.") ? 2 : try #require(Int(slot.name.split(separator: ".")[1]))
      let count = Float(2 * (16 >> level) * (16 >> level))
      for i in slot.offset..<slot.offset + slot.shape.count {
        statistics[i] =
          slot.name.hasSuffix(".mean")
          ? statistics[i] / 0.1 : (statistics[i] - 0.9) / 0.1 * (count - 1) / count
      }
    }
    let folded = try FoldedNetwork(
      configuration, parameters: parameters, statistics: statistics, on: backend)
    let use = try ConvolutionalWorkspace(
      configuration, batch: 2, height: 16, width: 16, purpose: .use, on: backend)
    try backend.upload(input, into: use.input.tensor)
    try folded.forward(use)
    let (trained, used) = (
      try backend.download(workspace.output.tensor), try backend.download(use.output.tensor)
    )
    let size = trained.map(abs).max() ?? 0
    #expect(size > 0.1)
    let worst = zip(trained, used).map { abs($0 - $1) }.max() ?? 0
    #expect(worst < 1e-3 * size)
  }

  @Test(arguments: [(1, Code.relu), (2, .relu), (3, .topK(3)), (4, .jumpReLU)])
  func nothingBeyondTheReachCounts(levels: Int, code: Code) throws {
    let configuration = smallConfiguration(levels: levels, code: code)
    let backend = Reference()
    let folded = try FoldedNetwork(
      configuration, parameters: scattered(configuration, seed: 4),
      statistics: configuration.initialStatistics, on: backend)
    let reach = configuration.reach
    let side =
      (2 * reach + 3 * configuration.alignment) / configuration.alignment
      * configuration.alignment
    let workspace = try ConvolutionalWorkspace(
      configuration, batch: 1, height: configuration.alignment, width: side, purpose: .use,
      on: backend)
    var input = uniform(configuration.alignment * side * 2, seed: 9)
    func output() throws -> [Float] {
      try backend.upload(input, into: workspace.input.tensor)
      try folded.forward(workspace)
      return try backend.download(workspace.output.tensor)
    }
    let before = try output()
    var farthest = 0
    for x in stride(from: 0, to: side, by: 1) {
      let kept = input[2 * x]
      input[2 * x] += 50
      let after = try output()
      input[2 * x] = kept
      for (i, pair) in zip(before, after).enumerated() where pair.0 != pair.1 {
        farthest = max(farthest, abs(i / 2 % side - x))
      }
    }
    #expect(farthest <= reach)
    // Not much more than is needed.
    #expect(farthest >= reach - configuration.alignment, "\(farthest) of \(reach)")
  }

  @Test(arguments: [(1, Code.relu, true), (3, .topK(2), true), (3, .relu, false), (4, .l1, true)])
  func memoryIsCountedExactly(levels: Int, code: Code, hasSkips: Bool) throws {
    let configuration = smallConfiguration(levels: levels, code: code, hasSkips: hasSkips)
    let backend = Reference()
    let count = ConvolutionalMemory.elementCount(configuration, batch: 1, height: 24, width: 40)
    let memory = try backend.allocate([count], of: Float.self)
    let workspace = try ConvolutionalWorkspace(
      configuration, batch: 1, height: 24, width: 40, purpose: .use, memory: memory, on: backend)
    #expect(workspace.gateL0.end <= count && workspace.gateL0.end > count - 16)
    // The last of a training workspace is the gradient of the code.
    let whole = ConvolutionalMemory.elementCount(
      configuration, batch: 3, height: 24, width: 40, trains: true)
    let training = try ConvolutionalWorkspace(
      configuration, batch: 3, height: 24, width: 40, purpose: .training,
      memory: try backend.allocate([whole], of: Float.self), on: backend)
    let end = try #require(training.codeGradient?.tensor.end)
    #expect(end <= whole && end > whole - 16)
  }
}

@Suite struct ConvolutionalConfigurationTests {
  @Test func presetsHaveTheirChannels() {
    let base = ConvolutionalConfiguration(
      .base, inputs: 1, code: .relu, hasSkips: true, outputs: 2)
    #expect((0..<base.levels).map(base.channels(atLevel:)) == [16, 32, 64, 128])
    #expect(base.latents == 128 && base.alignment == 8 && base.problem == nil)
    // The weights, scales and shifts of PyTorch's network of the same shape, whose 3x3 convolutions
    // have biases that batch normalisation takes away.
    #expect(base.parameterLayout.parameterCount == 483_170 - 704)
    let small = ConvolutionalConfiguration(
      .small, inputs: 3, code: .topK(8), hasSkips: false, outputs: 3)
    #expect((0..<small.levels).map(small.channels(atLevel:)) == [8, 16, 32])
    // A quarter of the latents, where nothing is said.
    for (preset, code) in [
      (ConvolutionalConfiguration.Preset.small, Code.topK(8)), (.base, .topK(32)),
    ] {
      #expect(
        ConvolutionalConfiguration(preset, inputs: 1, code: nil, hasSkips: true, outputs: 2).code
          == code)
    }
  }

  @Test func impossibleShapesHaveAProblem() {
    for (levels, latents, code) in [
      (0, 4, Code.relu), (9, 4, .relu), (2, 0, .relu), (2, 4, .topK(5)),
    ] {
      var configuration = smallConfiguration(levels: 2, code: code)
      configuration.levels = levels
      configuration.latents = latents
      #expect(configuration.problem != nil, "\(levels) \(latents) \(code)")
    }
  }

  /// Channels whose shift to the lowest level leaves none, and more parameters than 2^31.
  @Test func absurdSizesHaveAProblem() {
    for (channels, latents) in [(1 << 57, 4), (Int.max, 4), (-1, 4), (128, 1 << 16)] {
      var configuration = smallConfiguration(levels: 8, code: .relu)
      configuration.baseChannels = channels
      configuration.latents = latents
      #expect(configuration.problem != nil, "\(channels) \(latents)")
    }
  }
}
