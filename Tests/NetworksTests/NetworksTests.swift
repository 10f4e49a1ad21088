import Compute
import Foundation
import Networks
import RandomNumbers
import ReferenceBackend
import Testing

/// The autoencoder in double precision, written straight from the formulas: what the finite
/// differences are taken of.
private struct DoubleAutoencoder {
  let configuration: AutoencoderConfiguration
  /// The smallest distance of a ReLU's argument from its kink in the last pass.
  var distanceFromKink = Double.infinity
  /// The weight of the sum of the code.
  var penalty = 0.0

  init(_ configuration: AutoencoderConfiguration) { self.configuration = configuration }

  /// mean over rows of ||x - f(x)||^2
  mutating func loss(_ parameters: [Double], _ x: [[Double]]) -> Double {
    let layout = configuration.parameterLayout
    distanceFromKink = .infinity
    var total = 0.0
    for row in x {
      var values = row
      for layer in 0..<configuration.layerCount {
        let (weight, bias) = (layout.slots[2 * layer], layout.slots[2 * layer + 1])
        let byLatent = configuration.isDictionary && layer == 0
        let (inputs, outputs) = (configuration.widths[layer], configuration.widths[layer + 1])
        values = (0..<outputs).map { j in
          var sum = parameters[bias.offset + j]
          for i in 0..<inputs {
            let place = byLatent ? j * inputs + i : i * outputs + j
            sum += values[i] * parameters[weight.offset + place]
          }
          switch configuration.activation(ofLayer: layer) {
          case .identity: return sum
          case .relu:
            distanceFromKink = min(distanceFromKink, abs(sum))
            return max(sum, 0)
          case .sigmoid: return 1 / (1 + exp(-sum))
          case .tanh: return tanh(sum)
          }
        }
        if layer == configuration.encoderLayers - 1 {
          total += penalty * values.reduce(0, +)
          values = code(values, parameters, layout)
        }
      }
      total += zip(row, values).reduce(0) { $0 + ($1.0 - $1.1) * ($1.0 - $1.1) }
    }
    return total / Double(x.count)
  }

  /// From pre-activations to the code; a plain code is one already.
  private mutating func code(
    _ a: [Double], _ parameters: [Double], _ layout: ParameterLayout
  ) -> [Double] {
    switch configuration.code {
    case .topK(let k):
      let sorted = a.sorted(by: >)
      if k < a.count { distanceFromKink = min(distanceFromKink, sorted[k - 1] - sorted[k]) }
      distanceFromKink = min(distanceFromKink, a.map(abs).min() ?? 0)
      return a.map { $0 >= sorted[k - 1] ? max($0, 0) : 0 }
    case .jumpReLU:
      guard let slot = layout.slots.first(where: { $0.name == "code.threshold" }) else { return [] }
      return a.enumerated().map { j, value in
        let theta = parameters[slot.offset + j]
        distanceFromKink = min(distanceFromKink, abs(value - theta))
        return value > theta ? value : 0
      }
    default: return a
    }
  }
}

@Suite struct GradientTests {
  @Test(arguments: [
    (Activation.tanh, Activation.sigmoid), (.relu, .sigmoid), (.sigmoid, .identity),
    (.identity, .tanh), (.relu, .relu),
  ])
  func agreeWithFiniteDifferences(hidden: Activation, output: Activation) throws {
    let configuration = AutoencoderConfiguration(
      widths: [7, 5, 3, 6, 7], encoderLayers: 2, hiddenActivation: hidden,
      outputActivation: output)
    try compare(configuration)
  }

  /// With the selection fixed and away from the jumps the codes are differentiable; the thresholds of
  /// a JumpReLU have no slope there, and are checked with its operation.
  @Test(arguments: [Code.relu, .topK(2), .topK(3), .jumpReLU, .l1])
  func codesAgreeWithFiniteDifferences(code: Code) throws {
    try compare(
      AutoencoderConfiguration(
        widths: [7, 5, 4, 6, 7], encoderLayers: 2, hiddenActivation: .tanh, code: code),
      penalty: code == .l1 ? 0.3 : 0)
    try compare(.dictionary(inputs: 7, latents: 9, code: code), penalty: code == .l1 ? 0.3 : 0)
  }

  private func compare(_ configuration: AutoencoderConfiguration, penalty: Double = 0) throws {
    let (gradients, parameters, x) = try referenceGradients(
      configuration, batch: 4, penalty: penalty)
    var network = DoubleAutoencoder(configuration)
    network.penalty = penalty
    let largest = gradients.reduce(0) { max($0, abs(Double($1))) }
    #expect(largest > 1e-3)
    _ = network.loss(parameters, x)
    #expect(network.distanceFromKink > 1e-4, "choose another seed: a kink is too near")
    for slot in configuration.parameterLayout.slots
    where !["code.threshold", "input.mean"].contains(slot.name) {
      for i in slot.offset..<slot.offset + slot.shape.count {
        let h = 1e-6
        var moved = parameters
        moved[i] = parameters[i] + h
        let above = network.loss(moved, x)
        moved[i] = parameters[i] - h
        let slope = (above - network.loss(moved, x)) / (2 * h)
        #expect(
          abs(slope - Double(gradients[i])) <= 1e-5 * largest + 1e-8,
          "\(slot.name)[\(i - slot.offset)]: \(gradients[i]), finite difference \(slope)")
      }
    }
  }

  private func referenceGradients(
    _ configuration: AutoencoderConfiguration, batch: Int, penalty: Double
  ) throws -> ([Float], [Double], [[Double]]) {
    let backend = ReferenceBackend()
    var generator = SplitMix64(seed: 11)
    var parameters = configuration.initialParameters(seed: 5)
    for slot in configuration.parameterLayout.slots
    where slot.shape.rank == 1 && slot.name != "code.threshold" {
      for i in 0..<slot.shape.count { parameters[slot.offset + i] = generator.nextUniform() - 0.5 }
    }
    let input = (0..<batch * configuration.inputs).map { _ in generator.nextUniform() }
    let network = try Autoencoder(configuration, parameters: parameters, on: backend)
    let workspace = try Workspace(configuration, batch: batch, on: backend)
    let errors = try backend.allocate([batch], of: Float.self)
    let counts = try backend.allocate([batch], of: Float.self)
    try backend.upload(input, into: workspace.input)
    let step = try CodeStep(latents: configuration.latents, on: backend)
    try backend.fill(step.penalty, with: Float(penalty))
    try network.differentiate(
      workspace, scale: 2 / Float(batch), step: step, rowError: errors, rowL0: counts)
    let rows = (0..<batch).map { row in
      input[row * configuration.inputs..<(row + 1) * configuration.inputs].map(Double.init)
    }
    return (
      try backend.download(network.arena.gradients), parameters.map(Double.init), rows
    )
  }
}

@Suite struct ConfigurationTests {
  @Test func collapsedPresetIsTheSeeds() {
    let configuration = AutoencoderConfiguration.collapsed(inputs: 784)
    #expect(configuration.widths == [784, 64, 64, 64, 784])
    #expect(configuration.latents == 64)
    #expect(configuration.parameterLayout.parameterCount == 109_520)
    #expect((0..<4).map(configuration.activation(ofLayer:)) == [.relu, .relu, .relu, .sigmoid])
    #expect(configuration.problem == nil)
  }

  @Test func slotsAreAlignedAndDoNotOverlap() {
    let layout = AutoencoderConfiguration(widths: [7, 5, 3, 6, 7], encoderLayers: 2)
      .parameterLayout
    var end = 0
    for slot in layout.slots {
      #expect(slot.offset % 16 == 0 && slot.offset >= end)
      end = slot.offset + slot.shape.count
    }
    #expect(layout.count >= end)
  }

  @Test func initialWeightsAreUniformWithinTheirLayersLimit() {
    let configuration = AutoencoderConfiguration.collapsed(inputs: 784)
    let values = configuration.initialParameters(seed: 3)
    // He's limit for a ReLU layer, Glorot's for the sigmoid at the end.
    for (slot, limit) in [
      (configuration.parameterLayout.slots[0], (6.0 / 784).squareRoot()),
      (configuration.parameterLayout.slots[6], (6.0 / (64 + 784)).squareRoot()),
    ] {
      let weights = values[slot.offset..<slot.offset + slot.shape.count].map(Double.init)
      let mean = weights.reduce(0, +) / Double(weights.count)
      let variance = weights.reduce(0) { $0 + $1 * $1 } / Double(weights.count)
      #expect(weights.allSatisfy { abs($0) <= limit * 1.000001 })
      #expect(abs(mean) < limit / 100)
      #expect(abs(variance / (limit * limit / 3) - 1) < 0.02)
    }
    #expect(values == configuration.initialParameters(seed: 3))
    #expect(values != configuration.initialParameters(seed: 4))
    let bias = configuration.parameterLayout.slots[1]
    #expect(values[bias.offset..<bias.offset + bias.shape.count].allSatisfy { $0 == 0 })
  }

  @Test(arguments: [
    [784], [784, 784], [4, 3, 2, 5], [4, 0, 4], [4, 1 << 25, 4], [1 << 20, 1 << 20, 1 << 20],
    [Int](repeating: 4, count: 1026),
  ])
  func impossibleWidthsHaveAProblem(widths: [Int]) {
    #expect(AutoencoderConfiguration(widths: widths, encoderLayers: 1).problem != nil)
  }

  /// Decoding the code that encoding left gives the same reconstruction.
  @Test func decodeContinuesFromTheCode() throws {
    let backend = ReferenceBackend()
    let configuration = AutoencoderConfiguration(widths: [6, 4, 3, 5, 6], encoderLayers: 2)
    let network = try Autoencoder(
      configuration, parameters: configuration.initialParameters(seed: 1), on: backend)
    let workspace = try Workspace(configuration, batch: 2, on: backend)
    try backend.upload((0..<12).map { Float($0) / 12 }, into: workspace.input)
    try network.forward(workspace)
    let whole = try backend.download(workspace.reconstruction)
    try backend.fill(workspace.reconstruction, with: .nan)
    try network.decode(workspace)
    #expect(try backend.download(workspace.reconstruction) == whole)
  }
}
