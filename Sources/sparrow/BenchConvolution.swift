import ArgumentParser
import Compute
import Foundation
import OpenCLBackend
import OpenCLRuntime
import RandomNumbers

struct BenchConvolution: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "convolution",
    abstract: "GFLOPS of the convolutions of a U-shaped network, forward and backward.",
    discussion: """
      The layers are those of a network of four levels that halves its images and doubles its \
      channels from one to the next. Each figure is the best of several rounds; the last rows are \
      those of all layers together, the gradient of the first one's input left out, and of the \
      forward direction alone.

      Examples:
        sparrow bench convolution
        sparrow bench convolution --size 512 --batch 1 --json
        sparrow bench convolution --base 64 --device gpu
      """)

  @Option(help: "Images in a batch.") var batch = 4
  @Option(help: "Rows and columns of the images, a multiple of 8.") var size = 192
  @Option(help: "Channels of the first level.") var base = 16
  @Option(help: "Rounds, of which the best counts.") var rounds = 7
  @OptionGroup var device: DeviceOptions
  @OptionGroup var json: JSONOption

  func validate() throws {
    for (value, name) in [
      (batch, "--batch"), (size, "--size"), (base, "--base"), (rounds, "--rounds"),
    ] {
      try requirePositive(value, name)
    }
    guard size % 8 == 0, size <= 1 << 14 else {
      throw ValidationError("--size must be a multiple of 8, at most 16384, not \(size)")
    }
    for (value, name) in [(base, "--base"), (batch, "--batch")] where value > 1 << 12 {
      throw ValidationError("\(name) must be at most 4096, not \(value)")
    }
  }

  private struct Layer {
    let side, inputs, outputs: Int
    let geometry: ConvolutionGeometry
    /// Whether the network uses the adjoint, from O channels to C.
    var enlarges = false
    /// How many such layers there are.
    var count = 1
    var isFirst = false

    var name: String {
      let kernel = "\(geometry.kernelHeight)x\(geometry.kernelWidth)"
      return enlarges
        ? "\(side / 2)x\(side / 2), \(outputs) to \(inputs), \(kernel), twice as large"
        : "\(side)x\(side), \(inputs) to \(outputs), \(kernel)"
    }
  }

  private var layers: [Layer] {
    let enlarging = ConvolutionGeometry(kernel: 2, stride: 2)
    var layers: [Layer] = []
    for level in 0..<4 {
      let (side, channels) = (size >> level, base << level)
      layers.append(
        Layer(
          side: side, inputs: level == 0 ? 1 : channels / 2, outputs: channels,
          geometry: .same(3), isFirst: level == 0))
      // The second of the descent and, but for the deepest level, the second of the ascent.
      layers.append(
        Layer(
          side: side, inputs: channels, outputs: channels, geometry: .same(3),
          count: level < 3 ? 2 : 1))
    }
    for level in (0..<3).reversed() {
      let (side, channels) = (size >> level, base << level)
      layers.append(
        Layer(
          side: side, inputs: channels, outputs: 2 * channels, geometry: enlarging, enlarges: true))
      layers.append(
        Layer(side: side, inputs: 2 * channels, outputs: channels, geometry: .same(3)))
    }
    layers.append(Layer(side: size, inputs: base, outputs: 2, geometry: .same(1)))
    return layers
  }

  private struct Figure: Encodable {
    let gflops, milliseconds: JSONNumber

    init(operations: Double, seconds: Double) {
      gflops = JSONNumber(operations / seconds / 1e9)
      milliseconds = JSONNumber(seconds * 1e3)
    }
  }

  private struct Row: Encodable {
    let layer: String
    let count: Int
    let gflop: JSONNumber
    let forward, inputGradient, weightGradient: Figure
  }

  private struct Output: Encodable {
    let device: String
    let batch, size, base: Int
    let layers: [Row]
    let step, forward: Figure
  }

  func run() throws {
    let output = try device.run(
      Job(layers: layers, batch: batch, size: size, base: base, rounds: rounds))
    if json.isOn { return try Console.result(json: output) }
    func columns(_ figure: Figure) -> [String] {
      [significant(figure.gflops.value), significant(figure.milliseconds.value)]
    }
    try Console.result("\(output.device)\n")
    try Console.result(
      table(
        ["layer", "", "forward", "ms", "input gradient", "ms", "weight gradient", "ms"],
        output.layers.map { row in
          [row.layer, row.count > 1 ? "x\(row.count)" : ""] + columns(row.forward)
            + columns(row.inputGradient) + columns(row.weightGradient)
        }, leftAligned: [0, 1]))
    for (name, figure) in [("step", output.step), ("forward", output.forward)] {
      try Console.result(
        "\n\(name): \(significant(figure.milliseconds.value)) ms, "
          + "\(significant(figure.gflops.value)) GFLOPS")
    }
  }

  private struct Job: BackendTask {
    let layers: [Layer]
    let batch, size, base, rounds: Int

    func run<B: Backend>(on backend: B) throws -> Output {
      var rows: [Row] = []
      var (forward, step) = ((work: 0.0, seconds: 0.0), (work: 0.0, seconds: 0.0))
      for layer in layers {
        let (work, seconds) = try time(layer, on: backend)
        let figures = seconds.map { Figure(operations: work, seconds: $0) }
        rows.append(
          Row(
            layer: layer.name, count: layer.count, gflop: JSONNumber(work / 1e9),
            forward: figures[0], inputGradient: figures[1], weightGradient: figures[2]))
        let count = Double(layer.count)
        forward.work += work * count
        forward.seconds += seconds[0] * count
        for (index, part) in seconds.enumerated() where !(layer.isFirst && index == 1) {
          step.work += work * count
          step.seconds += part * count
        }
      }
      return Output(
        device: backend.name, batch: batch, size: size, base: base, layers: rows,
        step: Figure(operations: step.work, seconds: step.seconds),
        forward: Figure(operations: forward.work, seconds: forward.seconds))
    }

    /// The layer's operations, and the seconds of its output, its input's gradient and its weights'
    /// gradient.
    private func time<B: Backend>(
      _ layer: Layer, on backend: B
    ) throws -> (work: Double, seconds: [Double]) {
      let geometry = layer.geometry
      func random(_ shape: Shape, _ seed: UInt64) throws -> B.Floats {
        var generator = SplitMix64(seed: seed)
        let tensor = try backend.allocate(shape, of: Float.self)
        try backend.upload(
          (0..<shape.count).map { _ in 2 * generator.nextUniform() - 1 }, into: tensor)
        return tensor
      }
      let small = geometry.outputHeight(layer.side)
      let large = FeatureMap(try random([batch, layer.side, layer.side, layer.inputs], 1))
      let little = FeatureMap(try random([batch, small, small, layer.outputs], 2))
      let weights: Shape = [
        geometry.kernelHeight, geometry.kernelWidth, layer.inputs, layer.outputs,
      ]
      let w = try random(weights, 3)
      let dw = try backend.allocate(weights, of: Float.self)
      let (largeResult, littleResult) = (
        FeatureMap(try backend.allocate(large.tensor.shape, of: Float.self)),
        FeatureMap(try backend.allocate(little.tensor.shape, of: Float.self))
      )
      let convolve = {
        try backend.convolution(
          large, weight: w, bias: nil, activation: .identity, geometry: geometry,
          into: littleResult)
      }
      let transpose = {
        try backend.transposedConvolution(
          little, weight: w, bias: nil, activation: .identity, geometry: geometry,
          into: largeResult)
      }
      let gradient = {
        try backend.convolutionGradient(large, little, geometry: geometry, into: dw)
      }
      let shape = ConvolutionShape(input: large, output: little, weight: w, geometry: geometry)
      return (
        shape.floatingPointOperations,
        try [
          layer.enlarges ? transpose : convolve, layer.enlarges ? convolve : transpose, gradient,
        ]
        .map { try best(of: $0, on: backend) }
      )
    }

    private func best<B: Backend>(of body: () throws -> Void, on backend: B) throws -> Double {
      try body()
      try backend.finish()
      let first = ContinuousClock.now
      try body()
      try backend.finish()
      let launches = max(1, min(100, Int(0.03 / max(first.secondsSince(), 1e-6))))
      var best = Double.infinity
      for _ in 0..<rounds {
        let start = ContinuousClock.now
        for _ in 0..<launches { try body() }
        try backend.finish()
        best = min(best, start.secondsSince() / Double(launches))
      }
      return best
    }
  }
}
