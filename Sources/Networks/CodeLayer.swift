import Compute

/// A code on a backend: from pre-activations a `[rows, latents]` to z and back, with the code's own
/// parameters where it has them.
package struct CodeLayer<B: Backend> {
  package let code: Code
  package let latents: Int
  /// A parameter and its gradient.
  private typealias Parameter = (value: B.Floats, gradient: B.Floats)
  /// The thresholds of a JumpReLU `[latents]`, or the one of a BatchTopK `[1]`.
  private let thresholdParameter: Parameter?
  private let slope, offset: Parameter?
  /// A column of ones: its product with a single threshold is a threshold for each latent.
  private let ones: B.Floats?
  private let thresholds: B.Floats?

  /// - Parameter arena: holds `code.parameterNames`.
  init(_ code: Code, latents: Int, in arena: ParameterArena<B>, on backend: B) throws {
    self.code = code
    self.latents = latents
    func parameter(_ name: String) -> Parameter? {
      arena.layout.slots.first { $0.name == name }.map { (arena.value($0), arena.gradient($0)) }
    }
    thresholdParameter = parameter(Code.threshold)
    slope = parameter(Code.gateSlope)
    offset = parameter(Code.gateOffset)
    if case .batchTopK = code {
      let column = try backend.allocate([latents, 1], of: Float.self)
      try backend.fill(column, with: 1)
      ones = column
      thresholds = try backend.allocate([latents, 1], of: Float.self)
    } else {
      (ones, thresholds) = (nil, nil)
    }
  }

  package var threshold: B.Floats? { thresholdParameter?.value }

  /// From the pre-activations to the code. A plain code is left to the layer's own activation.
  ///
  /// - Parameters:
  ///   - step: how training does it; as in use when nil: no noise, thresholds learned.
  ///   - gateL0: receives the L0 that a target means, of a hard concrete code; `[rows]`.
  func apply(
    _ a: B.Floats, into z: B.Floats, gateL0: B.Floats, step: CodeStep<B>?, on backend: B
  ) throws {
    switch code {
    case .relu, .l1: break
    case .topK(let k): try backend.topK(a, k: step?.count ?? k, into: z)
    case .batchTopK(let k):
      if let step {
        try backend.batchTopK(a, k: step.count ?? k, into: z, threshold: step.batchThreshold)
      } else if let threshold, let ones, let thresholds {
        try backend.matmul(
          MatrixOperand(ones), MatrixOperand(threshold.view(at: 0, shape: [1, 1])),
          into: thresholds, epilogue: .none)
        try backend.jumpReLU(a, threshold: thresholds.view(at: 0, shape: [latents]), into: z)
      }
    case .jumpReLU:
      if let threshold { try backend.jumpReLU(a, threshold: threshold, into: z) }
    case .hardConcrete:
      if let slope, let offset {
        try backend.hardConcrete(
          a, slope: slope.value, offset: offset.value, noise: step?.noise, into: z, rowL0: gateL0)
      }
    }
  }

  /// What the gradient with respect to z is multiplied by on its way to `backward`: where z > 0 says
  /// which pre-activations the code let through, ReLU's derivative at z is the code's; the other
  /// codes want the gradient of z itself.
  var gradientActivation: Activation {
    switch code {
    case .relu, .l1, .topK, .batchTopK: .relu
    case .jumpReLU, .hardConcrete: .identity
    }
  }

  /// From the gradient with respect to z, times the derivative of `gradientActivation` at z, to that
  /// with respect to a, in place, and the gradients of the code's own parameters.
  func backward(
    _ g: B.Floats, preactivations a: B.Floats, code z: B.Floats, step: CodeStep<B>, on backend: B
  ) throws {
    let penalty = step.penalty.view(at: 0, shape: [1])
    let scale = 1 / Float(g.shape[0])
    switch code {
    case .relu, .topK, .batchTopK: break
    case .l1:
      try backend.addL1Gradient(of: z, penalty: penalty, scale: scale, accumulatingInto: g)
    case .jumpReLU:
      guard let thresholdParameter else { return }
      try backend.jumpReLUBackward(
        g, preactivations: a, threshold: thresholdParameter.value, bandwidth: step.bandwidth,
        penalty: penalty, scale: scale, into: g, thresholdGradient: thresholdParameter.gradient)
    case .hardConcrete:
      guard let slope, let offset, let noise = step.noise else { return }
      try backend.hardConcreteBackward(
        g, preactivations: a, slope: slope.value, offset: offset.value, noise: noise,
        penalty: penalty, scale: scale, into: g, slopeGradient: slope.gradient,
        offsetGradient: offset.gradient)
    }
  }
}

extension Code {
  package static let threshold = "code.threshold"
  static let gateSlope = "code.gate_slope"
  static let gateOffset = "code.gate_offset"

  /// The code's own parameters: a threshold for each latent of a JumpReLU, one for all of a
  /// BatchTopK, which is the mean over the batches and not trained; slope and offset of the gates'
  /// ln alpha of a hard concrete code.
  package func parameters(latents: Int) -> [(name: String, shape: Shape)] {
    switch self {
    case .relu, .topK, .l1: []
    case .batchTopK: [(Self.threshold, [1])]
    case .jumpReLU: [(Self.threshold, [latents])]
    case .hardConcrete: [(Self.gateSlope, [latents]), (Self.gateOffset, [latents])]
    }
  }

  /// What a parameter of the code starts from.
  func initialValue(ofParameter name: String) -> Float {
    switch name {
    case Self.threshold: self == .jumpReLU ? 0.1 : 0
    case Self.gateSlope: 2
    default: 0
    }
  }
}
