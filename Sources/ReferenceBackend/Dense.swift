import Compute

extension ReferenceBackend {
  package func denseForward(_ x: Floats, through layers: [DenseLayer<Storage>]) throws {
    try denseForwardByProducts(x, through: layers)
  }

  package func denseBackward(
    _ delta: Floats, through layers: [DenseBackwardLayer<Storage>]
  ) throws {
    try denseBackwardByProducts(delta, through: layers)
  }

  package func denseGradients(_ layers: [DenseGradient<Storage>]) throws {
    try denseGradientsByProducts(layers)
  }
}
