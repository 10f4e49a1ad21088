import Compute
import Foundation
import OpenCLBackend
import ReferenceBackend
import Testing
import Verification

extension FlawedBackend {
  func convolution(
    _ x: Map, weight w: Floats, bias: Floats?, activation: Activation,
    geometry: ConvolutionGeometry, into y: Map
  ) throws {
    try right.convolution(
      x, weight: w, bias: bias, activation: activation, geometry: geometry, into: y)
    try spoil("convolution", y.tensor)
  }
  func transposedConvolution(
    _ x: Map, weight w: Floats, bias: Floats?, activation: Activation,
    geometry: ConvolutionGeometry, into y: Map
  ) throws {
    try right.transposedConvolution(
      x, weight: w, bias: bias, activation: activation, geometry: geometry, into: y)
    try spoil("transposedConvolution", y.tensor)
  }
  func convolutionGradient(
    _ x: Map, _ g: Map, geometry: ConvolutionGeometry, into dw: Floats
  ) throws {
    try right.convolutionGradient(x, g, geometry: geometry, into: dw)
    try spoil("convolutionGradient", dw)
  }
  func channelSums(of x: Map, into s: Floats) throws {
    try right.channelSums(of: x, into: s)
    try spoil("channelSums", s)
  }
}
