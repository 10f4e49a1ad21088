/// How gradients become steps.
package struct OptimizerConfiguration: Codable, Hashable, Sendable {
  package enum Method: Codable, Hashable, Sendable {
    /// Adam (Kingma & Ba 2014); the defaults are the paper's.
    case adam(beta1: Double = 0.9, beta2: Double = 0.999, epsilon: Double = 1e-8)
    /// Stochastic gradient descent; v = momentum v + g, p = p - rate v.
    case sgd(momentum: Double = 0.9)
  }

  package var method: Method
  /// The norm of all gradients together to which longer ones are cut; none when nil.
  package var gradientLimit: Double?
  /// The decay of the parameters' exponential moving average; none is kept when nil.
  package var averageDecay: Double?

  /// Whether a sparse batch's own rows may be updated without the gradients being formed.
  package var allowsSparseUpdate: Bool {
    if case .adam = method { return gradientLimit == nil }
    return false
  }

  package init(
    _ method: Method = .adam(), gradientLimit: Double? = nil, averageDecay: Double? = nil
  ) {
    self.method = method
    self.gradientLimit = gradientLimit
    self.averageDecay = averageDecay
  }

  /// What is wrong with it, in one line.
  package var problem: String? {
    // In the precision of the devices.
    func isDecay(_ value: Double) -> Bool { value >= 0 && Float(value) < 1 }
    switch method {
    case .adam(let beta1, let beta2, let epsilon):
      for (name, beta) in [("beta1", beta1), ("beta2", beta2)] where !isDecay(beta) {
        return "Adam's \(name) of \(beta) is not within 0 and 1"
      }
      if !(epsilon > 0 && epsilon.isFinite) { return "Adam's epsilon of \(epsilon) is not above 0" }
    case .sgd(let momentum):
      if !isDecay(momentum) { return "a momentum of \(momentum) is not within 0 and 1" }
    }
    if let gradientLimit, !(Float(gradientLimit) > 0 && Float(gradientLimit).isFinite) {
      return "a gradient limit of \(gradientLimit) is not above 0 and finite in single precision"
    }
    if let averageDecay, !isDecay(averageDecay) {
      return "an averaging decay of \(averageDecay) is not within 0 and 1"
    }
    return nil
  }
}
