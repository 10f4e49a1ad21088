import Compute

/// What a program of a tile must get right before it is used: whole numbers, judged by equality, at
/// sizes that leave a rest of the tile in every direction.
///
/// Widths are the elements that the program moves at once, 1 or 4: of four, tensors start at
/// multiples of four and have whole fours in a row.
package enum TileCases {
  /// Products by a tile of `rows` and `columns` of the result, of which `depth` terms are added at a
  /// time; with all that can be done to the result on its way.
  package static func matmul(
    rows: Int, columns: Int, depth: Int, transposeA: Bool, transposeB: Bool, widthA: Int,
    widthB: Int
  ) -> [any OperationCase] {
    let rest = widthA == 4 || widthB == 4 ? 4 : 5
    func product(_ k: Int, _ epilogue: MatmulCase.Epilogue) -> any OperationCase {
      let shape = MatmulShape(
        m: rows + rest, n: columns + rest, k: k + rest, transposeA: transposeA,
        transposeB: transposeB)
      let product = MatmulCase(shape: shape, epilogue: epilogue, tier: .exact)
      let ragged = [(widthA, "A"), (widthB, "B")].filter { $0.0 == 1 }.map(\.1)
      return rest == 4 ? product.aligned(but: ragged) : product
    }
    return [
      product(depth, .columnSums), product(16, .bias(.relu)), product(16, .derivative(.relu)),
    ]
  }

  /// A convolution and the adjoint of one by a tile of `pixels` and `channels` of the result.
  package static func convolution(
    pixels: Int, channels: Int, sourceWidth: Int, targetWidth: Int
  ) -> [any OperationCase] {
    let few = sourceWidth == 4 ? 20 : 5
    let many = channels + (targetWidth == 4 ? 4 : 5)
    func layer(_ inputs: Int, _ outputs: Int, _ geometry: ConvolutionGeometry) -> ConvolutionLayer {
      ConvolutionLayer(
        batch: 1, height: 9, width: pixels / 8 + 1, inputs: inputs, outputs: outputs,
        geometry: geometry, activation: .relu)
    }
    // An adjoint reads the smaller map and writes the larger one.
    let cases: [any OperationCase] = [
      ConvolutionCase(layer: layer(few, many, .same(3)), tier: .exact),
      TransposedConvolutionCase(
        layer: layer(many, few, ConvolutionGeometry(kernel: 3, stride: 2, padding: 1)),
        tier: .exact),
    ]
    return cases.map(\.aligned)
  }

  /// A convolution's gradient to `outputs` channels.
  package static func convolutionGradient(
    outputs: Int, sourceWidth: Int, gradientWidth: Int
  ) -> [any OperationCase] {
    let layer = ConvolutionLayer(
      batch: 1, height: 9, width: 17, inputs: sourceWidth == 4 ? 20 : 19,
      outputs: gradientWidth == 4 ? outputs : outputs - 3, geometry: .same(3))
    return [ConvolutionGradientCase(layer: layer, tier: .exact).aligned]
  }
}
