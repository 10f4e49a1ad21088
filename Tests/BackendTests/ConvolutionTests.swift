import Compute
import Foundation
import OpenCLBackend
import ReferenceBackend
import TestSupport
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

/// What the case list cannot hold: how the operations hang together.
@Suite(.usesDevice) struct ConvolutionTests {
  private static let layers: [(height: Int, width: Int, ConvolutionGeometry)] = [
    (7, 9, .same(3)), (8, 6, ConvolutionGeometry(kernel: 2, stride: 2)),
    (9, 13, ConvolutionGeometry(kernelHeight: 5, kernelWidth: 3, stride: 3, padding: 2)),
    (6, 7, ConvolutionGeometry(kernel: 1, stride: 2, padding: 1)), (1, 40, .same(7)),
  ]
  private static let (inputs, outputs) = (5, 18)

  private func onEveryBackend(_ body: (any Backend) throws -> Void) throws {
    try body(ReferenceBackend(threads: 2))
    guard let device = try TestDevice.find() else { return }
    for family in DeviceFamily.allCases {
      try body(OpenCLBackend(device: device, family: family, tuning: .rule))
    }
  }

  /// Whole numbers, small enough that everything below is exact.
  private func whole<B: Backend>(_ shape: Shape, _ seed: Int, on backend: B) throws -> B.Floats {
    let tensor = try backend.allocate(shape, of: Float.self)
    try backend.upload(
      (0..<shape.count).map { Float(($0 * 7919 + seed * 104_729) % 1009 % 9 - 4) }, into: tensor)
    return tensor
  }

  private func dot<B: Backend>(_ a: B.Floats, _ b: B.Floats, on backend: B) throws -> Double {
    zip(try backend.download(a), try backend.download(b)).reduce(0) {
      $0 + Double($1.0) * Double($1.1)
    }
  }

  /// <conv(x, w), g> = <x, transposed(g, w)> = <w, gradient(x, g)>, in whole numbers.
  @Test func theThreeAreAdjoint() throws {
    func check<B: Backend>(_ backend: B) throws {
      for (height, width, geometry) in Self.layers {
        let (small, wide) = (geometry.outputHeight(height), geometry.outputWidth(width))
        let x = try whole([2, height, width, Self.inputs], 1, on: backend)
        let g = try whole([2, small, wide, Self.outputs], 2, on: backend)
        let w = try whole(
          [geometry.kernelHeight, geometry.kernelWidth, Self.inputs, Self.outputs], 3, on: backend)
        let (y, dx, dw) = (
          try backend.allocate(g.shape, of: Float.self),
          try backend.allocate(x.shape, of: Float.self),
          try backend.allocate(w.shape, of: Float.self)
        )
        try backend.convolution(
          FeatureMap(x), weight: w, bias: nil, activation: .identity, geometry: geometry,
          into: FeatureMap(y))
        try backend.transposedConvolution(
          FeatureMap(g), weight: w, bias: nil, activation: .identity, geometry: geometry,
          into: FeatureMap(dx))
        try backend.convolutionGradient(
          FeatureMap(x), FeatureMap(g), geometry: geometry, into: dw)
        let product = try dot(y, g, on: backend)
        #expect(try dot(x, dx, on: backend) == product, "\(backend.name) \(geometry)")
        #expect(try dot(w, dw, on: backend) == product, "\(backend.name) \(geometry)")
      }
    }
    try onEveryBackend { try check($0) }
  }

  /// On GPUs the choice of a tile never changes a bit, and every tile does every shape.
  @Test func tilesAgreeToTheBit() throws {
    guard let device = try TestDevice.find() else { return }
    let backend = try OpenCLBackend(device: device, family: .gpu, tuning: .rule)
    let reference = ReferenceBackend(threads: 2)
    // Channels that are moved four at a time, and channels that are not.
    for (inputs, outputs) in [(20, 36), (5, 18)] {
      for geometry in [ConvolutionGeometry.same(3), ConvolutionGeometry(kernel: 2, stride: 2)] {
        func results<B: Backend>(_ backend: B) throws -> [[Float]] {
          let x = try backend.filled([2, 11, 13, inputs], seed: 1)
          let g = try backend.filled(
            [2, geometry.outputHeight(11), geometry.outputWidth(13), outputs], seed: 2)
          let w = try backend.filled(
            [geometry.kernelHeight, geometry.kernelWidth, inputs, outputs], seed: 3)
          let (y, dx) = (
            try backend.allocate(g.shape, of: Float.self),
            try backend.allocate(x.shape, of: Float.self)
          )
          try backend.convolution(
            FeatureMap(x), weight: w, bias: nil, activation: .relu, geometry: geometry,
            into: FeatureMap(y))
          try backend.transposedConvolution(
            FeatureMap(g), weight: w, bias: nil, activation: .identity, geometry: geometry,
            into: FeatureMap(dx))
          return [try backend.download(y), try backend.download(dx)]
        }
        let expected = try results(reference)
        var first: [[Float]]?
        for tile in ConvolutionTile.all {
          backend.convolutionTile = tile
          let got = try results(backend)
          #expect(got == first ?? got, "\(tile), \(inputs) to \(outputs) channels, \(geometry)")
          for (a, b) in zip(got.joined(), expected.joined()) where abs(a - b) > 1e-4 {
            Issue.record("\(tile): \(a) for \(b), \(inputs) to \(outputs) channels, \(geometry)")
            break
          }
          first = first ?? got
        }
      }
    }
  }

  /// The gradients are those of E = sum of r tanh(conv(x, w) + b), by differences of E.
  @Test func gradientsAgreeWithDifferences() throws {
    let backend = ReferenceBackend()
    for (height, width, geometry) in Self.layers {
      let (small, wide) = (geometry.outputHeight(height), geometry.outputWidth(width))
      let x = try backend.filled([2, height, width, Self.inputs], seed: 1)
      let w = try backend.filled(
        [geometry.kernelHeight, geometry.kernelWidth, Self.inputs, Self.outputs], seed: 2)
      let bias = try backend.filled([Self.outputs], seed: 3)
      let r = try backend.filled([2, small, wide, Self.outputs], seed: 4)
      let y = try backend.allocate(r.shape, of: Float.self)
      func error() throws -> Double {
        try backend.convolution(
          FeatureMap(x), weight: w, bias: bias, activation: .tanh, geometry: geometry,
          into: FeatureMap(y))
        return try dot(y, r, on: backend)
      }
      _ = try error()
      let slopes = zip(try backend.download(r), try backend.download(y)).map { $0 * (1 - $1 * $1) }
      let g = try backend.allocate(r.shape, of: Float.self)
      try backend.upload(slopes, into: g)
      let (dx, dw, db) = (
        try backend.allocate(x.shape, of: Float.self),
        try backend.allocate(w.shape, of: Float.self),
        try backend.allocate(bias.shape, of: Float.self)
      )
      try backend.transposedConvolution(
        FeatureMap(g), weight: w, bias: nil, activation: .identity, geometry: geometry,
        into: FeatureMap(dx))
      try backend.convolutionGradient(FeatureMap(x), FeatureMap(g), geometry: geometry, into: dw)
      try backend.channelSums(of: FeatureMap(g), into: db)
      for (parameter, gradient, name) in [(x, dx, "x"), (w, dw, "w"), (bias, db, "bias")] {
        let values = try backend.download(parameter)
        let direction = try backend.download(backend.filled(parameter.shape, seed: 5))
        let wanted = zip(direction, try backend.download(gradient)).reduce(0.0) {
          $0 + Double($1.0) * Double($1.1)
        }
        let h: Float = 1e-3
        try backend.upload(zip(values, direction).map { $0 + h * $1 }, into: parameter)
        let above = try error()
        try backend.upload(zip(values, direction).map { $0 - h * $1 }, into: parameter)
        let below = try error()
        try backend.upload(values, into: parameter)
        let found = (above - below) / (2 * Double(h))
        #expect(abs(found - wanted) < 0.01 * (1 + abs(wanted)), "\(name) of \(geometry)")
      }
    }
  }

  /// Two layers on a crop with a halo of two pixels give the very bits that they give on the image.
  @Test func cropsWithAHaloGiveTheSameBits() throws {
    func check<B: Backend>(_ backend: B) throws {
      let (height, width, channels) = (23, 41, 3)
      let image = try backend.download(backend.filled([height, width, channels], seed: 1))
      let first = try backend.filled([3, 3, channels, 17], seed: 2)
      let second = try backend.filled([3, 3, 17, 2], seed: 3)
      let (bias, other) = (
        try backend.filled([17], seed: 4), try backend.filled([2], seed: 5)
      )
      func run(_ rows: Range<Int>, _ columns: Range<Int>) throws -> [Float] {
        let crop = rows.flatMap { row in
          columns.flatMap { column in
            image[(row * width + column) * channels..<(row * width + column + 1) * channels]
          }
        }
        let x = try backend.allocate([1, rows.count, columns.count, channels], of: Float.self)
        try backend.upload(crop, into: x)
        let middle = try backend.allocate([1, rows.count, columns.count, 17], of: Float.self)
        let y = try backend.allocate([1, rows.count, columns.count, 2], of: Float.self)
        try backend.convolution(
          FeatureMap(x), weight: first, bias: bias, activation: .relu, geometry: .same(3),
          into: FeatureMap(middle))
        try backend.convolution(
          FeatureMap(middle), weight: second, bias: other, activation: .tanh, geometry: .same(3),
          into: FeatureMap(y))
        return try backend.download(y)
      }
      let all = try run(0..<height, 0..<width)
      for (rows, columns) in [
        (0..<9, 0..<8), (3..<20, 5..<41), (10..<23, 7..<30), (6..<11, 11..<18), (0..<23, 1..<40),
      ] {
        let part = try run(rows, columns)
        for row in rows where row - 2 >= rows.lowerBound || row == 0 || rows.lowerBound == 0 {
          guard row + 2 < rows.upperBound || rows.upperBound == height else { continue }
          for column in columns {
            guard column - 2 >= columns.lowerBound || columns.lowerBound == 0,
              column + 2 < columns.upperBound || columns.upperBound == width
            else { continue }
            for channel in 0..<2 {
              let own =
                part[
                  ((row - rows.lowerBound) * columns.count + column - columns.lowerBound) * 2
                    + channel]
              let wanted = all[(row * width + column) * 2 + channel]
              #expect(own.bitPattern == wanted.bitPattern, "\(backend.name) at \(row), \(column)")
            }
          }
        }
      }
    }
    try onEveryBackend { try check($0) }
  }

  /// Threads and tickets divide the work; they change no bit.
  @Test func sameCallsGiveTheSameBits() throws {
    func gradient<B: Backend>(_ backend: B) throws -> [Float] {
      let x = try backend.filled([2, 50, 40, 7], seed: 1)
      let g = try backend.filled([2, 50, 40, 17], seed: 2)
      let dw = try backend.allocate([3, 3, 7, 17], of: Float.self)
      let s = try backend.allocate([17], of: Float.self)
      try backend.convolutionGradient(FeatureMap(x), FeatureMap(g), geometry: .same(3), into: dw)
      try backend.channelSums(of: FeatureMap(g), into: s)
      return try backend.download(dw) + backend.download(s)
    }
    #expect(
      try gradient(ReferenceBackend(threads: 1)) == gradient(ReferenceBackend(threads: 3)))
    try onEveryBackend { backend in
      let first = try gradient(backend)
      for _ in 0..<5 { #expect(try gradient(backend) == first) }
    }
  }

  @Test(arguments: [
    "convolution", "transposedConvolution", "convolutionGradient", "channelSums",
  ])
  func aCheckedBackendFindsAWrongResult(operation: String) throws {
    func run<B: Backend>(_ backend: B) throws {
      let geometry = ConvolutionGeometry(kernel: 2, stride: 2)
      // A layer writes into channels of a tensor whose others nobody has written.
      let wide = FeatureMap(try backend.allocate([1, 4, 6, 7], of: Float.self), channels: 4..<7)
      let x = try backend.filled([1, 2, 3, 5], seed: 1)
      let w = try backend.filled([2, 2, 3, 5], seed: 2)
      let bias = try backend.filled([3], seed: 3)
      try backend.transposedConvolution(
        FeatureMap(x), weight: w, bias: bias, activation: .relu, geometry: geometry, into: wide)
      let y = try backend.allocate([1, 2, 3, 5], of: Float.self)
      try backend.convolution(
        wide, weight: w, bias: nil, activation: .identity, geometry: geometry, into: FeatureMap(y))
      let dw = try backend.allocate([2, 2, 3, 5], of: Float.self)
      try backend.convolutionGradient(wide, FeatureMap(x), geometry: geometry, into: dw)
      try backend.channelSums(of: wide, into: bias)
    }
    try run(CheckedBackend(device: ReferenceBackend(), oracle: ReferenceBackend()))
    let checked = CheckedBackend(
      device: FlawedBackend(flaw: operation), oracle: ReferenceBackend())
    let error = #expect(throws: BackendError.self) { try run(checked) }
    #expect("\(try #require(error))".contains(operation))
  }
}
