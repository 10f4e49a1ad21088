/// What training does to parameters besides Adam.
///
/// The rules of `Backend` hold.
package protocol OptimizerOperations: BackendMemory {
  /// One step of stochastic gradient descent with momentum, as PyTorch defines it:
  /// v = momentum v + g;  p = p - rate v
  ///
  /// Shapes: all the same count. p and v are updated in place.
  func momentumStep(
    parameters p: Floats, gradients g: Floats, velocity v: Floats, rate: Float, momentum: Float)
    throws

  /// Exponential moving average: average = decay average + (1 - decay) p
  ///
  /// Shapes: the same count. `average` is updated in place.
  func accumulateAverage(of p: Floats, decay: Float, into average: Floats) throws

  /// Clipping by the global norm (Pascanu et al. 2013): g *= min(1, limit / ||g||), ||g|| over all
  /// of g; norm receives ||g|| from before. Where the sum of squares is NaN or overflows single
  /// precision, norm is NaN or infinite and g is left as it is, for the caller to see.
  ///
  /// Shapes: g any; norm `[1]`; limit > 0. g is updated in place.
  func clipNorm(of g: Floats, limit: Float, norm: Floats) throws

  /// p_i = max(p_i, bound), in place; NaN stays.
  func clampBelow(_ p: Floats, bound: Float) throws

  /// w_j /= ||w_j|| for every row. A row whose sum of squares is not a normal finite number in
  /// single precision is left as it is: zeros, norms below 2^-63 or above 2^64, infinities, NaN.
  ///
  /// Shapes: w `[L, D]`, updated in place.
  func normaliseRows(_ w: Floats) throws

  /// g_j -= (g_j . w_j) w_j for every row: what is left moves a row of unit norm along its sphere.
  ///
  /// Shapes: g, w `[L, D]`; g is updated in place.
  func projectRows(_ g: Floats, orthogonalTo w: Floats) throws

  /// The gradient of the contractive penalty (Rifai et al. 2011) of a layer whose unit j has weights
  /// w_j and is active, with slope one, for n_j of the batch's samples:
  /// lambda / B sum over j of n_j ||w_j||^2, so g_j += scale n_j w_j with scale = 2 lambda / B;
  /// penalty receives sum over j of n_j ||w_j||^2.
  ///
  /// Unit j's weights are row j of w where `unitsAreRows`, else column j.
  /// Shapes: z `[B, L]`, from whose non-zero entries n is counted; w, g `[L, D]` or `[D, L]`;
  /// penalty `[1]`. g is added to in place.
  func addContractiveGradient(
    code z: Floats, weight w: Floats, unitsAreRows: Bool, scale: Float, accumulatingInto g: Floats,
    penalty: Floats) throws
}
