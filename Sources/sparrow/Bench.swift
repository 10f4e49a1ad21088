import ArgumentParser
import Compute
import Datasets
import Foundation
import Networks
import OpenCLBackend
import OpenCLRuntime
import RandomNumbers
import ReferenceBackend
import Training

struct Bench: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Measure matmul, convolutions or training on a device.",
    subcommands: [
      BenchMatmul.self, BenchConvolution.self, BenchTrain.self, BenchSegment.self,
    ])
}

struct BenchMatmul: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "matmul",
    abstract: "GFLOPS of C = A B at several shapes, and the share of the device's measured peak.",
    discussion: """
      Each figure is the best of several rounds of launches in a row. The peak is that of \
      fused multiply-adds in registers, measured in the same run.

      Examples:
        sparrow bench matmul
        sparrow bench matmul --device gpu --shape 4096x4096x4096 --json
        sparrow bench matmul --shape 784x64x256,ta --shape 256x64x784,tb
      """)

  @Option(
    name: .customLong("shape"),
    help: ArgumentHelp(
      "A shape, MxNxK, with ,ta or ,tb for transposed operands; may be repeated.",
      valueName: "shape"),
    transform: parseShape)
  var shapes: [MatmulShape] = []
  @Option(parsing: .unconditional, help: "Rounds, of which the best counts.") var rounds = 7
  @OptionGroup var device: DeviceOptions
  @OptionGroup var json: JSONOption

  /// The products of the seed's training step at batch 256, and squares.
  static let defaultShapes = [
    MatmulShape(m: 256, n: 64, k: 784), MatmulShape(m: 256, n: 64, k: 64),
    MatmulShape(m: 256, n: 784, k: 64), MatmulShape(m: 784, n: 64, k: 256, transposeA: true),
    MatmulShape(m: 256, n: 64, k: 784, transposeB: true), MatmulShape(m: 512, n: 512, k: 512),
    MatmulShape(m: 1024, n: 1024, k: 1024), MatmulShape(m: 2048, n: 2048, k: 2048),
  ]

  func validate() throws { try requirePositive(rounds, "--rounds") }

  private struct Row: Encodable {
    let m, n, k: Int
    let transposeA, transposeB: Bool
    let gflops, milliseconds: JSONNumber
    let shareOfPeak: JSONNumber?
    let variant: String?
  }

  private struct Output: Encodable {
    let device: String
    let peakGflops: JSONNumber?
    let results: [Row]
  }

  func run() throws {
    let output = try device.run(
      Job(shapes: shapes.isEmpty ? Self.defaultShapes : shapes, rounds: rounds))
    if json.isOn { return try Console.result(json: output) }
    if let peak = output.peakGflops {
      try Console.result("\(output.device): measured peak \(significant(peak.value)) GFLOPS\n")
    }
    try Console.result(
      table(
        ["m x n x k", "", "GFLOPS", "ms", "of peak", "variant"],
        output.results.map { row in
          [
            "\(row.m) x \(row.n) x \(row.k)",
            (row.transposeA ? "A^T" : "") + (row.transposeB ? "B^T" : ""),
            significant(row.gflops.value), significant(row.milliseconds.value),
            row.shareOfPeak.map { percent($0.value) } ?? "", row.variant ?? "",
          ]
        }, leftAligned: [0, 1, 5]))
  }

  private struct Job: BackendTask {
    let shapes: [MatmulShape]
    let rounds: Int

    func run<B: Backend>(on backend: B) throws -> Output {
      let device = backend as? OpenCLBackend
      let peak = try device?.measuredPeak()
      let rows = try shapes.map { shape in
        let seconds = try time(shape, on: backend)
        let rate = shape.floatingPointOperations / seconds / 1e9
        return Row(
          m: shape.m, n: shape.n, k: shape.k, transposeA: shape.transposeA,
          transposeB: shape.transposeB, gflops: JSONNumber(rate),
          milliseconds: JSONNumber(seconds * 1e3),
          shareOfPeak: peak.map { JSONNumber(rate / $0) },
          variant: try device?.matmulVariantName(for: shape))
      }
      return Output(device: backend.name, peakGflops: peak.map(JSONNumber.init), results: rows)
    }

    /// Seconds of one product: the best round, each of enough launches to make the waiting small.
    private func time<B: Backend>(_ shape: MatmulShape, on backend: B) throws -> Double {
      func matrix(_ rows: Int, _ columns: Int, _ seed: UInt64) throws -> B.Floats {
        var generator = SplitMix64(seed: seed)
        let tensor = try backend.allocate([rows, columns], of: Float.self)
        try backend.upload(
          (0..<rows * columns).map { _ in 2 * generator.nextUniform() - 1 }, into: tensor)
        return tensor
      }
      let (m, n, k) = (shape.m, shape.n, shape.k)
      let a = MatrixOperand(
        try shape.transposeA ? matrix(k, m, 1) : matrix(m, k, 1), transposed: shape.transposeA)
      let b = MatrixOperand(
        try shape.transposeB ? matrix(n, k, 2) : matrix(k, n, 2), transposed: shape.transposeB)
      let c = try backend.allocate([m, n], of: Float.self)
      try backend.matmul(a, b, into: c, epilogue: .none)
      try backend.finish()
      let first = ContinuousClock.now
      try backend.matmul(a, b, into: c, epilogue: .none)
      try backend.finish()
      let launches = max(1, min(500, Int(0.1 / max(first.secondsSince(), 1e-6))))
      var best = Double.infinity
      for _ in 0..<rounds {
        let start = ContinuousClock.now
        for _ in 0..<launches { try backend.matmul(a, b, into: c, epilogue: .none) }
        try backend.finish()
        best = min(best, start.secondsSince() / Double(launches))
      }
      return best
    }
  }
}

/// For example `37 %`; empty where there is no such share.
func percent(_ share: Double) -> String {
  share.isFinite ? "\(Int((share * 100).rounded())) %" : ""
}

private func parseShape(_ text: String) throws -> MatmulShape {
  let parts = text.split(separator: ",", omittingEmptySubsequences: false)
  let sizes = (parts.first ?? "").split(separator: "x", omittingEmptySubsequences: false).map {
    Int($0)
  }
  guard sizes.count == 3, let m = sizes[0], let n = sizes[1], let k = sizes[2],
    [m, n, k].allSatisfy({ $0 > 0 && $0 <= 1 << 16 }),
    parts.dropFirst().allSatisfy({ $0 == "ta" || $0 == "tb" })
  else {
    throw ValidationError(
      "a shape is MxNxK[,ta][,tb] of sizes from 1 to 65536, such as 256x64x784,ta")
  }
  return MatmulShape(
    m: m, n: n, k: k, transposeA: parts.contains("ta"), transposeB: parts.contains("tb"))
}

struct BenchTrain: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "train",
    abstract: "Milliseconds per training step and epoch, and where they go.",
    discussion: """
      Times training without profiling, then profiles the same steps by OpenCL events: the \
      device's own time of each operation. The rest is launching and waiting. --epochs are timed \
      after one to warm up, 5 unless told.

      Examples:
        sparrow bench train
        sparrow bench train --data mnist:mnist --epochs 5 --device reference
        sparrow bench train --latents 1024 --code topk:32 --arithmetic dense
      """)

  @Option(
    name: .customLong("data"),
    help: ArgumentHelp("The images, as for `sparrow train`.", valueName: "source"),
    completion: .sources)
  var data = "glyphs:10000"
  @OptionGroup(title: "Network") var network: NetworkOptions
  @OptionGroup(title: "Training") var training: TrainingOptions
  @OptionGroup var device: DeviceOptions
  @OptionGroup var json: JSONOption

  func validate() throws { _ = try dataSource(data) }

  /// Epochs timed, after one to warm up.
  private var epochs: Int { training.epochs ?? 5 }

  private struct Output: Encodable {
    let device: String
    let images, batch, stepsPerEpoch: Int
    let code, arithmetic: String
    let parameters: Int
    let epochSeconds, stepMilliseconds, samplesPerSecond: JSONNumber
    let operations: [OperationShare]
  }

  func run() throws {
    let images = try load(dataSource(data), seed: 0).train
    var training = training
    try training.fitBatch(toImages: images.count)
    let batch = training.batch
    var configuration = try training.configuration(
      for: network.configuration(inputs: images.featureCount), targetL0: network.targetL0,
      defaultEpochs: epochs)
    configuration.epochs = epochs + 1
    // What is annealed would make epochs unlike each other.
    configuration.annealing = nil
    let steps = (images.count + batch - 1) / batch
    var operations: [OperationShare] = []
    let seconds: Double
    let name: String
    if let chosen = try device.choose(for: configuration.operations) {
      let backend = try OpenCLBackend(device: chosen)
      name = backend.name
      seconds = try medianEpoch(configuration, images, on: backend)
      operations = try profiled(configuration, images, on: chosen, steps: steps)
    } else {
      let backend = ReferenceBackend()
      name = backend.name
      seconds = try medianEpoch(configuration, images, on: backend)
    }
    let output = Output(
      device: name, images: images.count, batch: batch, stepsPerEpoch: steps,
      code: "\(configuration.network.code)", arithmetic: configuration.chosenArithmetic.rawValue,
      parameters: configuration.network.parameterLayout.parameterCount,
      epochSeconds: JSONNumber(seconds),
      stepMilliseconds: JSONNumber(seconds * 1e3 / Double(steps)),
      samplesPerSecond: JSONNumber(Double(images.count) / seconds), operations: operations)
    if json.isOn { return try Console.result(json: output) }
    try Console.result(
      "\(name): \(significant(output.stepMilliseconds.value)) ms a step of \(batch), "
        + "\(significant(seconds)) s an epoch of \(images.count) (median of \(epochs))")
    if !operations.isEmpty {
      try Console.result("\n" + OperationShare.text(of: operations))
    }
  }

  private func medianEpoch<B: Backend>(
    _ configuration: TrainingConfiguration, _ images: ImageSet, on backend: B
  ) throws -> Double {
    let trainer = try Trainer(configuration, images: images, normalisation: .unit, on: backend)
    try trainer.run { _ in }
    let times = trainer.history.dropFirst().map(\.seconds).sorted()
    return times[times.count / 2]
  }

  private func profiled(
    _ configuration: TrainingConfiguration, _ images: ImageSet, on device: Device, steps: Int
  ) throws -> [OperationShare] {
    let backend = try OpenCLBackend(device: device, profiling: true)
    var short = configuration
    short.epochs = 2
    let trainer = try Trainer(short, images: images, normalisation: .unit, on: backend)
    try trainer.run { event in
      if case .epoch(let metrics) = event, metrics.epoch == 1 { backend.profile?.reset() }
    }
    let rows = try backend.profile?.rows() ?? []
    let total = rows.reduce(0) { $0 + $1.seconds }
    return rows.map { OperationShare($0, steps: steps, total: total) }
  }
}
