import Compute

/// A convolutional network as it is used: the normalisations, by their running statistics, folded
/// into the convolutions, so that every output depends on its surroundings alone and an image may be
/// cut into tiles.
///
/// With s_o = scale_o / sqrt(variance_o + epsilon): w'_uvco = w_uvco s_o,
/// b'_o = shift_o - mean_o s_o, worked out in double precision.
package final class FoldedNetwork<B: Backend> {
  package typealias Map = FeatureMap<B.Storage>

  package let configuration: ConvolutionalConfiguration
  private let backend: B
  private let arena: ParameterArena<B>
  private let code: CodeLayer<B>
  private let slots: [String: ParameterSlot]
  private var parameters: [Float]

  /// - Parameters:
  ///   - parameters: in the order of `configuration.parameterLayout`.
  ///   - statistics: in the order of `configuration.statisticsLayout`.
  package init(
    _ configuration: ConvolutionalConfiguration, parameters: [Float], statistics: [Float],
    on backend: B
  ) throws {
    self.configuration = configuration
    self.backend = backend
    arena = try ParameterArena(configuration.parameterLayout, on: backend)
    slots = Dictionary(arena.layout.slots.map { ($0.name, $0) }) { first, _ in first }
    code = try CodeLayer(
      configuration.code, latents: configuration.latents, in: arena, on: backend)
    self.parameters = parameters
    try adopt(statistics: statistics)
  }

  /// Is used with these from now on, in the orders of `init`.
  package func adopt(parameters: [Float], statistics: [Float]) throws {
    self.parameters = parameters
    try adopt(statistics: statistics)
  }

  /// Is used with these statistics from now on, in the order of `configuration.statisticsLayout`.
  package func adopt(statistics: [Float]) throws {
    try backend.upload(
      Self.fold(configuration, parameters: parameters, statistics: statistics), into: arena.values)
  }

  /// The parameters with each unit's weight scaled, and its shift turned into a bias.
  private static func fold(
    _ configuration: ConvolutionalConfiguration, parameters: [Float], statistics: [Float]
  ) -> [Float] {
    let layout = configuration.parameterLayout
    let places = Dictionary(
      (layout.slots + configuration.statisticsLayout.slots).map { ($0.name, $0.offset) }
    ) { first, _ in first }
    var folded = parameters
    for unit in configuration.units {
      guard let weight = places["\(unit.name).weight"], let scale = places["\(unit.name).scale"],
        let shift = places["\(unit.name).shift"], let mean = places["\(unit.name).mean"],
        let variance = places["\(unit.name).variance"]
      else { preconditionFailure("a unit lacks parameters") }
      for o in 0..<unit.outputs {
        let spread = Double(statistics[variance + o]) + Double(ConvolutionalNetwork<B>.epsilon)
        let factor = Double(parameters[scale + o]) / spread.squareRoot()
        folded[shift + o] = Float(
          Double(parameters[shift + o]) - Double(statistics[mean + o]) * factor)
        for i in 0..<9 * unit.inputs {
          let place = weight + i * unit.outputs + o
          folded[place] = Float(Double(parameters[place]) * factor)
        }
      }
    }
    return folded
  }

  private func value(_ name: String) -> B.Floats {
    guard let slot = slots[name] else { preconditionFailure("no parameter \(name)") }
    return arena.value(slot)
  }

  private func apply(
    _ unit: ConvolutionalConfiguration.Unit, to x: Map, into y: Map, activation: Activation = .relu
  ) throws {
    try backend.convolution(
      x, weight: value("\(unit.name).weight"), bias: value("\(unit.name).shift"),
      activation: activation, geometry: .same(3), into: y)
  }

  /// Fills `workspace.output` from `workspace.input`.
  package func forward(_ workspace: ConvolutionalWorkspace<B>) throws {
    try encode(workspace)
    try decode(workspace)
  }

  /// Fills the code, and what skips take, from `workspace.input`.
  package func encode(_ workspace: ConvolutionalWorkspace<B>) throws {
    for (level, memory) in workspace.levels.enumerated() {
      let units = configuration.encoderUnits(level)
      try apply(units[0], to: workspace.inputs[level], into: memory.encoder[0].output)
      try apply(units[1], to: memory.encoder[0].output, into: memory.encoder[1].output)
      try backend.maxPool(memory.encoder[1].output, size: 2, into: workspace.inputs[level + 1])
    }
    let bottom = configuration.levels - 1
    let units = configuration.encoderUnits(bottom)
    try apply(units[0], to: workspace.inputs[bottom], into: workspace.lowest.output)
    try apply(
      units[1], to: workspace.lowest.output, into: workspace.codeUnit.output,
      activation: configuration.code.isPlain ? .relu : .identity)
    try code.apply(
      workspace.preactivations, into: workspace.code, gateL0: workspace.gateL0, step: nil,
      on: backend)
  }

  private func decode(_ workspace: ConvolutionalWorkspace<B>) throws {
    var below = workspace.codeMap
    for level in workspace.levels.indices.reversed() {
      let memory = workspace.levels[level]
      let name = "decoder.\(level).up"
      try backend.transposedConvolution(
        below, weight: value("\(name).weight"), bias: value("\(name).bias"),
        activation: .identity, geometry: .enlarging, into: memory.enlarged)
      let units = configuration.decoderUnits(level)
      try apply(units[0], to: memory.joined, into: memory.decoder[0].output)
      try apply(units[1], to: memory.decoder[0].output, into: memory.decoder[1].output)
      below = memory.decoder[1].output
    }
    try backend.convolution(
      below, weight: value("head.weight"), bias: value("head.bias"), activation: .identity,
      geometry: .same(1), into: workspace.output)
  }
}
