/// The layer that makes the code sparse: from the last encoder layer's pre-activations a to z.
///
/// Formulas and sources are those of `CodeOperations`. As text: `relu`, `topk:16`, `batchtopk:16`,
/// `jumprelu`, `hardconcrete`, `l1`; model files hold that text.
package enum Code: Hashable, Sendable {
  /// z = max(a, 0): not sparse by itself.
  case relu
  /// The k largest of each sample.
  case topK(Int)
  /// The B k largest of a batch; in use a JumpReLU with one threshold, learned from the batches.
  case batchTopK(Int)
  /// A learned threshold for each latent.
  case jumpReLU
  /// Stochastic gates with an expected L0 that can be differentiated.
  case hardConcrete
  /// max(a, 0) with a penalty on its sum in place of the count, which is not differentiable.
  case l1

  /// All kinds as they are written, for help texts.
  package static let forms = "relu, topk:K, batchtopk:K, jumprelu, hardconcrete or l1"

  /// K of the codes that have one.
  package var count: Int? {
    switch self {
    case .topK(let k), .batchTopK(let k): k
    default: nil
    }
  }

  /// The same kind with another K.
  package func with(count k: Int) -> Code {
    switch self {
    case .topK: .topK(k)
    case .batchTopK: .batchTopK(k)
    default: self
    }
  }

  /// Whether a penalty of weight beta changes what is learned: TopK and BatchTopK fix L0 by
  /// construction, and ReLU has no gradient of it.
  package var hasPenalty: Bool {
    switch self {
    case .jumpReLU, .hardConcrete, .l1: true
    case .relu, .topK, .batchTopK: false
    }
  }

  /// The operations of the code's layer, by the names that the list of cases has for them.
  package var operations: Set<String> {
    switch self {
    case .relu: []
    case .topK: ["topK"]
    // Its threshold is learned as an average and spread by a product.
    case .batchTopK: ["batchTopK", "jumpReLU", "accumulateAverage", "matmul"]
    case .jumpReLU: ["jumpReLU", "jumpReLUBackward", "clampBelow", "controlPenalty"]
    case .hardConcrete: ["hardConcrete", "hardConcreteBackward", "controlPenalty"]
    case .l1: ["addL1Gradient", "controlPenalty"]
    }
  }

  /// Those of `operations` that a trained code needs.
  package var inferenceOperations: Set<String> {
    switch self {
    case .relu, .l1: []
    case .topK: ["topK"]
    case .batchTopK: ["jumpReLU", "matmul"]
    case .jumpReLU: ["jumpReLU"]
    case .hardConcrete: ["hardConcrete"]
    }
  }

  /// Whether a dense layer's own activation computes the code.
  package var isPlain: Bool { self == .relu || self == .l1 }

  /// - Returns: nil for a text that is none of `forms`.
  package init?(_ text: String) {
    let parts = text.lowercased().split(separator: ":", omittingEmptySubsequences: false)
    switch (parts.first.map(String.init), parts.count) {
    case ("relu", 1): self = .relu
    case ("jumprelu", 1): self = .jumpReLU
    case ("hardconcrete", 1): self = .hardConcrete
    case ("l1", 1): self = .l1
    case ("topk", 2):
      guard let k = Int(parts[1]) else { return nil }
      self = .topK(k)
    case ("batchtopk", 2):
      guard let k = Int(parts[1]) else { return nil }
      self = .batchTopK(k)
    default: return nil
    }
  }

  /// What is wrong with it for a code of `latents` entries, or nil.
  package func problem(latents: Int) -> String? {
    guard let k = count else { return nil }
    if k < 1 { return "\(self) keeps \(k) latents; K is at least 1" }
    if k > latents { return "\(self) keeps more than the \(latents) latents there are" }
    return nil
  }
}

extension Code: CustomStringConvertible {
  package var description: String {
    switch self {
    case .relu: "relu"
    case .topK(let k): "topk:\(k)"
    case .batchTopK(let k): "batchtopk:\(k)"
    case .jumpReLU: "jumprelu"
    case .hardConcrete: "hardconcrete"
    case .l1: "l1"
    }
  }
}

extension Code: Codable {
  package init(from decoder: any Decoder) throws {
    let container = try decoder.singleValueContainer()
    let text = try container.decode(String.self)
    guard let code = Code(text) else {
      throw DecodingError.dataCorruptedError(in: container, debugDescription: "code \(text)")
    }
    self = code
  }

  package func encode(to encoder: any Encoder) throws {
    var container = encoder.singleValueContainer()
    try container.encode(description)
  }
}
