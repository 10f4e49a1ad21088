import Compute

/// An autoencoder on a backend: its parameters, and forward and backward through a workspace.
package final class Autoencoder<B: Backend> {
  package let configuration: AutoencoderConfiguration
  package let backend: B
  package let arena: ParameterArena<B>
  private let layers: [Layer]
  /// A column of ones: its product with a single threshold is a threshold for each latent.
  private let ones: B.Floats?
  private let thresholds: B.Floats?

  private struct Layer {
    let weight: ParameterSlot
    let bias: ParameterSlot
    let activation: Activation
  }

  /// - Parameter parameters: in the order of `configuration.parameterLayout`.
  package init(
    _ configuration: AutoencoderConfiguration, parameters: [Float], on backend: B
  ) throws {
    self.configuration = configuration
    self.backend = backend
    arena = try ParameterArena(configuration.parameterLayout, on: backend)
    let slots = arena.layout.slots
    layers = (0..<configuration.layerCount).map {
      Layer(
        weight: slots[2 * $0], bias: slots[2 * $0 + 1],
        activation: configuration.activation(ofLayer: $0))
    }
    if case .batchTopK = configuration.code {
      let column = try backend.allocate([configuration.latents, 1], of: Float.self)
      try backend.fill(column, with: 1)
      ones = column
      thresholds = try backend.allocate([configuration.latents, 1], of: Float.self)
    } else {
      (ones, thresholds) = (nil, nil)
    }
    try backend.upload(parameters, into: arena.values)
  }

  private func slot(_ name: String) -> ParameterSlot? {
    arena.layout.slots.first { $0.name == name }
  }

  /// The thresholds of a JumpReLU `[latents]`, or the one of a BatchTopK `[1]`.
  package var threshold: B.Floats? {
    slot(AutoencoderConfiguration.threshold).map(arena.value)
  }

  package var thresholdSlot: ParameterSlot? { slot(AutoencoderConfiguration.threshold) }

  /// The mean that is taken off the input, `[inputs]`.
  package var inputMean: B.Floats? { slot(AutoencoderConfiguration.inputMean).map(arena.value) }

  /// The decoder's weight with a row for each latent, its gradient, and its place.
  package var dictionary: (slot: ParameterSlot, value: B.Floats, gradient: B.Floats) {
    let slot = layers[configuration.encoderLayers].weight
    return (slot, arena.value(slot), arena.gradient(slot))
  }

  /// The weight of the layer that makes the code's pre-activations, and its gradient.
  package var codeLayer: (weight: ParameterSlot, bias: ParameterSlot) {
    let layer = layers[configuration.encoderLayers - 1]
    return (layer.weight, layer.bias)
  }

  package var outputBias: ParameterSlot { layers[layers.count - 1].bias }

  // MARK: Forward

  /// Fills `workspace.activations` from `workspace.input`, as in use: no noise, thresholds learned.
  package func forward(_ workspace: Workspace<B>) throws {
    try encode(workspace, step: nil)
    if let sparse = workspace.sparse, let k = configuration.code.count {
      let view = sparse.view(batch: workspace.batch, count: k)
      try backend.sparseScatter(
        indices: view.indices, values: view.values, into: workspace.code)
      try backend.sparseDecode(
        indices: view.indices, values: view.values, weight: dictionary.value,
        bias: arena.value(outputBias), into: workspace.reconstruction)
    } else {
      try decode(workspace)
    }
  }

  /// Runs the decoder alone: from the code that the workspace holds to the reconstruction.
  package func decode(_ workspace: Workspace<B>) throws {
    try backend.denseForward(workspace.code, through: decoderLayers(workspace))
  }

  private func encode(_ workspace: Workspace<B>, step: CodeStep<B>?) throws {
    if configuration.isDictionary {
      let layer = layers[0]
      try backend.matmul(
        MatrixOperand(workspace.input), MatrixOperand(arena.value(layer.weight), transposed: true),
        into: workspace.preactivations,
        epilogue: .bias(arena.value(layer.bias), layer.activation))
    } else {
      try backend.denseForward(workspace.input, through: encoderLayers(workspace))
    }
    try applyCode(workspace, step: step)
  }

  private func encoderLayers(_ workspace: Workspace<B>) -> [DenseLayer<B.Storage>] {
    (0..<configuration.encoderLayers).map { index in
      forwardLayer(
        index,
        into: index == workspace.codeIndex
          ? workspace.preactivations : workspace.activations[index])
    }
  }

  private func decoderLayers(_ workspace: Workspace<B>) -> [DenseLayer<B.Storage>] {
    (configuration.encoderLayers..<layers.count).map {
      forwardLayer($0, into: workspace.activations[$0])
    }
  }

  private func forwardLayer(_ index: Int, into output: B.Floats) -> DenseLayer<B.Storage> {
    DenseLayer(
      weight: arena.value(layers[index].weight), bias: arena.value(layers[index].bias),
      activation: layers[index].activation, output: output)
  }

  /// From the pre-activations to the code; `step` says how training does it.
  private func applyCode(_ workspace: Workspace<B>, step: CodeStep<B>?) throws {
    let (a, z) = (workspace.preactivations, workspace.code)
    switch configuration.code {
    case .relu, .l1: break
    case .topK(let k):
      let count = step?.count ?? k
      if let sparse = workspace.sparse {
        let view = sparse.view(batch: workspace.batch, count: count)
        try backend.sparseTopK(a, indices: view.indices, values: view.values)
      } else {
        try backend.topK(a, k: count, into: z)
      }
    case .batchTopK(let k):
      if let step {
        try backend.batchTopK(a, k: step.count ?? k, into: z, threshold: step.batchThreshold)
      } else if let threshold, let ones, let thresholds {
        try backend.matmul(
          MatrixOperand(ones), MatrixOperand(threshold.view(at: 0, shape: [1, 1])),
          into: thresholds, epilogue: .none)
        try backend.jumpReLU(
          a, threshold: thresholds.view(at: 0, shape: [configuration.latents]), into: z)
      }
    case .jumpReLU:
      if let threshold { try backend.jumpReLU(a, threshold: threshold, into: z) }
    case .hardConcrete:
      if let slope = slot(AutoencoderConfiguration.gateSlope),
        let offset = slot(AutoencoderConfiguration.gateOffset)
      {
        try backend.hardConcrete(
          a, slope: arena.value(slope), offset: arena.value(offset), noise: step?.noise, into: z,
          rowL0: workspace.gateL0)
      }
    }
  }

  // MARK: Backward

  /// From `workspace.input` to the loss and all gradients: fills the workspace and the arena's
  /// gradients.
  ///
  /// With delta the gradient of a layer's pre-activations and x its input: the delta below is
  /// (delta W^T) * f'(x), dW = x^T delta, db = sum of delta's rows; the code's own backward is that
  /// of its operation. In sparse arithmetic the gradients of encoder and dictionary are left to
  /// `sparseBatch`, and of the output's bias alone the gradient is formed.
  ///
  /// - Parameters:
  ///   - scale: of the loss's gradient, as in `Backend.reconstructionLoss`.
  ///   - rowError: receives ||x - xhat||^2 of each row, `[batch]`.
  ///   - rowL0: receives ||z||_0 of each row, `[batch]`.
  package func differentiate(
    _ workspace: Workspace<B>, scale: Float, step: CodeStep<B>, rowError: B.Floats,
    rowL0: B.Floats
  ) throws {
    if workspace.sparse != nil {
      return try differentiateSparse(
        workspace, scale: scale, step: step, rowError: rowError, rowL0: rowL0)
    }
    let loss = ReconstructionLoss(
      target: workspace.input, activation: configuration.outputActivation, code: workspace.code,
      scale: scale, gradient: workspace.outputGradient, rowError: rowError, rowL0: rowL0)
    let split = configuration.encoderLayers
    if configuration.code == .relu, !configuration.isDictionary {
      try backend.densePass(
        workspace.input, forward: encoderLayers(workspace) + decoderLayers(workspace), loss: loss,
        backward: layers.indices.dropFirst().reversed().map { backwardLayer($0, workspace) })
    } else {
      try encode(workspace, step: step)
      try backend.densePass(
        workspace.code, forward: decoderLayers(workspace), loss: loss,
        backward: (split..<layers.count).reversed().map { backwardLayer($0, workspace) })
      try codeBackward(workspace, step: step)
      if split > 1 {
        try backend.denseBackward(
          workspace.codeGradient,
          through: (1..<split).reversed().map { backwardLayer($0, workspace) })
      }
    }
    let dense = configuration.isDictionary ? layers.indices.dropFirst() : layers.indices[...]
    try backend.denseGradients(
      dense.map { index in
        DenseGradient(
          input: index == 0 ? workspace.input : workspace.activations[index - 1],
          delta: workspace.gradients[index],
          weightGradient: arena.gradient(layers[index].weight),
          biasGradient: arena.gradient(layers[index].bias))
      })
    if configuration.isDictionary {
      try backend.matmul(
        MatrixOperand(workspace.codeGradient, transposed: true), MatrixOperand(workspace.input),
        into: arena.gradient(layers[0].weight), epilogue: .none)
      try backend.columnSums(
        of: workspace.codeGradient, into: arena.gradient(layers[0].bias))
    }
  }

  /// The way back through layer `index`. Where z > 0 says which pre-activations the code let
  /// through, ReLU's derivative at z is the code's; the other codes want the gradient of z itself.
  private func backwardLayer(
    _ index: Int, _ workspace: Workspace<B>
  ) -> DenseBackwardLayer<B.Storage> {
    let activation: Activation
    if index - 1 == workspace.codeIndex {
      switch configuration.code {
      case .relu, .l1, .topK, .batchTopK: activation = .relu
      case .jumpReLU, .hardConcrete: activation = .identity
      }
    } else {
      activation = layers[index - 1].activation
    }
    return DenseBackwardLayer(
      weight: arena.value(layers[index].weight), activation: activation,
      below: workspace.activations[index - 1], gradient: workspace.gradients[index - 1])
  }

  /// From the gradient with respect to z to that with respect to a, in place, and the gradients of
  /// the code's own parameters.
  private func codeBackward(_ workspace: Workspace<B>, step: CodeStep<B>) throws {
    let g = workspace.codeGradient
    let penalty = step.penalty.view(at: 0, shape: [1])
    let scale = 1 / Float(workspace.batch)
    switch configuration.code {
    case .relu, .topK, .batchTopK: break
    case .l1:
      try backend.addL1Gradient(
        of: workspace.code, penalty: penalty, scale: scale, accumulatingInto: g)
    case .jumpReLU:
      guard let slot = slot(AutoencoderConfiguration.threshold) else { return }
      try backend.jumpReLUBackward(
        g, preactivations: workspace.preactivations, threshold: arena.value(slot),
        bandwidth: step.bandwidth, penalty: penalty, scale: scale, into: g,
        thresholdGradient: arena.gradient(slot))
    case .hardConcrete:
      guard let slope = slot(AutoencoderConfiguration.gateSlope),
        let offset = slot(AutoencoderConfiguration.gateOffset), let noise = step.noise
      else { return }
      try backend.hardConcreteBackward(
        g, preactivations: workspace.preactivations, slope: arena.value(slope),
        offset: arena.value(offset), noise: noise, penalty: penalty, scale: scale, into: g,
        slopeGradient: arena.gradient(slope), offsetGradient: arena.gradient(offset))
    }
  }

  private func differentiateSparse(
    _ workspace: Workspace<B>, scale: Float, step: CodeStep<B>, rowError: B.Floats,
    rowL0: B.Floats
  ) throws {
    guard let view = sparseView(workspace, step: step) else { return }
    try encode(workspace, step: step)
    try backend.sparsePass(
      indices: view.indices, values: view.values, weight: dictionary.value,
      bias: arena.value(outputBias), target: workspace.input, scale: scale,
      gradient: workspace.outputGradient, codeGradient: view.codeGradient, rowError: rowError,
      rowL0: rowL0)
    try backend.sparseGroup(
      indices: view.indices, values: view.values, offsets: view.offsets, entries: view.entries,
      accumulatingFirings: step.firings)
    try backend.columnSums(of: workspace.outputGradient, into: arena.gradient(outputBias))
  }

  private func sparseView(_ workspace: Workspace<B>, step: CodeStep<B>) -> SparseView<B>? {
    guard let k = step.count ?? configuration.code.count else { return nil }
    return workspace.sparse?.view(batch: workspace.batch, count: k)
  }

  /// What the gradients of encoder and dictionary are made of, after `differentiate` in sparse
  /// arithmetic; nil in dense.
  package func sparseBatch(
    _ workspace: Workspace<B>, step: CodeStep<B>
  ) -> SparseBatch<B.Storage>? {
    sparseView(workspace, step: step).map {
      SparseBatch(
        offsets: $0.offsets, entries: $0.entries, values: $0.values,
        codeGradient: $0.codeGradient, input: workspace.input, gradient: workspace.outputGradient)
    }
  }
}

/// What training's forward and backward through the code need besides the parameters.
package struct CodeStep<B: Backend> {
  /// K where it is annealed; the configuration's when nil.
  package var count: Int?
  /// The gates' noise in this step.
  package var noise: GateNoise?
  /// Width of the window in which thresholds feel their gradient.
  package var bandwidth: Float
  /// The weight of the penalty and the state of its control, `[2]`.
  package let penalty: B.Floats
  /// The batch's smallest kept value of a BatchTopK, `[1]`.
  package let batchThreshold: B.Floats
  /// How often each latent fired since these were last set to zero, `[latents]`.
  package let firings: B.Indices

  package init(_ configuration: AutoencoderConfiguration, on backend: B) throws {
    penalty = try backend.allocate([2], of: Float.self)
    batchThreshold = try backend.allocate([1], of: Float.self)
    firings = try backend.allocate([configuration.latents], of: UInt32.self)
    try backend.fill(penalty, with: 0)
    try backend.fill(batchThreshold, with: 0)
    try backend.upload([UInt32](repeating: 0, count: configuration.latents), into: firings)
    bandwidth = 1
  }
}
