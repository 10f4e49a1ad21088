/// Convolutions of images (cross-correlations, as everywhere in the field): the products that
/// segmentation is made of.
///
/// The rules of `Backend` hold. Images lie channel by channel within a pixel, `[N, H, W, C]`, and
/// weights as `[kernelHeight, kernelWidth, C, O]`. For a layer of stride s and padding p the input
/// has H x W pixels of C channels and the output H' x W' of O, H' = (H + 2 p - kernelHeight) / s + 1,
/// rounded down, and W' likewise. Entries beyond the input's edge are zeros.
///
/// An output's bits depend on what its taps reach and on whether its row and its column are even, not
/// on where else in the image it lies: an image cut into tiles that begin at even places, with a
/// sufficient halo, gives the same bits as the whole image. Where `allowsMinimalFiltering`, a backend
/// may make outputs by it (Winograd 1980; Lavin and Gray 2016), with rounding errors in proportion to
/// sums over a tile of 2x2 outputs; all others are one chain of fused or unfused multiply-adds over
/// (u, v, c).
package protocol ConvolutionOperations: BackendMemory {
  typealias Map = FeatureMap<Storage>

  /// y_nijo = f(bias_o + sum over u, v, c of x_(n, s i + u - p, s j + v - p, c) w_uvco)
  ///
  /// Shapes: x `[N, H, W, C]`; y `[N, H', W', O]`; bias `[O]` or nil for none.
  func convolution(
    _ x: Map, weight w: Floats, bias: Floats?, activation: Activation,
    geometry: ConvolutionGeometry, into y: Map) throws

  /// The adjoint of the convolution with the same weights, as an operation of its own:
  ///
  ///     y_nabc = f(bias_c + sum over i, j, o and u, v with s i + u - p = a, s j + v - p = b
  ///                         of x_nijo w_uvco)
  ///
  /// With x the gradient of a convolution's output, y is that of its input. As a layer it enlarges
  /// images: stride 2 and a kernel of 2 x 2 double them.
  ///
  /// Shapes: x `[N, H', W', O]`; y `[N, H, W, C]`, H' and W' those of a convolution of y;
  /// bias `[C]` or nil.
  func transposedConvolution(
    _ x: Map, weight w: Floats, bias: Floats?, activation: Activation,
    geometry: ConvolutionGeometry, into y: Map) throws

  /// The gradient of the weights of a convolution of x whose output has the gradient g:
  ///
  ///     dw_uvco = sum over n, i, j of x_(n, s i + u - p, s j + v - p, c) g_nijo
  ///
  /// For a transposed convolution x is the gradient of its output and g its input.
  ///
  /// Shapes: x `[N, H, W, C]`; g `[N, H', W', O]`; dw as the weights.
  func convolutionGradient(
    _ x: Map, _ g: Map, geometry: ConvolutionGeometry, into dw: Floats) throws

  /// s_c = sum over n, i, j of x_nijc: the gradient of a convolution's bias.
  ///
  /// Shapes: x `[N, H, W, C]`; s `[C]`.
  func channelSums(of x: Map, into s: Floats) throws
}

/// How a convolution's kernel moves: the same way down and across.
package struct ConvolutionGeometry: Hashable, Codable, Sendable {
  package let kernelHeight, kernelWidth: Int
  package let stride: Int
  /// Rows and columns of zeros on each side.
  package let padding: Int

  /// - Precondition: kernel and stride are at least 1, padding at least 0.
  package init(kernelHeight: Int, kernelWidth: Int, stride: Int = 1, padding: Int = 0) {
    precondition(
      kernelHeight >= 1 && kernelWidth >= 1 && stride >= 1 && padding >= 0,
      "a kernel of \(kernelHeight)x\(kernelWidth), stride \(stride), padding \(padding)")
    self.kernelHeight = kernelHeight
    self.kernelWidth = kernelWidth
    self.stride = stride
    self.padding = padding
  }

  /// A square kernel.
  package init(kernel: Int, stride: Int = 1, padding: Int = 0) {
    self.init(kernelHeight: kernel, kernelWidth: kernel, stride: stride, padding: padding)
  }

  /// An odd square kernel that keeps the image's size.
  package static func same(_ kernel: Int) -> ConvolutionGeometry {
    precondition(kernel % 2 == 1, "an even kernel of \(kernel) has no middle")
    return ConvolutionGeometry(kernel: kernel, padding: kernel / 2)
  }

  /// H' of an input of `height` rows; 0 or less where the kernel does not fit.
  package func outputHeight(_ height: Int) -> Int {
    let room = height + 2 * padding - kernelHeight
    return room < 0 ? 0 : room / stride + 1
  }

  package func outputWidth(_ width: Int) -> Int {
    let room = width + 2 * padding - kernelWidth
    return room < 0 ? 0 : room / stride + 1
  }

  /// Whether minimal filtering F(2x2, 3x3) may make a convolution from so many channels, its adjoint or
  /// its gradient: from few channels it gains nothing.
  package func allowsMinimalFiltering(from channels: Int) -> Bool {
    kernelHeight == 3 && kernelWidth == 3 && stride == 1 && padding <= 2 && channels % 16 == 0
  }
}

/// The shapes of a convolution between a large image and the small one it becomes, checked once for
/// every backend.
package struct ConvolutionShape: Hashable, Sendable, CustomStringConvertible {
  package let batch: Int
  /// H, W, C: the convolution's input.
  package let height, width, inputs: Int
  /// H', W', O: its output.
  package let outputHeight, outputWidth, outputs: Int
  package let geometry: ConvolutionGeometry

  /// - Precondition: the maps and the weights fit each other.
  package init<S>(
    input x: FeatureMap<S>, output y: FeatureMap<S>, weight w: Tensor<S, Float>,
    geometry: ConvolutionGeometry
  ) {
    self.geometry = geometry
    (batch, height, width, inputs) = (x.batch, x.height, x.width, x.channels)
    (outputHeight, outputWidth, outputs) = (y.height, y.width, y.channels)
    precondition(y.batch == batch, "\(batch) images into \(y.batch)")
    precondition(
      outputHeight == geometry.outputHeight(height) && outputWidth == geometry.outputWidth(width),
      "\(height)x\(width) pixels do not become \(outputHeight)x\(outputWidth)")
    precondition(
      w.shape == [geometry.kernelHeight, geometry.kernelWidth, inputs, outputs],
      "weights of \(w.shape) from \(inputs) to \(outputs) channels")
  }

  /// 2 N H' W' kernelHeight kernelWidth C O, padding counted.
  package var floatingPointOperations: Double {
    2 * Double(batch * outputHeight * outputWidth)
      * Double(geometry.kernelHeight * geometry.kernelWidth) * Double(inputs * outputs)
  }

  package var description: String {
    "\(batch)x\(height)x\(width)x\(inputs) to \(outputs), "
      + "\(geometry.kernelHeight)x\(geometry.kernelWidth)"
      + (geometry.stride > 1 ? " stride \(geometry.stride)" : "")
      + (geometry.padding > 0 ? " padding \(geometry.padding)" : "")
  }
}
