/// The code layers: from pre-activations a `[B, L]` to a sparse code z, and back.
///
/// The rules of `Backend` hold. g is the gradient of the loss with respect to z. ReLU, TopK,
/// BatchTopK and L1 share one backward, da = g where z > 0 and 0 elsewhere, which the products'
/// epilogue `.derivative(of: .relu, at: z)` applies: it has no operation of its own. The penalties'
/// weights are read from device memory, where `controlPenalty` keeps them, so that closing the loop
/// never waits for the host.
package protocol CodeOperations: BackendMemory {
  /// TopK (Makhzani & Frey 2013; Gao et al. 2024): z_ij = max(a_ij, 0) where a_ij is among the k
  /// largest of row i, 0 elsewhere. Of equals the lowest index wins, -0 equals 0. NaN counts as
  /// smallest and gives 0.
  ///
  /// Shapes: a, z `[B, L]`, 1 <= k <= L.
  func topK(_ a: Floats, k: Int, into z: Floats) throws

  /// BatchTopK (Bussmann et al. 2024): z_ij = max(a_ij, 0) where a_ij is among the B k largest of
  /// the whole batch, 0 elsewhere; of equals the lowest row, then the lowest index wins. NaN as in
  /// `topK`.
  /// `threshold` receives the smallest positive entry of z, 0 where there is none.
  ///
  /// Shapes: a, z `[B, L]`; threshold `[1]`; 1 <= k <= L.
  func batchTopK(_ a: Floats, k: Int, into z: Floats, threshold: Floats) throws

  /// JumpReLU (Rajamanoharan et al. 2024): z_ij = a_ij where a_ij > theta_j, 0 elsewhere.
  ///
  /// Shapes: a, z `[B, L]`; theta `[L]`, no entry negative.
  func jumpReLU(_ a: Floats, threshold theta: Floats, into z: Floats) throws

  /// JumpReLU's straight-through backward, with K the rectangle: K_ij = 1 where
  /// |a_ij - theta_j| < bandwidth / 2, else 0, and w = penalty_0:
  ///
  ///     da_ij    = g_ij where a_ij > theta_j, 0 elsewhere
  ///     dtheta_j = -1 / bandwidth * sum over i of K_ij (theta_j g_ij + w scale)
  ///
  /// With w scale = beta / B, dtheta is the estimate of the gradient of
  /// reconstruction + beta * mean L0 (equations 11 and 12 of the paper): that of the derivative of
  /// the expected loss by a kernel estimate of the density of a_j at theta_j.
  ///
  /// Shapes: g, a, da `[B, L]`; theta, dtheta `[L]`; penalty `[1]`. `da` may be `g`.
  func jumpReLUBackward(
    _ g: Floats, preactivations a: Floats, threshold theta: Floats, bandwidth: Float,
    penalty: Floats, scale: Float, into da: Floats, thresholdGradient dtheta: Floats) throws

  /// Hard concrete gates (Louizos et al. 2017) on a rectified code:
  ///
  ///     lnAlpha_ij = slope_j a_ij + offset_j
  ///     s_ij       = sigmoid((ln u_ij - ln(1 - u_ij) + lnAlpha_ij) / tau), sigmoid(lnAlpha_ij) in test
  ///     gate_ij    = min(1, max(0, s_ij (zeta - gamma) + gamma))
  ///     z_ij       = max(a_ij, 0) gate_ij
  ///     rowL0_i    = number of j with a_ij > 0 and a gate in test above 0, which is
  ///                  lnAlpha_ij > ln(-gamma / zeta)
  ///
  /// with the constants of `HardConcrete` and u_ij the uniform number that `noise` gives for (i, j),
  /// see `GateNoise`; without noise the gates are those of a test. rowL0 counts the gates of a test
  /// in both cases: it is what a target L0 means.
  ///
  /// Shapes: a, z `[B, L]`; slope, offset `[L]`; rowL0 `[B]`.
  func hardConcrete(
    _ a: Floats, slope: Floats, offset: Floats, noise: GateNoise?, into z: Floats, rowL0: Floats
  ) throws

  /// The gradients of `hardConcrete` with noise plus those of its expected L0, w = penalty_0:
  ///
  ///     w scale * sum over i, j with a_ij > 0 of sigmoid(lnAlpha_ij - tau ln(-gamma / zeta))
  ///
  /// The derivative of the clipped gate is 0 where it is clipped, that of max(a, 0) is 0 at a <= 0,
  /// where the penalty has none either: all gradients get nothing from such an entry.
  ///
  /// Shapes: g, a, da `[B, L]`; slope, offset and their gradients `[L]`; penalty `[1]`.
  /// `da` may be `g`.
  func hardConcreteBackward(
    _ g: Floats, preactivations a: Floats, slope: Floats, offset: Floats, noise: GateNoise,
    penalty: Floats, scale: Float, into da: Floats, slopeGradient: Floats, offsetGradient: Floats)
    throws

  /// The gradient of an L1 penalty on a code that is nowhere negative:
  /// g_ij += penalty_0 scale where z_ij > 0.
  ///
  /// Shapes: z, g `[B, L]`; penalty `[1]`.
  func addL1Gradient(of z: Floats, penalty: Floats, scale: Float, accumulatingInto g: Floats) throws

  /// One step of the closed loop that brings the mean L0 to a target: a proportional-integral
  /// control of the logarithm of a penalty's weight.
  ///
  ///     e        = min(1, max(-1, mean(rowL0) / target - 1))
  ///     control1 = min(upper, max(lower, control1 + integralGain e))
  ///     control0 = exp(control1 + proportionalGain e)
  ///
  /// Shapes: rowL0 `[B]`, B >= 1; control `[2]`: the weight, and the integral. Updated in place.
  func controlPenalty(rowL0: Floats, control: Floats, settings: PenaltyControl) throws
}

/// The constants of `controlPenalty`.
package struct PenaltyControl: Hashable, Sendable {
  package var target: Float
  package var proportionalGain: Float
  package var integralGain: Float
  /// Bounds of the integral: of the logarithm of the weight.
  package var lower: Float
  package var upper: Float

  package init(
    target: Float, proportionalGain: Float, integralGain: Float, lower: Float, upper: Float
  ) {
    self.target = target
    self.proportionalGain = proportionalGain
    self.integralGain = integralGain
    self.lower = lower
    self.upper = upper
  }
}
