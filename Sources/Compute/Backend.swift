/// The closed set of operations that every backend implements: the one specification of each.
///
/// Operations are eager in meaning and may be asynchronous in time: they take effect in the order
/// of the calls, and only `download`, `PendingDownload.wait` and `finish` wait for the device.
/// Every output is overwritten unless its name says `accumulating`. No output may share memory with
/// an input or another output unless the operation says so. Sums may be formed in any order that is
/// fixed for the backend and the shape: the same call on the same device gives the same bits.
/// Shapes are checked with `precondition`: a wrong shape is a programmer's error.
package protocol Backend: BackendMemory, CodeOperations, SparseOperations, OptimizerOperations,
  BalanceOperations, ConvolutionOperations, FeatureOperations
{
  /// y_i = value
  func fill(_ y: Floats, with value: Float) throws

  /// C = epilogue(op(A) op(B)), where op is the identity or the transpose:
  /// c_mn = sum over k of op(A)_mk op(B)_kn.
  ///
  /// Shapes: op(A) `[M, K]`, op(B) `[K, N]`, C `[M, N]`; a transposed operand is stored the other
  /// way round. The error of each element before the epilogue is at most
  /// gamma_(K+2) * sum |a||b|, gamma_n = n u / (1 - n u), u = 2^-24.
  func matmul(
    _ a: MatrixOperand<Storage>, _ b: MatrixOperand<Storage>, into c: Floats,
    epilogue: MatmulEpilogue<Storage>) throws

  /// Consecutive dense layers: y_i = f_i(y_(i-1) W_i + b_i), y_0 = x; the same bits as the `matmul`
  /// of each layer with its bias epilogue.
  ///
  /// Shapes: x `[B, n_0]`; of layer i the weight `[n_(i-1), n_i]`, the bias `[n_i]`, the output
  /// `[B, n_i]`.
  func denseForward(_ x: Floats, through layers: [DenseLayer<Storage>]) throws

  /// The way back through consecutive dense layers: d_i = (d_(i-1) W_i^T) * f'_i(y_i), d_0 = delta;
  /// the same bits as the `matmul` of each layer with its derivative epilogue.
  ///
  /// Layers are listed from the last to the first. Shapes: delta `[B, n_0]`; of layer i the weight
  /// `[n_i, n_(i-1)]`, the output y_i of the layer below and the result `[B, n_i]`.
  func denseBackward(_ delta: Floats, through layers: [DenseBackwardLayer<Storage>]) throws

  /// One pass of training over a batch: `denseForward`, `reconstructionLoss` of the last output and
  /// `denseBackward` from the loss's gradient, one after another.
  func densePass(
    _ x: Floats, forward: [DenseLayer<Storage>], loss: ReconstructionLoss<Storage>,
    backward: [DenseBackwardLayer<Storage>]) throws

  /// The gradients of dense layers, independent of each other: dW_i = x_i^T d_i,
  /// db_i = sum of the rows of d_i; the same bits as the `matmul` of each with its column sums.
  ///
  /// Shapes: x_i `[B, m_i]`, d_i `[B, n_i]`, dW_i `[m_i, n_i]`, db_i `[n_i]`.
  func denseGradients(_ layers: [DenseGradient<Storage>]) throws

  /// s_n = sum over m of x_mn: the gradient of a bias that was added to every row.
  ///
  /// Shapes: x `[M, N]`, s `[N]`.
  func columnSums(of x: Floats, into s: Floats) throws

  /// The reconstruction loss, its gradient and the L0 count in one pass.
  ///
  ///     rowError_i  = sum over j of (x_ij - y_ij)^2
  ///     gradient_ij = scale * (y_ij - x_ij) * f'(y_ij)
  ///     rowL0_i     = number of j with z_ij != 0
  ///
  /// where y = f(a) is the output of activation f, so that the gradient is the one with respect to
  /// a. With scale = 2 alpha / B it is the gradient of alpha * mean over i of rowError_i.
  /// A NaN in the code counts as non-zero.
  ///
  /// Shapes: y, x and gradient `[B, D]`; z `[B, L]`; rowError and rowL0 `[B]`.
  /// `gradient` may be `y`.
  func reconstructionLoss(
    reconstruction y: Floats, target x: Floats, activation: Activation, code z: Floats,
    scale: Float, gradient: Floats, rowError: Floats, rowL0: Floats) throws

  /// One step of Adam over a flat arena (Kingma & Ba 2014, algorithm 1):
  ///
  ///     m = beta1 m + (1 - beta1) g;  v = beta2 v + (1 - beta2) g^2
  ///     p = p - stepSize * m / (sqrt(v) * secondMomentScale + epsilon)
  ///
  /// with stepSize = rate / (1 - beta1^t) and secondMomentScale = 1 / sqrt(1 - beta2^t).
  /// Shapes: all the same count. p, m and v are updated in place.
  func adam(
    parameters p: Floats, gradients g: Floats, firstMoment m: Floats, secondMoment v: Floats,
    step: AdamStep) throws

  /// x_ij = scale * pixels[order[start + i], j] + shift - mean_j: a batch formed from the resident
  /// set; without a mean, x_ij = scale * pixels[order[start + i], j] + shift.
  ///
  /// Shapes: pixels `[N, D]`; order any count of at least start + B, every entry below N;
  /// mean `[D]`; x `[B, D]`.
  func gather(
    _ pixels: Bytes, order: Indices, start: Int, scale: Float, shift: Float, mean: Floats?,
    into x: Floats) throws

  /// counts_j += number of i with z_ij != 0: how often each latent fired.
  ///
  /// Shapes: z `[B, L]`, counts `[L]`.
  func countNonzero(_ z: Floats, accumulatingInto counts: Indices) throws
}

/// A matrix as it enters a product.
package struct MatrixOperand<Storage: AnyObject> {
  package let tensor: Tensor<Storage, Float>
  package let isTransposed: Bool

  package init(_ tensor: Tensor<Storage, Float>, transposed: Bool = false) {
    precondition(tensor.shape.rank == 2, "a product needs matrices, not \(tensor.shape)")
    self.tensor = tensor
    self.isTransposed = transposed
  }

  /// Rows and columns after the transposition.
  package var rows: Int { tensor.shape[isTransposed ? 1 : 0] }
  package var columns: Int { tensor.shape[isTransposed ? 0 : 1] }
}

/// What is done to each element of a product before it is stored.
package enum MatmulEpilogue<Storage: AnyObject> {
  case none
  /// c_mn = f(product_mn + bias_n); bias `[N]`.
  case bias(Tensor<Storage, Float>, Activation)
  /// c_mn = product_mn * f'(y_mn), f' from the activation's output y `[M, N]`.
  case derivative(of: Activation, at: Tensor<Storage, Float>)
  /// c_mn = product_mn and s_n = sum over k of op(B)_kn, s `[N]`: with A the layer's input,
  /// transposed, and B the gradient of its output, both gradients of a dense layer at once.
  case columnSums(into: Tensor<Storage, Float>)
}

/// A dense layer y = f(x W + b) on the way forward.
package struct DenseLayer<Storage: AnyObject> {
  package let weight, bias, output: Tensor<Storage, Float>
  package let activation: Activation

  package init(
    weight: Tensor<Storage, Float>, bias: Tensor<Storage, Float>, activation: Activation,
    output: Tensor<Storage, Float>
  ) {
    self.weight = weight
    self.bias = bias
    self.activation = activation
    self.output = output
  }
}

/// A dense layer on the way back: from the gradient of its pre-activations to that of the layer
/// below, whose activation and output are given.
package struct DenseBackwardLayer<Storage: AnyObject> {
  package let weight, below, gradient: Tensor<Storage, Float>
  package let activation: Activation

  package init(
    weight: Tensor<Storage, Float>, activation: Activation, below: Tensor<Storage, Float>,
    gradient: Tensor<Storage, Float>
  ) {
    self.weight = weight
    self.activation = activation
    self.below = below
    self.gradient = gradient
  }
}

/// What `reconstructionLoss` takes besides the reconstruction.
package struct ReconstructionLoss<Storage: AnyObject> {
  package let target, code, gradient, rowError, rowL0: Tensor<Storage, Float>
  package let activation: Activation
  package let scale: Float

  package init(
    target: Tensor<Storage, Float>, activation: Activation, code: Tensor<Storage, Float>,
    scale: Float, gradient: Tensor<Storage, Float>, rowError: Tensor<Storage, Float>,
    rowL0: Tensor<Storage, Float>
  ) {
    self.target = target
    self.activation = activation
    self.code = code
    self.scale = scale
    self.gradient = gradient
    self.rowError = rowError
    self.rowL0 = rowL0
  }
}

/// What the gradients of a dense layer are made of, and where they go.
package struct DenseGradient<Storage: AnyObject> {
  package let input, delta, weightGradient, biasGradient: Tensor<Storage, Float>

  package init(
    input: Tensor<Storage, Float>, delta: Tensor<Storage, Float>,
    weightGradient: Tensor<Storage, Float>, biasGradient: Tensor<Storage, Float>
  ) {
    self.input = input
    self.delta = delta
    self.weightGradient = weightGradient
    self.biasGradient = biasGradient
  }
}

// The dense operations as the products they stand for.
extension Backend {
  package func denseForwardByProducts(
    _ x: Floats, through layers: [DenseLayer<Storage>]
  ) throws {
    var input = x
    for layer in layers {
      try matmul(
        MatrixOperand(input), MatrixOperand(layer.weight), into: layer.output,
        epilogue: .bias(layer.bias, layer.activation))
      input = layer.output
    }
  }

  package func denseBackwardByProducts(
    _ delta: Floats, through layers: [DenseBackwardLayer<Storage>]
  ) throws {
    var input = delta
    for layer in layers {
      try matmul(
        MatrixOperand(input), MatrixOperand(layer.weight, transposed: true), into: layer.gradient,
        epilogue: .derivative(of: layer.activation, at: layer.below))
      input = layer.gradient
    }
  }

  package func densePassByParts(
    _ x: Floats, forward: [DenseLayer<Storage>], loss: ReconstructionLoss<Storage>,
    backward: [DenseBackwardLayer<Storage>]
  ) throws {
    precondition(!forward.isEmpty, "a pass has layers")
    try denseForward(x, through: forward)
    try reconstructionLoss(
      reconstruction: forward[forward.count - 1].output, target: loss.target,
      activation: loss.activation, code: loss.code, scale: loss.scale, gradient: loss.gradient,
      rowError: loss.rowError, rowL0: loss.rowL0)
    try denseBackward(loss.gradient, through: backward)
  }

  package func denseGradientsByProducts(_ layers: [DenseGradient<Storage>]) throws {
    for layer in layers {
      try matmul(
        MatrixOperand(layer.input, transposed: true), MatrixOperand(layer.delta),
        into: layer.weightGradient, epilogue: .columnSums(into: layer.biasGradient))
    }
  }
}

/// The numbers of one Adam step, with the bias corrections worked out in double precision.
package struct AdamStep: Equatable, Sendable {
  package let beta1: Float
  package let beta2: Float
  package let epsilon: Float
  package let stepSize: Float
  package let secondMomentScale: Float

  /// - Parameter step: counted from 1.
  package init(
    step: Int, learningRate: Double, beta1: Double = 0.9, beta2: Double = 0.999,
    epsilon: Double = 1e-8
  ) {
    precondition(step >= 1, "Adam counts its steps from 1")
    self.beta1 = Float(beta1)
    self.beta2 = Float(beta2)
    self.epsilon = Float(epsilon)
    self.stepSize = Float(learningRate / (1 - power(beta1, step)))
    self.secondMomentScale = Float(1 / (1 - power(beta2, step)).squareRoot())
  }
}

/// base^exponent by repeated squaring: the same bits on every platform.
private func power(_ base: Double, _ exponent: Int) -> Double {
  var (result, square, rest) = (1.0, base, exponent)
  while rest > 0 {
    if rest & 1 == 1 { result *= square }
    square *= square
    rest >>= 1
  }
  return result
}
