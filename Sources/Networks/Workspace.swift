import Compute

/// What a pass over a batch needs besides the parameters, allocated once.
package struct Workspace<B: Backend> {
  /// `[batch, inputs]`
  package let input: B.Floats
  /// The output of each layer, `[batch, width]`; that of the last encoder layer is the code.
  package let activations: [B.Floats]
  /// The gradients with respect to each layer's pre-activations, `[batch, width]`.
  package let gradients: [B.Floats]
  /// What the code is made from, `[batch, latents]`; the code itself where it is plain.
  package let preactivations: B.Floats
  /// The mean L0 that a target is held against, a number for each sample; `[batch]`.
  package let gateL0: B.Floats
  /// Nil where the code's arithmetic is dense.
  package let sparse: SparseCode<B>?
  package let codeIndex: Int

  /// - Parameters:
  ///   - arithmetic: of the code; sparse needs a dictionary with a TopK code.
  ///   - largestCount: the K that training anneals from, where it is more than the code's.
  ///   - input: `[batch, inputs]`, where several networks share it.
  package init(
    _ configuration: AutoencoderConfiguration, batch: Int, arithmetic: CodeArithmetic = .dense,
    largestCount: Int? = nil, input shared: B.Floats? = nil, on backend: B
  ) throws {
    func rows(_ width: Int) throws -> B.Floats {
      try backend.allocate([batch, width], of: Float.self)
    }
    input = try shared ?? rows(configuration.inputs)
    precondition(input.shape == [batch, configuration.inputs], "an input of \(input.shape)")
    activations = try configuration.widths.dropFirst().map(rows)
    codeIndex = configuration.encoderLayers - 1
    preactivations =
      configuration.code.isPlain ? activations[codeIndex] : try rows(configuration.latents)
    gateL0 = try backend.allocate([batch], of: Float.self)
    if arithmetic == .sparse {
      // Dense gradients of the code would be as large as the code and are never formed.
      gradients = [activations[codeIndex], try rows(configuration.inputs)]
      sparse = try SparseCode(
        configuration, batch: batch, largestCount: largestCount, on: backend)
    } else {
      gradients = try configuration.widths.dropFirst().map(rows)
      sparse = nil
    }
  }

  private init(
    input: B.Floats, activations: [B.Floats], gradients: [B.Floats], preactivations: B.Floats,
    gateL0: B.Floats, sparse: SparseCode<B>?, codeIndex: Int
  ) {
    self.input = input
    self.activations = activations
    self.gradients = gradients
    self.preactivations = preactivations
    self.gateL0 = gateL0
    self.sparse = sparse
    self.codeIndex = codeIndex
  }

  package var batch: Int { input.shape[0] }
  /// z, `[batch, latents]`
  package var code: B.Floats { activations[codeIndex] }
  /// xhat, `[batch, inputs]`
  package var reconstruction: B.Floats { activations[activations.count - 1] }
  /// The gradient with respect to the last layer's pre-activations.
  package var outputGradient: B.Floats { gradients[gradients.count - 1] }
  /// The gradient with respect to the code's pre-activations.
  package var codeGradient: B.Floats { gradients[codeIndex] }

  /// The same memory for a smaller batch, as at the end of an epoch.
  package func prefix(_ batch: Int) -> Workspace {
    guard batch != self.batch else { return self }
    let rows = 0..<batch
    return Workspace(
      input: input.rows(rows), activations: activations.map { $0.rows(rows) },
      gradients: gradients.map { $0.rows(rows) }, preactivations: preactivations.rows(rows),
      gateL0: gateL0.rows(rows), sparse: sparse, codeIndex: codeIndex)
  }
}

extension AutoencoderConfiguration {
  /// What a `Workspace` allocates, in bytes: of each sample, of each sample in the largest tensor,
  /// and whatever the batch.
  package func workspaceMemory(
    arithmetic: CodeArithmetic, largestCount: Int?
  ) -> (ofSample: Int, largestOfSample: Int, fixed: Int) {
    let outputs = widths.dropFirst().reduce(0, +)
    var floats = inputs + outputs + 1
    if !code.isPlain { floats += latents }
    var fixed = 0
    if arithmetic == .sparse {
      floats += inputs + 4 * max(code.count ?? 0, largestCount ?? 0)
      fixed = latents + 1
    } else {
      floats += outputs
    }
    return (4 * floats, 4 * (widths.max() ?? 0), 4 * fixed)
  }
}

/// How a code of K out of many latents is computed with.
package enum CodeArithmetic: String, Codable, CaseIterable, Sendable {
  /// As matrices of which most entries are zero.
  case dense
  /// At the kept entries alone: `SparseOperations`.
  case sparse
}

/// The memory of a sparse code: as much as its largest K takes.
package struct SparseCode<B: Backend> {
  private let indices: B.Indices
  private let values: B.Floats
  private let codeGradient: B.Floats
  private let entries: B.Indices
  package let offsets: B.Indices

  init(
    _ configuration: AutoencoderConfiguration, batch: Int, largestCount: Int?, on backend: B
  ) throws {
    guard configuration.isDictionary, case .topK(let k) = configuration.code else {
      preconditionFailure("sparse arithmetic needs a dictionary with a TopK code")
    }
    let count = batch * max(k, largestCount ?? 0)
    indices = try backend.allocate([count], of: UInt32.self)
    values = try backend.allocate([count], of: Float.self)
    codeGradient = try backend.allocate([count], of: Float.self)
    entries = try backend.allocate([count], of: UInt32.self)
    offsets = try backend.allocate([configuration.latents + 1], of: UInt32.self)
  }

  /// The views for a batch and a K.
  func view(batch: Int, count k: Int) -> SparseView<B> {
    let shape: Shape = [batch, k]
    return SparseView(
      indices: indices.view(at: 0, shape: shape), values: values.view(at: 0, shape: shape),
      codeGradient: codeGradient.view(at: 0, shape: shape),
      entries: entries.view(at: 0, shape: [batch * k]), offsets: offsets)
  }
}

/// A batch's sparse code and what belongs to it.
package struct SparseView<B: Backend> {
  package let indices: B.Indices
  package let values, codeGradient: B.Floats
  package let entries, offsets: B.Indices
}
