import Compute
import Foundation
import OpenCLBackend
import ReferenceBackend
import TestSupport
import Testing
import Verification

@Suite(.usesDevice) struct FeatureTests {
  // MARK: Normalisation

  /// Statistics far from 0: by plain sums of squares nothing would be left of the variance.
  @Test func statisticsAreAccurateFarFromZero() throws {
    try onEveryBackend { backend in
      func check<B: Backend>(_ backend: B) throws {
        let (positions, channels) = (2 * 61 * 67, 19)
        let noise = try backend.download(backend.filled([positions * channels], seed: 3))
        // The deviation of a uniform number on [-1, 1) is 1 / sqrt(3).
        let values = noise.map { 1000 + 0.1 * Float(3).squareRoot() * $0 }
        let layer = try Layer(on: backend, channels: channels)
        let x = FeatureMap(try backend.allocate([2, 61, 67, channels], of: Float.self))
        let y = FeatureMap(try backend.allocate([2, 61, 67, channels], of: Float.self))
        try backend.upload(values, into: x.tensor)
        try backend.batchNormalise(
          x, layer.parameters, activation: .identity, epsilon: 1e-9, momentum: 1, into: y)
        let mean = try backend.download(layer.parameters.mean)
        let deviation = try backend.download(layer.parameters.deviation)
        let variance = try backend.download(layer.parameters.runningVariance)
        let output = try backend.download(y.tensor)
        for c in 0..<channels {
          let column = stride(from: c, to: values.count, by: channels).map { Double(values[$0]) }
          let average = column.reduce(0, +) / Double(positions)
          let square = column.reduce(0) { $0 + ($1 - average) * ($1 - average) }
          let wanted = square / Double(positions)
          #expect(abs(Double(mean[c]) - average) < 4e-5, "\(backend.name)")
          #expect(abs(Double(deviation[c]) * wanted.squareRoot() - 1) < 2e-6, "\(backend.name)")
          #expect(
            abs(Double(variance[c]) * Double(positions - 1) / square - 1) < 4e-6,
            "\(backend.name)")
          // What is normalised has deviation 1; its mean is off by the rounding of a mean of 1000.
          let normal = stride(from: c, to: values.count, by: channels).map { Double(output[$0]) }
          let power = normal.reduce(0) { $0 + $1 * $1 } / Double(positions)
          #expect(abs(normal.reduce(0, +) / Double(positions)) < 4e-4, "\(backend.name)")
          #expect(abs(power - 1) < 1e-5, "\(backend.name)")
        }
      }
      try check(backend)
    }
  }

  private struct Layer<B: Backend> {
    let parameters: BatchNormalisation<B.Storage>
    let dscale, dshift: B.Floats

    /// Scale 1, shift 0.
    init(on backend: B, channels: Int) throws {
      func vector(_ value: Float) throws -> B.Floats {
        let tensor = try backend.allocate([channels], of: Float.self)
        try backend.fill(tensor, with: value)
        return tensor
      }
      parameters = BatchNormalisation(
        scale: try vector(1), shift: try vector(0), mean: try vector(.nan),
        deviation: try vector(.nan), runningMean: try vector(0), runningVariance: try vector(1))
      (dscale, dshift) = (try vector(.nan), try vector(.nan))
    }
  }

  /// A weighted sum of a normalised map, in double precision.
  private struct NormalisedSum {
    let channels = 3
    let epsilon = 0.0625
    var x, scale, shift, weights: [Double]
    let activation: Activation

    init(activation: Activation) {
      x = wave(2 * 3 * 5 * 3, 1)
      scale = wave(3, 2).map { $0 + 1.5 }
      shift = wave(3, 3).map { $0 / 4 }
      weights = wave(x.count, 4)
      self.activation = activation
    }

    var preactivations: [Double] {
      var result = x
      let count = Double(x.count / channels)
      for c in 0..<channels {
        let places = stride(from: c, to: x.count, by: channels)
        let mean = places.reduce(0) { $0 + x[$1] } / count
        let variance = places.reduce(0) { $0 + (x[$1] - mean) * (x[$1] - mean) } / count
        for i in places {
          result[i] = scale[c] * (x[i] - mean) / (variance + epsilon).squareRoot() + shift[c]
        }
      }
      return result
    }

    var value: Double {
      zip(preactivations, weights).reduce(0) {
        $0 + $1.1 * (activation == .relu ? max(0, $1.0) : $1.0)
      }
    }
  }

  @Test(arguments: [Activation.identity, .relu])
  func normalisationsGradientIsThatOfItsOutput(activation: Activation) throws {
    let sum = NormalisedSum(activation: activation)
    // Far from the kink.
    #expect(sum.preactivations.allSatisfy { abs($0) > 1e-4 })
    let step = 1e-5
    func slopes(_ path: WritableKeyPath<NormalisedSum, [Double]>) -> [Double] {
      sum[keyPath: path].indices.map { i in
        var (below, above) = (sum, sum)
        below[keyPath: path][i] -= step
        above[keyPath: path][i] += step
        return (above.value - below.value) / (2 * step)
      }
    }
    let wanted = [slopes(\.x), slopes(\.scale), slopes(\.shift)]
    try onEveryBackend { backend in
      func check<B: Backend>(_ backend: B) throws {
        let layer = try Layer(on: backend, channels: 3)
        func map(_ values: [Double]) throws -> FeatureMap<B.Storage> {
          let tensor = try backend.allocate([2, 3, 5, 3], of: Float.self)
          try backend.upload(values.map { Float($0) }, into: tensor)
          return FeatureMap(tensor)
        }
        try backend.upload(sum.scale.map { Float($0) }, into: layer.parameters.scale)
        try backend.upload(sum.shift.map { Float($0) }, into: layer.parameters.shift)
        let (x, y, g) = (try map(sum.x), try map(sum.x), try map(sum.weights))
        try backend.batchNormalise(
          x, layer.parameters, activation: activation, epsilon: Float(sum.epsilon), momentum: 0.1,
          into: y)
        try backend.batchNormaliseBackward(
          g, output: y, input: x, layer.parameters, activation: activation, into: g,
          scaleGradient: layer.dscale, shiftGradient: layer.dshift)
        let got = try [g.tensor, layer.dscale, layer.dshift].map(backend.download)
        for (values, slopes) in zip(got, wanted) {
          for (value, slope) in zip(values, slopes) {
            #expect(abs(Double(value) - slope) < 2e-6, "\(backend.name)")
          }
        }
      }
      try check(backend)
    }
  }

  // MARK: Loss

  /// A segmentation's loss in double precision, from its formula.
  private struct Loss {
    let classes = 3
    var a: [Double]
    let labels: [UInt8]
    let weights = [0.5, 1, 2]
    let settings: SegmentationLoss

    init(settings: SegmentationLoss) {
      self.settings = settings
      a = wave(21 * 3, 5).map { $0 * 2 }
      labels = (0..<21).map { (i: Int) -> UInt8 in
        i % 6 == 4 ? SegmentationLoss.ignored : UInt8(i * i % 3)
      }
    }

    var value: Double {
      var (weight, entropy) = (0.0, 0.0)
      var (overlap, total) = ([0.0, 0, 0], [0.0, 0, 0])
      for (i, label) in labels.enumerated() where label < 3 {
        let powers = a[i * 3..<i * 3 + 3].map { exp($0) }
        let p = powers.map { $0 / powers.reduce(0, +) }
        weight += weights[Int(label)]
        entropy -= weights[Int(label)] * log(p[Int(label)])
        overlap[Int(label)] += p[Int(label)]
        total[Int(label)] += 1
        for c in 0..<3 { total[c] += p[c] }
      }
      let smoothing = Double(settings.smoothing)
      let ratios = (0..<3).map { (2 * overlap[$0] + smoothing) / (total[$0] + smoothing) }
      return Double(settings.crossEntropyWeight) * entropy / weight
        + Double(settings.diceWeight) * (1 - ratios.reduce(0, +) / 3)
    }
  }

  @Test(arguments: [
    SegmentationLoss(), SegmentationLoss(crossEntropyWeight: 0, diceWeight: 2, smoothing: 0.25),
    SegmentationLoss(crossEntropyWeight: 3, diceWeight: 0),
  ])
  func lossesGradientIsThatOfTheLoss(settings: SegmentationLoss) throws {
    let loss = Loss(settings: settings)
    let step = 1e-5
    let wanted = loss.a.indices.map { i in
      var (below, above) = (loss, loss)
      below.a[i] -= step
      above.a[i] += step
      return (above.value - below.value) / (2 * step)
    }
    try onEveryBackend { backend in
      func check<B: Backend>(_ backend: B) throws {
        let a = try backend.allocate([21, 3], of: Float.self)
        let gradient = try backend.allocate([21, 3], of: Float.self)
        let labels = try backend.allocate([21], of: UInt8.self)
        let weights = try backend.allocate([3], of: Float.self)
        let figures = try backend.allocate([3], of: Float.self)
        try backend.upload(loss.a.map { Float($0) }, into: a)
        try backend.upload(loss.labels, into: labels)
        try backend.upload(loss.weights.map { Float($0) }, into: weights)
        try backend.segmentationLoss(
          a, labels: labels, classWeights: weights, settings: settings, gradient: gradient,
          figures: figures)
        let parts = try backend.download(figures)
        let value =
          settings.crossEntropyWeight * parts[0] + settings.diceWeight * parts[1]
        #expect(abs(Double(value) - loss.value) < 1e-6, "\(backend.name)")
        for (got, slope) in zip(try backend.download(gradient), wanted) {
          #expect(abs(Double(got) - slope) < 1e-7, "\(backend.name)")
        }
      }
      try check(backend)
    }
  }

  // MARK: Bits

  /// Sums over bands that many work-items take do not depend on which took which, or when.
  @Test func sameCallsGiveTheSameBits() throws {
    try onEveryBackend { backend in
      func run<B: Backend>(on backend: B) throws -> [UInt32] {
        let layer = try Layer(on: backend, channels: 21)
        let x = FeatureMap(try backend.filled([3, 41, 37, 21], seed: 1))
        let y = FeatureMap(try backend.filled([3, 41, 37, 21], seed: 2))
        let g = FeatureMap(try backend.filled([3, 41, 37, 21], seed: 3))
        try backend.batchNormalise(
          x, layer.parameters, activation: .relu, epsilon: 1e-5, momentum: 0.1, into: y)
        try backend.batchNormaliseBackward(
          g, output: y, input: x, layer.parameters, activation: .relu, into: g,
          scaleGradient: layer.dscale, shiftGradient: layer.dshift)
        let labels = try backend.allocate([3 * 41 * 37], of: UInt8.self)
        try backend.upload((0..<labels.count).map { UInt8($0 % 22) }, into: labels)
        let figures = try backend.allocate([3], of: Float.self)
        try backend.segmentationLoss(
          y.matrix, labels: labels, classWeights: layer.parameters.runningVariance,
          settings: SegmentationLoss(), gradient: x.matrix, figures: figures)
        return try [g.tensor, x.tensor, layer.dscale, figures, layer.parameters.deviation].flatMap {
          try backend.download($0).map(\.bitPattern)
        }
      }
      let first = try run(on: backend)
      for _ in 0..<3 { #expect(try run(on: backend) == first, "\(backend.name)") }
    }
  }

  @Test func threadsDoNotChangeBits() throws {
    func run(threads: Int) throws -> [Float] {
      let backend = ReferenceBackend(threads: threads)
      let layer = try Layer(on: backend, channels: 21)
      let x = FeatureMap(try backend.filled([3, 11, 13, 21], seed: 1))
      let y = FeatureMap(try backend.filled([3, 11, 13, 21], seed: 2))
      try backend.batchNormalise(
        x, layer.parameters, activation: .relu, epsilon: 1e-5, momentum: 0.1, into: y)
      try backend.batchNormaliseBackward(
        x, output: y, input: x, layer.parameters, activation: .relu, into: x,
        scaleGradient: layer.dscale, shiftGradient: layer.dshift)
      return try backend.download(x.tensor) + backend.download(layer.dscale)
    }
    #expect(try run(threads: 1) == run(threads: 5))
  }

  // MARK: Checking

  private static let operations = [
    "batchNormalise", "batchNormaliseBackward", "maxPool", "maxPoolBackward", "softmax",
    "segmentationLoss",
  ]

  private func everyOperation<B: Backend>(on backend: B) throws {
    let wide = try backend.filled([2, 4, 6, 7], seed: 1)
    let x = FeatureMap(wide, channels: 1..<4)
    // Written to beside x, as where a skip is concatenated.
    let y = FeatureMap(wide, channels: 4..<7)
    let g = FeatureMap(try backend.filled([2, 4, 6, 3], seed: 2))
    let layer = try Layer(on: backend, channels: 3)
    try backend.batchNormalise(
      x, layer.parameters, activation: .relu, epsilon: 1e-5, momentum: 0.1, into: y)
    let small = FeatureMap(try backend.filled([2, 2, 3, 4], seed: 3), channels: 1..<4)
    let slope = FeatureMap(try backend.filled([2, 2, 3, 3], seed: 4))
    try backend.maxPool(y, size: 2, into: small)
    try backend.maxPoolBackward(
      slope, output: small, input: y, size: 2, accumulating: true, into: g)
    try backend.batchNormaliseBackward(
      g, output: y, input: x, layer.parameters, activation: .relu, into: x,
      scaleGradient: layer.dscale, shiftGradient: layer.dshift)
    let p = try backend.filled([48, 3], seed: 5)
    try backend.softmax(g.matrix, into: p)
    let labels = try backend.allocate([48], of: UInt8.self)
    try backend.upload((0..<48).map { UInt8($0 % 5) }, into: labels)
    let figures = try backend.allocate([3], of: Float.self)
    try backend.segmentationLoss(
      g.matrix, labels: labels, classWeights: layer.parameters.runningVariance,
      settings: SegmentationLoss(), gradient: g.matrix, figures: figures)
  }

  @Test func twoRightBackendsAgree() throws {
    let checked = CheckedBackend(
      device: ReferenceBackend(threads: 1), oracle: ReferenceBackend(threads: 2))
    try everyOperation(on: checked)
    #expect(Set(Self.operations).isSubset(of: checked.comparisons.map(\.operation)))
  }

  /// And a device that is right, by both layouts.
  @Test(arguments: DeviceFamily.allCases) func theDeviceAgrees(family: DeviceFamily) throws {
    guard let device = try TestDevice.find() else { return }
    try everyOperation(
      on: CheckedBackend(
        device: try OpenCLBackend(device: device, family: family, tuning: .rule),
        oracle: ReferenceBackend()))
  }

  @Test(arguments: operations) func aWrongOperationIsNamed(operation: String) throws {
    let checked = CheckedBackend(
      device: FlawedBackend(flaw: operation), oracle: ReferenceBackend())
    let error = #expect(throws: BackendError.self) { try everyOperation(on: checked) }
    #expect("\(try #require(error))".hasPrefix("\(operation) differs from the reference"))
  }
}

/// Multiples of 2^-10 between -1 and 1, exact in single precision.
private func wave(_ count: Int, _ phase: Int) -> [Double] {
  (0..<count).map { (i: Int) -> Double in
    let place = (i * 7919 + phase * 1009) % 2003
    return Double(place - 1001) / 1024
  }
}

/// The reference, and the device with both layouts where there is one.
func onEveryBackend(_ body: (any Backend) throws -> Void) throws {
  try body(ReferenceBackend())
  guard let device = try TestDevice.find() else { return }
  for family in DeviceFamily.allCases {
    try body(try OpenCLBackend(device: device, family: family, tuning: .rule))
  }
}

extension FlawedBackend {
  func batchNormalise(
    _ x: FeatureMap<Storage>, _ parameters: BatchNormalisation<Storage>, activation: Activation,
    epsilon: Float, momentum: Float, into y: FeatureMap<Storage>
  ) throws {
    try right.batchNormalise(
      x, parameters, activation: activation, epsilon: epsilon, momentum: momentum, into: y)
    try spoil("batchNormalise", parameters.runningVariance)
  }
  func batchNormaliseBackward(
    _ g: FeatureMap<Storage>, output y: FeatureMap<Storage>, input x: FeatureMap<Storage>,
    _ parameters: BatchNormalisation<Storage>, activation: Activation, into dx: FeatureMap<Storage>,
    scaleGradient: Floats, shiftGradient: Floats
  ) throws {
    try right.batchNormaliseBackward(
      g, output: y, input: x, parameters, activation: activation, into: dx,
      scaleGradient: scaleGradient, shiftGradient: shiftGradient)
    try spoil("batchNormaliseBackward", dx.tensor)
  }
  func maxPool(_ x: FeatureMap<Storage>, size: Int, into y: FeatureMap<Storage>) throws {
    try right.maxPool(x, size: size, into: y)
    try spoil("maxPool", y.tensor)
  }
  func maxPoolBackward(
    _ g: FeatureMap<Storage>, output y: FeatureMap<Storage>, input x: FeatureMap<Storage>,
    size: Int, accumulating: Bool, into dx: FeatureMap<Storage>
  ) throws {
    try right.maxPoolBackward(
      g, output: y, input: x, size: size, accumulating: accumulating, into: dx)
    try spoil("maxPoolBackward", dx.tensor)
  }
  func softmax(_ a: Floats, into p: Floats) throws {
    try right.softmax(a, into: p)
    try spoil("softmax", p)
  }
  func segmentationLoss(
    _ a: Floats, labels: Bytes, classWeights w: Floats, settings: SegmentationLoss,
    gradient: Floats, figures: Floats
  ) throws {
    try right.segmentationLoss(
      a, labels: labels, classWeights: w, settings: settings, gradient: gradient,
      figures: figures)
    try spoil("segmentationLoss", gradient)
  }
}
