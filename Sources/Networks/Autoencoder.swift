import Compute

/// A dense autoencoder on a backend: its parameters, and forward and backward through a workspace.
package final class Autoencoder<B: Backend> {
  package let configuration: AutoencoderConfiguration
  package let backend: B
  package let arena: ParameterArena<B>
  private let layers: [Layer]

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
    try backend.upload(parameters, into: arena.values)
  }

  /// Fills `workspace.activations` from `workspace.input`.
  package func forward(_ workspace: Workspace<B>) throws {
    try run(layers.indices, from: workspace.input, workspace)
  }

  /// Runs the decoder alone: from the code that the workspace holds to the reconstruction.
  package func decode(_ workspace: Workspace<B>) throws {
    try run(configuration.encoderLayers..<layers.count, from: workspace.code, workspace)
  }

  private func run(_ range: Range<Int>, from input: B.Floats, _ workspace: Workspace<B>) throws {
    try backend.denseForward(
      input,
      through: range.map { index in
        DenseLayer(
          weight: arena.value(layers[index].weight), bias: arena.value(layers[index].bias),
          activation: layers[index].activation, output: workspace.activations[index])
      })
  }

  /// Fills the arena's gradients from `workspace.gradients.last`, the loss's gradient with respect
  /// to the last layer's pre-activations; the other gradients of the workspace are overwritten.
  ///
  /// With delta the gradient of a layer's pre-activations and x its input: the delta below is
  /// (delta W^T) * f'(x), dW = x^T delta, db = sum of delta's rows.
  package func backward(_ workspace: Workspace<B>) throws {
    try backend.denseBackward(
      workspace.outputGradient,
      through: layers.indices.dropFirst().reversed().map { index in
        DenseBackwardLayer(
          weight: arena.value(layers[index].weight), activation: layers[index - 1].activation,
          below: workspace.activations[index - 1], gradient: workspace.gradients[index - 1])
      })
    try backend.denseGradients(
      layers.indices.map { index in
        DenseGradient(
          input: index == 0 ? workspace.input : workspace.activations[index - 1],
          delta: workspace.gradients[index],
          weightGradient: arena.gradient(layers[index].weight),
          biasGradient: arena.gradient(layers[index].bias))
      })
  }
}

/// What a pass over a batch needs besides the parameters, allocated once.
package struct Workspace<B: Backend> {
  /// `[batch, inputs]`
  package let input: B.Floats
  /// The output of each layer, `[batch, width]`.
  package let activations: [B.Floats]
  /// The gradients with respect to each layer's pre-activations, `[batch, width]`.
  package let gradients: [B.Floats]
  package let codeIndex: Int

  package init(_ configuration: AutoencoderConfiguration, batch: Int, on backend: B) throws {
    func rows(_ width: Int) throws -> B.Floats {
      try backend.allocate([batch, width], of: Float.self)
    }
    input = try rows(configuration.inputs)
    activations = try configuration.widths.dropFirst().map(rows)
    gradients = try configuration.widths.dropFirst().map(rows)
    codeIndex = configuration.encoderLayers - 1
  }

  private init(input: B.Floats, activations: [B.Floats], gradients: [B.Floats], codeIndex: Int) {
    self.input = input
    self.activations = activations
    self.gradients = gradients
    self.codeIndex = codeIndex
  }

  package var batch: Int { input.shape[0] }
  /// z, `[batch, latents]`
  package var code: B.Floats { activations[codeIndex] }
  /// xhat, `[batch, inputs]`
  package var reconstruction: B.Floats { activations[activations.count - 1] }
  /// The gradient with respect to the last layer's pre-activations.
  package var outputGradient: B.Floats { gradients[gradients.count - 1] }

  /// The same memory for a smaller batch, as at the end of an epoch.
  package func prefix(_ batch: Int) -> Workspace {
    guard batch != self.batch else { return self }
    return Workspace(
      input: input.rows(0..<batch), activations: activations.map { $0.rows(0..<batch) },
      gradients: gradients.map { $0.rows(0..<batch) }, codeIndex: codeIndex)
  }
}
