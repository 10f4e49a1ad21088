/// Arithmetic on codes of which k of L latents are kept: everything but the encoder's product costs
/// k / L of the dense work.
///
/// The rules of `Backend` hold. A sparse code is `indices` and `values`, both `[B, k]`: row i keeps
/// the latents indices_is < L, strictly ascending in s, with the values values_is >= 0; a kept value
/// may be zero, and then it counts as not kept (but 0 times a weight that is not finite may be NaN).
/// Weights have a row of D values for each latent: `[L, D]`.
package protocol SparseOperations: BackendMemory {
  /// `CodeOperations.topK` in sparse form: indices_i are the k largest of row i, ascending, whatever
  /// their sign; values_is = max(a_(i, indices_is), 0), and 0 for NaN.
  ///
  /// Shapes: a `[B, L]`; indices, values `[B, k]`, 1 <= k <= L.
  func sparseTopK(_ a: Floats, indices: Indices, values: Floats) throws

  /// The dense code: z_(i, indices_is) = values_is, 0 elsewhere.
  ///
  /// Shapes: indices, values `[B, k]`; z `[B, L]`.
  func sparseScatter(indices: Indices, values: Floats, into z: Floats) throws

  /// y_i = bias + sum over s of values_is w_(indices_is): the decoder's product.
  ///
  /// Shapes: indices, values `[B, k]`; w `[L, D]`; bias `[D]`; y `[B, D]`.
  func sparseDecode(
    indices: Indices, values: Floats, weight w: Floats, bias: Floats, into y: Floats) throws

  /// From the sparse code to the gradient of its pre-activations, a row's weights read once:
  ///
  ///     y_i           = bias + sum over s of values_is w_(indices_is)
  ///     rowError_i    = ||x_i - y_i||^2
  ///     rowL0_i       = number of s with values_is != 0
  ///     gradient_i    = scale (y_i - x_i)
  ///     codeGradient_is = gradient_i . w_(indices_is) where values_is > 0, 0 elsewhere
  ///
  /// Shapes: indices, values, codeGradient `[B, k]`; w `[L, D]`; bias `[D]`; x, gradient `[B, D]`;
  /// rowError, rowL0 `[B]`.
  func sparsePass(
    indices: Indices, values: Floats, weight w: Floats, bias: Floats, target x: Floats,
    scale: Float, gradient: Floats, codeGradient: Floats, rowError: Floats, rowL0: Floats) throws

  /// Sorts the kept entries by latent. Entry e = i k + s stands for (i, s); those with
  /// values_e > 0 and indices_e = j become entries[offsets_j ..< offsets_(j+1)], ascending.
  /// firings_j += offsets_(j+1) - offsets_j. What lies behind offsets_L in `entries` is unspecified.
  ///
  /// Shapes: indices, values `[B, k]`; offsets `[L + 1]`; entries `[B k]`; firings `[L]`.
  func sparseGroup(
    indices: Indices, values: Floats, offsets: Indices, entries: Indices,
    accumulatingFirings firings: Indices) throws

  /// The gradients of the weights, of active latents alone: for each latent j with entries, over
  /// its entries (i, s) in their order,
  ///
  ///     dD_j = sum of values_is gradient_i;  dE_j = sum of codeGradient_is x_i
  ///     db_j = sum of codeGradient_is
  ///
  /// The rows of latents without entries are left as they are.
  ///
  /// Shapes: as above; x, gradient `[B, D]`; dD, dE `[L, D]`; db `[L]`.
  func sparseGradients(
    _ batch: SparseBatch<Storage>, decoder dD: Floats, encoder dE: Floats, bias db: Floats) throws

  /// `sparseGradients` and, in the same visit of each active latent's rows, the optimizer's step:
  /// where `unitNorm` is set, dD_j loses its component along D_j, dD_j -= (dD_j . D_j) D_j; then
  /// Adam on D_j, E_j and b_j; then, where set, D_j /= ||D_j||, but a row of zeros, or one whose norm
  /// is not finite, is left as Adam made it.
  ///
  /// Latents without entries keep parameters and moments: Adam is lazy in latents.
  /// Shapes: D, E and their moments `[L, D]`; b and its moments `[L]`. Updated in place.
  func sparseUpdate(_ batch: SparseBatch<Storage>, _ state: SparseAdam<Storage>) throws
}

/// A batch's sparse code with what its gradients are made of.
package struct SparseBatch<Storage: AnyObject> {
  package let offsets, entries: Tensor<Storage, UInt32>
  /// `[B, k]`
  package let values, codeGradient: Tensor<Storage, Float>
  /// `[B, D]`: the encoder's input, and the gradient of the reconstruction.
  package let input, gradient: Tensor<Storage, Float>

  package init(
    offsets: Tensor<Storage, UInt32>, entries: Tensor<Storage, UInt32>,
    values: Tensor<Storage, Float>, codeGradient: Tensor<Storage, Float>,
    input: Tensor<Storage, Float>, gradient: Tensor<Storage, Float>
  ) {
    self.offsets = offsets
    self.entries = entries
    self.values = values
    self.codeGradient = codeGradient
    self.input = input
    self.gradient = gradient
  }
}

/// A parameter with Adam's moments of it.
package struct AdamParameter<Storage: AnyObject> {
  package let value, firstMoment, secondMoment: Tensor<Storage, Float>

  package init(
    value: Tensor<Storage, Float>, firstMoment: Tensor<Storage, Float>,
    secondMoment: Tensor<Storage, Float>
  ) {
    precondition(
      value.shape == firstMoment.shape && value.shape == secondMoment.shape, "moments' shapes")
    self.value = value
    self.firstMoment = firstMoment
    self.secondMoment = secondMoment
  }
}

/// What `sparseUpdate` updates and how.
package struct SparseAdam<Storage: AnyObject> {
  package let decoder, encoder, bias: AdamParameter<Storage>
  package let step: AdamStep
  /// The encoder's weight's step: `step` but for its size.
  package let encoderStep: AdamStep
  package let unitNorm: Bool

  package init(
    decoder: AdamParameter<Storage>, encoder: AdamParameter<Storage>, bias: AdamParameter<Storage>,
    step: AdamStep, encoderStep: AdamStep, unitNorm: Bool
  ) {
    precondition(
      step.beta1 == encoderStep.beta1 && step.beta2 == encoderStep.beta2
        && step.epsilon == encoderStep.epsilon
        && step.secondMomentScale == encoderStep.secondMomentScale, "steps of one optimizer")
    self.decoder = decoder
    self.encoder = encoder
    self.bias = bias
    self.step = step
    self.encoderStep = encoderStep
    self.unitNorm = unitNorm
  }
}
