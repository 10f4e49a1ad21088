import Compute

/// A convolutional network on a backend, for training: its parameters, and forward and backward
/// through a workspace.
package final class ConvolutionalNetwork<B: Backend> {
  package typealias Map = FeatureMap<B.Storage>
  package typealias Workspace = ConvolutionalWorkspace<B>

  package let configuration: ConvolutionalConfiguration
  package let backend: B
  package let arena: ParameterArena<B>
  /// The running statistics, in the order of `configuration.statisticsLayout`.
  package let statistics: B.Floats
  package let code: CodeLayer<B>
  /// Whether encoder and code stay as they are: used as they would be in a prediction.
  package let isFrontEndFrozen: Bool
  private let frontEnd: FoldedNetwork<B>?
  private let batchStatistics: B.Floats
  private let slots: [String: ParameterSlot]
  private let statisticsSlots: [String: ParameterSlot]

  /// - Parameters:
  ///   - parameters: in the order of `configuration.parameterLayout`.
  ///   - statistics: in the order of `configuration.statisticsLayout`.
  package init(
    _ configuration: ConvolutionalConfiguration, parameters: [Float], statistics: [Float],
    freezesFrontEnd: Bool = false, on backend: B
  ) throws {
    self.configuration = configuration
    self.backend = backend
    arena = try ParameterArena(configuration.parameterLayout, on: backend)
    let layout = configuration.statisticsLayout
    self.statistics = try backend.allocate([layout.count], of: Float.self)
    batchStatistics = try backend.allocate([layout.count], of: Float.self)
    code = try CodeLayer(
      configuration.code, latents: configuration.latents, in: arena, on: backend)
    func byName(_ slots: [ParameterSlot]) -> [String: ParameterSlot] {
      Dictionary(slots.map { ($0.name, $0) }) { first, _ in first }
    }
    slots = byName(arena.layout.slots)
    statisticsSlots = byName(layout.slots)
    isFrontEndFrozen = freezesFrontEnd
    frontEnd =
      freezesFrontEnd
      ? try FoldedNetwork(
        configuration, parameters: parameters, statistics: statistics, on: backend) : nil
    try adopt(parameters: parameters, statistics: statistics)
  }

  /// Goes on with these, in the orders of `init`. A frozen front end holds a copy of its own, folded,
  /// which would otherwise stay what it was.
  package func adopt(parameters: [Float], statistics: [Float]) throws {
    try backend.upload(parameters, into: arena.values)
    try backend.upload(statistics, into: self.statistics)
    try frontEnd?.adopt(parameters: parameters, statistics: statistics)
  }

  /// What the normalisations add to a variance.
  package static var epsilon: Float { 1e-5 }

  private func slot(_ name: String) -> ParameterSlot {
    guard let slot = slots[name] else { preconditionFailure("no parameter \(name)") }
    return slot
  }

  private func value(_ name: String) -> B.Floats { arena.value(slot(name)) }
  private func gradient(_ name: String) -> B.Floats { arena.gradient(slot(name)) }

  // MARK: Forward

  /// Fills `workspace.output` from `workspace.input`, the normalisations by the batch's statistics.
  ///
  /// - Parameters:
  ///   - momentum: how much of the batch's statistics the running ones take in.
  ///   - step: what the code needs in training; used as it would be in a prediction when nil.
  package func forward(
    _ workspace: Workspace, momentum: Float, step: CodeStep<B>?
  ) throws {
    if let frontEnd {
      try frontEnd.encode(workspace)
    } else {
      try encode(workspace, momentum: momentum, step: step)
    }
    var below = workspace.codeMap
    for level in workspace.levels.indices.reversed() {
      let memory = workspace.levels[level]
      try enlarge(below, to: level, memory)
      let units = configuration.decoderUnits(level)
      try apply(units[0], to: memory.joined, memory.decoder[0], momentum: momentum)
      try apply(units[1], to: memory.decoder[0].output, memory.decoder[1], momentum: momentum)
      below = memory.decoder[1].output
    }
    try backend.convolution(
      below, weight: value("head.weight"), bias: value("head.bias"), activation: .identity,
      geometry: .same(1), into: workspace.output)
  }

  private func encode(
    _ workspace: Workspace, momentum: Float, step: CodeStep<B>?
  ) throws {
    for (level, memory) in workspace.levels.enumerated() {
      let units = configuration.encoderUnits(level)
      try apply(units[0], to: workspace.inputs[level], memory.encoder[0], momentum: momentum)
      try apply(units[1], to: memory.encoder[0].output, memory.encoder[1], momentum: momentum)
      try backend.maxPool(memory.encoder[1].output, size: 2, into: workspace.inputs[level + 1])
    }
    let units = configuration.encoderUnits(configuration.levels - 1)
    try apply(
      units[0], to: workspace.inputs[configuration.levels - 1], workspace.lowest,
      momentum: momentum)
    try apply(
      units[1], to: workspace.lowest.output, workspace.codeUnit,
      activation: configuration.code.isPlain ? .relu : .identity, momentum: momentum)
    try code.apply(
      workspace.preactivations, into: workspace.code, gateL0: workspace.gateL0, step: step,
      on: backend)
  }

  private func enlarge(_ below: Map, to level: Int, _ memory: Workspace.LevelMemory) throws {
    try backend.transposedConvolution(
      below, weight: value("decoder.\(level).up.weight"),
      bias: value("decoder.\(level).up.bias"), activation: .identity, geometry: .enlarging,
      into: memory.enlarged)
  }

  private func normalisation(
    _ unit: ConvolutionalConfiguration.Unit
  ) -> BatchNormalisation<B.Storage> {
    func statistic(_ name: String, of tensor: B.Floats) -> B.Floats {
      guard let slot = statisticsSlots["\(unit.name).\(name)"] else {
        preconditionFailure("no statistic \(unit.name).\(name)")
      }
      return tensor.view(at: slot.offset, shape: slot.shape)
    }
    return BatchNormalisation(
      scale: value("\(unit.name).scale"), shift: value("\(unit.name).shift"),
      mean: statistic("mean", of: batchStatistics),
      deviation: statistic("variance", of: batchStatistics),
      runningMean: statistic("mean", of: statistics),
      runningVariance: statistic("variance", of: statistics))
  }

  private func apply(
    _ unit: ConvolutionalConfiguration.Unit, to x: Map, _ memory: Workspace.UnitMemory,
    activation: Activation = .relu, momentum: Float
  ) throws {
    guard let raw = memory.raw else { preconditionFailure("a workspace for use measures nothing") }
    try backend.convolution(
      x, weight: value("\(unit.name).weight"), bias: nil, activation: .identity,
      geometry: .same(3), into: raw)
    try backend.batchNormalise(
      raw, normalisation(unit), activation: activation, epsilon: Self.epsilon,
      momentum: momentum, into: memory.output)
  }

  // MARK: Backward

  /// From `workspace.outputGradient`, after `forward`, to the gradients of all parameters that are
  /// trained, in the arena.
  package func backward(_ workspace: Workspace, step: CodeStep<B>) throws {
    guard let outputGradient = workspace.outputGradient, let codeGradient = workspace.codeGradient
    else { preconditionFailure("a workspace for use cannot train") }
    let bottom = configuration.levels - 1
    let output = Map(outputGradient.view(at: 0, shape: workspace.output.tensor.shape))
    let last = workspace.levels.first?.decoder[1].output ?? workspace.codeMap
    try backend.convolutionGradient(
      last, output, geometry: .same(1), into: gradient("head.weight"))
    try backend.channelSums(of: output, into: gradient("head.bias"))
    if bottom > 0 || !isFrontEndFrozen {
      try backend.transposedConvolution(
        output, weight: value("head.weight"), bias: nil, activation: .identity,
        geometry: .same(1), into: bottom == 0 ? codeGradient : workspace.gradients[0].first)
    }
    for level in workspace.levels.indices { try decoderBackward(workspace, level, codeGradient) }
    if !isFrontEndFrozen { try encoderBackward(workspace, codeGradient, step: step) }
  }

  private func decoderBackward(
    _ workspace: Workspace, _ level: Int, _ codeGradient: Map
  ) throws {
    let (memory, gradients) = (workspace.levels[level], workspace.gradients[level])
    guard let joined = gradients.joined else { return }
    let units = configuration.decoderUnits(level)
    try unitBackward(
      units[1], gradients.first, memory.decoder[1], input: memory.decoder[0].output,
      scratch: gradients.first, into: gradients.second)
    try unitBackward(
      units[0], gradients.second, memory.decoder[0], input: memory.joined,
      scratch: gradients.second, into: joined)
    let isAboveCode = level == configuration.levels - 2
    let below = isAboveCode ? workspace.codeMap : workspace.levels[level + 1].decoder[1].output
    let enlarged = joined.channels(0..<memory.enlarged.channels)
    let name = "decoder.\(level).up"
    try backend.convolutionGradient(
      enlarged, below, geometry: .enlarging, into: gradient("\(name).weight"))
    try backend.channelSums(of: enlarged, into: gradient("\(name).bias"))
    if isAboveCode && isFrontEndFrozen { return }
    try backend.convolution(
      enlarged, weight: value("\(name).weight"), bias: nil, activation: .identity,
      geometry: .enlarging,
      into: isAboveCode ? codeGradient : workspace.gradients[level + 1].first)
  }

  private func encoderBackward(
    _ workspace: Workspace, _ codeGradient: Map, step: CodeStep<B>
  ) throws {
    let bottom = configuration.levels - 1
    let units = configuration.encoderUnits(bottom)
    let lowest = workspace.gradients[bottom]
    try code.backward(
      codeGradient.matrix, preactivations: workspace.preactivations, code: workspace.code,
      step: step, on: backend)
    try unitBackward(
      units[1], codeGradient,
      Workspace.UnitMemory(raw: workspace.codeUnit.raw, output: workspace.codeMap),
      activation: code.gradientActivation, input: workspace.lowest.output, scratch: codeGradient,
      into: lowest.first)
    try unitBackward(
      units[0], lowest.first, workspace.lowest, input: workspace.inputs[bottom],
      scratch: lowest.first, into: lowest.input)
    for level in (0..<bottom).reversed() {
      let (memory, gradients) = (workspace.levels[level], workspace.gradients[level])
      guard let joined = gradients.joined, let pooled = workspace.gradients[level + 1].input
      else { return }
      let channels = configuration.channels(atLevel: level)
      let skip =
        configuration.hasSkips ? joined.channels(channels..<2 * channels) : gradients.second
      try backend.maxPoolBackward(
        pooled, output: workspace.inputs[level + 1], input: memory.encoder[1].output, size: 2,
        accumulating: configuration.hasSkips, into: skip)
      let units = configuration.encoderUnits(level)
      try unitBackward(
        units[1], skip, memory.encoder[1], input: memory.encoder[0].output,
        scratch: gradients.first, into: gradients.second)
      try unitBackward(
        units[0], gradients.second, memory.encoder[0], input: workspace.inputs[level],
        scratch: gradients.second, into: gradients.input)
    }
  }

  /// The way back through a unit, from the gradient g of its output.
  ///
  /// - Parameters:
  ///   - scratch: receives the gradient of what the convolution made; may be g.
  ///   - dx: receives that of the unit's input, where it is wanted.
  private func unitBackward(
    _ unit: ConvolutionalConfiguration.Unit, _ g: Map, _ memory: Workspace.UnitMemory,
    activation: Activation = .relu, input x: Map, scratch: Map, into dx: Map?
  ) throws {
    guard let raw = memory.raw else { preconditionFailure("a workspace for use cannot train") }
    try backend.batchNormaliseBackward(
      g, output: memory.output, input: raw, normalisation(unit), activation: activation,
      into: scratch, scaleGradient: gradient("\(unit.name).scale"),
      shiftGradient: gradient("\(unit.name).shift"))
    try backend.convolutionGradient(
      x, scratch, geometry: .same(3), into: gradient("\(unit.name).weight"))
    guard let dx else { return }
    try backend.transposedConvolution(
      scratch, weight: value("\(unit.name).weight"), bias: nil, activation: .identity,
      geometry: .same(3), into: dx)
  }
}

extension ConvolutionGeometry {
  /// Of the transposed convolution that doubles an image.
  static var enlarging: ConvolutionGeometry { ConvolutionGeometry(kernel: 2, stride: 2) }
}
