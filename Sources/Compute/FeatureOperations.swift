/// What lies between convolutions: normalisation, pooling, and the loss of a segmentation.
///
/// The rules of `Backend` hold; images are `FeatureMap`s.
package protocol FeatureOperations: BackendMemory {
  /// Batch normalisation in training (Ioffe & Szegedy 2015), with an activation, per channel c over
  /// all M = N H W positions:
  ///
  ///     mean_c      = sum x_c / M;  variance_c = sum (x_c - mean_c)^2 / M
  ///     deviation_c = 1 / sqrt(variance_c + epsilon)
  ///     y_c         = f(scale_c (x_c - mean_c) deviation_c + shift_c)
  ///     runningMean_c     += momentum (mean_c - runningMean_c)
  ///     runningVariance_c += momentum (M / max(M - 1, 1) variance_c - runningVariance_c)
  ///
  /// The variance's error is relative to the variance even where the mean is much larger than the
  /// deviation.
  ///
  /// Shapes: x, y `[N, H, W, C]`, y may be x where no way back is wanted; all statistics and
  /// parameters `[C]`. The running ones are updated in place. f is identity or ReLU.
  func batchNormalise(
    _ x: FeatureMap<Storage>, _ parameters: BatchNormalisation<Storage>, activation: Activation,
    epsilon: Float, momentum: Float, into y: FeatureMap<Storage>) throws

  /// The way back through `batchNormalise`, from the gradient g of y, with h = g f'(y) and
  /// xhat = (x - mean) deviation:
  ///
  ///     dshift_c = sum h_c;  dscale_c = sum h_c xhat_c
  ///     dx_c     = scale_c deviation_c (h_c - (dshift_c + xhat_c dscale_c) / M)
  ///
  /// Shapes: as above. dx may be g or x.
  func batchNormaliseBackward(
    _ g: FeatureMap<Storage>, output y: FeatureMap<Storage>, input x: FeatureMap<Storage>,
    _ parameters: BatchNormalisation<Storage>, activation: Activation, into dx: FeatureMap<Storage>,
    scaleGradient: Floats, shiftGradient: Floats) throws

  /// y_nijc = max over 0 <= u, v < size of x_(n, size i + u, size j + v, c). NaN stays NaN.
  ///
  /// Shapes: x `[N, H, W, C]`, H and W multiples of size; y `[N, H / size, W / size, C]`.
  func maxPool(_ x: FeatureMap<Storage>, size: Int, into y: FeatureMap<Storage>) throws

  /// The way back through `maxPool`: g_nijc goes to the first (u, v) of the window, row by row, that
  /// has the maximum, 0 to the others; to none where y is NaN. Where `accumulating`, it is added to
  /// what dx has.
  ///
  /// Shapes: g, y `[N, H / size, W / size, C]`; x, dx `[N, H, W, C]`.
  func maxPoolBackward(
    _ g: FeatureMap<Storage>, output y: FeatureMap<Storage>, input x: FeatureMap<Storage>,
    size: Int, accumulating: Bool, into dx: FeatureMap<Storage>) throws

  /// p_ic = exp(a_ic - m_i) / sum over c of exp(a_ic - m_i), m_i = max over c of a_ic.
  ///
  /// Shapes: a, p `[P, C]`; p may be a.
  func softmax(_ a: Floats, into p: Floats) throws

  /// The loss of a segmentation from its logits a, and its gradient, over the positions with a
  /// label; p = softmax(a), t_ic = 1 where label_i = c, else 0; a label of `SegmentationLoss.ignored`
  /// or above the classes has no part in anything:
  ///
  ///     W = sum over labelled i of w_(label_i)
  ///     crossEntropy = 1 / W sum over labelled i of -w_(label_i) ln p_(i, label_i)
  ///     overlap_c = sum p_ic t_ic;  total_c = sum p_ic + sum t_ic, over labelled i
  ///     dice = 1 - mean over c of (2 overlap_c + smoothing) / (total_c + smoothing)
  ///     loss = crossEntropyWeight crossEntropy + diceWeight dice
  ///
  /// gradient = d loss / d a, 0 at positions without a label. W = 0 gives a cross-entropy of 0.
  /// figures receives crossEntropy, dice and the number of labelled positions (exact below 2^24).
  /// The soft Dice is Milletari et al.'s (2016) with sums in place of squares, over the batch.
  ///
  /// Shapes: a, gradient `[P, C]`, 2 <= C <= 255; labels `[P]`; w `[C]`; figures `[3]`.
  /// `gradient` may be `a`.
  func segmentationLoss(
    _ a: Floats, labels: Bytes, classWeights w: Floats, settings: SegmentationLoss,
    gradient: Floats, figures: Floats) throws
}

/// The parameters and statistics of a batch normalisation, each `[C]`.
package struct BatchNormalisation<Storage: AnyObject> {
  package let scale, shift: Tensor<Storage, Float>
  /// Of the batch: the mean, and 1 / sqrt(variance + epsilon).
  package let mean, deviation: Tensor<Storage, Float>
  /// Over the batches, for use.
  package let runningMean, runningVariance: Tensor<Storage, Float>

  package init(
    scale: Tensor<Storage, Float>, shift: Tensor<Storage, Float>, mean: Tensor<Storage, Float>,
    deviation: Tensor<Storage, Float>, runningMean: Tensor<Storage, Float>,
    runningVariance: Tensor<Storage, Float>
  ) {
    for tensor in [shift, mean, deviation, runningMean, runningVariance] {
      precondition(tensor.count == scale.count, "\(tensor.shape) for \(scale.count) channels")
    }
    self.scale = scale
    self.shift = shift
    self.mean = mean
    self.deviation = deviation
    self.runningMean = runningMean
    self.runningVariance = runningVariance
  }
}

/// The constants of `segmentationLoss`.
package struct SegmentationLoss: Hashable, Codable, Sendable {
  /// The label of a position that nobody labelled.
  package static let ignored: UInt8 = 255
  /// The numbers of classes for which devices have programs of their own.
  package static let specialClassCounts = 2...4

  /// The name that the list of cases has for an operation on so many classes.
  package static func name(of operation: String, classes: Int) -> String {
    specialClassCounts.contains(classes) ? "\(operation) of \(classes) classes" : operation
  }

  package static let weights: ClosedRange<Float> = 0...1_000_000

  package var crossEntropyWeight: Float
  package var diceWeight: Float
  /// Keeps the Dice of an absent class finite.
  package var smoothing: Float

  package init(crossEntropyWeight: Float = 1, diceWeight: Float = 1, smoothing: Float = 1) {
    self.crossEntropyWeight = crossEntropyWeight
    self.diceWeight = diceWeight
    self.smoothing = smoothing
  }

  /// What is wrong with one that comes from a file, in one line.
  package var problem: String? {
    for (name, weight) in [("cross-entropy", crossEntropyWeight), ("Dice", diceWeight)]
    where !Self.weights.contains(weight) {
      return "a loss with \(weight) of the \(name)"
    }
    return smoothing.isNormal && smoothing > 0 && smoothing <= 1_000_000
      ? nil : "a Dice smoothed by \(smoothing)"
  }
}
