/// An elementwise nonlinearity whose derivative is a function of its output `y`.
package enum Activation: String, Codable, CaseIterable, Sendable {
  /// y = x; dy/dx = 1
  case identity
  /// y = max(x, 0); dy/dx = 1 where y > 0, else 0. NaN stays NaN.
  case relu
  /// y = 1 / (1 + exp(-x)); dy/dx = y (1 - y)
  case sigmoid
  /// y = tanh(x); dy/dx = 1 - y^2
  case tanh

  /// The number by which the kernels know it (`Kernels/activation.cl`).
  package var code: Int32 {
    switch self {
    case .identity: 0
    case .relu: 1
    case .sigmoid: 2
    case .tanh: 3
    }
  }

  /// The largest slope: what an error of the argument is multiplied by at most.
  package var lipschitzConstant: Double { self == .sigmoid ? 0.25 : 1 }
}
