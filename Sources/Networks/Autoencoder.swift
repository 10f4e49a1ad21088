import Compute

/// An autoencoder on a backend: its parameters, and forward and backward through a workspace.
package final class Autoencoder<B: Backend> {
  package let configuration: AutoencoderConfiguration
  package let backend: B
  package let arena: ParameterArena<B>
  private let layers: [Layer]
  private let code: CodeLayer<B>

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
    code = try CodeLayer(
      configuration.code, latents: configuration.latents, in: arena, on: backend)
    try backend.upload(parameters, into: arena.values)
  }

  private func slot(_ name: String) -> ParameterSlot? {
    arena.layout.slots.first { $0.name == name }
  }

  /// The thresholds of a JumpReLU `[latents]`, or the one of a BatchTopK `[1]`.
  package var threshold: B.Floats? { code.threshold }

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
    guard let sparse = workspace.sparse, let k = step?.count ?? configuration.code.count else {
      return try code.apply(
        workspace.preactivations, into: workspace.code, gateL0: workspace.gateL0, step: step,
        on: backend)
    }
    let view = sparse.view(batch: workspace.batch, count: k)
    try backend.sparseTopK(
      workspace.preactivations, indices: view.indices, values: view.values)
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
      try code.backward(
        workspace.codeGradient, preactivations: workspace.preactivations, code: workspace.code,
        step: step, on: backend)
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

  /// The way back through layer `index`.
  private func backwardLayer(
    _ index: Int, _ workspace: Workspace<B>
  ) -> DenseBackwardLayer<B.Storage> {
    let activation =
      index - 1 == workspace.codeIndex
      ? code.gradientActivation : layers[index - 1].activation
    return DenseBackwardLayer(
      weight: arena.value(layers[index].weight), activation: activation,
      below: workspace.activations[index - 1], gradient: workspace.gradients[index - 1])
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

  package init(latents: Int, on backend: B) throws {
    penalty = try backend.allocate([2], of: Float.self)
    batchThreshold = try backend.allocate([1], of: Float.self)
    firings = try backend.allocate([latents], of: UInt32.self)
    try backend.fill(penalty, with: 0)
    try backend.fill(batchThreshold, with: 0)
    try backend.upload([UInt32](repeating: 0, count: latents), into: firings)
    bandwidth = 1
  }
}
