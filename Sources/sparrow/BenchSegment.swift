import ArgumentParser
import Compute
import Foundation
import Imaging
import Networks
import OpenCLBackend
import OpenCLRuntime
import ReferenceBackend
import Segmentation
import Training

struct BenchSegment: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "segment",
    abstract: "Milliseconds per training step of a segmentation network, and where they go.",
    discussion: """
      Trains on drawn cells without profiling and takes the median step, then profiles the same \
      steps by OpenCL events: the device's own time of each operation. The time to make a step's \
      crops is the host's own, part of the step unless the device takes longer.

      Examples:
        sparrow bench segment
        sparrow bench segment --batch 2 --crop 192 --steps 100 --device gpu
        sparrow bench segment --preset small --code jumprelu --steps 3 \\
          --device reference
      """)

  @Option(parsing: .unconditional, help: "Steps timed, after a few to warm up.") var steps = 40
  @Option(parsing: .unconditional, help: "Crops in a step.") var batch = 4
  @Option(parsing: .unconditional, help: "The side of the crops in pixels.") var crop = 192
  @OptionGroup(title: "Network") var network: SegmentNetworkOptions
  @OptionGroup var device: DeviceOptions
  @OptionGroup var json: JSONOption

  func validate() throws {
    try requirePositive(steps, "--steps")
    try requirePositive(batch, "--batch")
    try requirePositive(crop, "--crop")
    if let problem = try training().problem { throw ValidationError(problem) }
  }

  private static let warmup = 5
  /// Steps at the end that are told of together with the one before.
  private static let unseen = 1

  private func training() throws -> ConvolutionalTraining {
    ConvolutionalTraining(
      network: try network.configuration(
        inputs: 1, outputs: CellGenerator.classes.count, hasSkips: true),
      cropSize: crop, batchSize: batch, length: .steps(Self.warmup + steps + Self.unseen))
  }

  private struct Output: Encodable {
    let device: String
    let batch, crop: Int
    let stepMilliseconds, cropMilliseconds: JSONNumber
    let deviceMilliseconds: JSONNumber?
    let operations: [OperationShare]
  }

  func run() throws {
    let generator = CellGenerator(seed: 0)
    let side = 512
    let images = (0..<2).map { index in
      let picture = generator.picture(index, width: side, height: side)
      return LabelledImage(
        name: "\(index)",
        image: SampleImage(
          width: side, height: side, channels: 1, sampleType: .uint8,
          samples: picture.image.samples.map { Float($0) / 255 }), labels: picture.indices)
    }
    let job = Job(training: try training(), images: images)
    let chosen = try device.choose(for: job.training.network.operations(for: .training))
    var operations: [OperationShare] = []
    var total: Double?
    let figures: Job.Figures
    if let chosen {
      figures = try job.run(on: OpenCLBackend(device: chosen))
      (operations, total) = try profiled(job, on: chosen)
    } else {
      figures = try job.run(on: ReferenceBackend())
    }
    let output = Output(
      device: figures.device, batch: batch, crop: crop,
      stepMilliseconds: JSONNumber(figures.step * 1e3),
      cropMilliseconds: JSONNumber(figures.crops * 1e3),
      deviceMilliseconds: total.map { JSONNumber($0 * 1e3) }, operations: operations)
    if json.isOn { return try Console.result(json: output) }
    try Console.result(
      "\(output.device): \(significant(output.stepMilliseconds.value)) ms a step of \(counted(batch, "crop"))"
        + " of \(crop)x\(crop) (median of \(steps)); its crops take the host"
        + " \(significant(output.cropMilliseconds.value)) ms"
        + (output.deviceMilliseconds.map { ", the rest the device \(significant($0.value)) ms" }
          ?? ""))
    if !operations.isEmpty {
      try Console.result("\n" + OperationShare.text(of: operations))
    }
  }

  private struct Job: BackendTask {
    let training: ConvolutionalTraining
    let images: [LabelledImage]

    struct Figures {
      let device: String
      /// Median seconds of a step, and of making its crops.
      let step, crops: Double
    }

    func run<B: Backend>(on backend: B) throws -> Figures {
      var ends: [Double] = []
      try train(on: backend) { ends.append($0.seconds) }
      let steps = zip(ends.dropFirst(), ends).map { $0 - $1 }.dropLast(BenchSegment.unseen)
        .suffix(ends.count - BenchSegment.warmup - BenchSegment.unseen)
      let crops = AugmentedCrops(
        images, size: training.cropSize, augmentation: .standard, seed: training.seed)
      let positions = training.batchSize * training.cropSize * training.cropSize
      var inputs = [Float](repeating: 0, count: positions)
      var labels = [UInt8](repeating: 0, count: positions)
      let times = (1...max(9, steps.count)).map { step in
        let start = ContinuousClock.now
        crops.fill(step: step, inputs: &inputs, labels: &labels)
        return start.secondsSince()
      }
      return Figures(device: backend.name, step: median(Array(steps)), crops: median(times))
    }

    func train<B: Backend>(on backend: B, report: (StepReport) throws -> Void) throws {
      let settings = SegmenterTraining(
        loss: SegmentationLoss(),
        classWeights: [Float](repeating: 1, count: training.network.outputs),
        augmentation: .standard, freezesFrontEnd: false, frontEnd: .scratch)
      _ = try SegmenterTrainer.train(
        training, settings, images: images,
        normalisation: PercentileNormalisation(sampleType: .uint8, low: [0], high: [255]),
        classes: CellGenerator.classes, pretrained: nil,
        verification: StepVerification<B>?.none, on: backend, report: report)
    }

    private func median(_ values: [Double]) -> Double { values.sorted()[values.count / 2] }
  }

  private func profiled(_ job: Job, on device: Device) throws -> ([OperationShare], Double) {
    let backend = try OpenCLBackend(device: device, profiling: true)
    try job.train(on: backend) { report in
      if report.step == Self.warmup - 1 { backend.profile?.reset() }
    }
    try backend.finish()
    let rows = try backend.profile?.rows() ?? []
    let total = rows.reduce(0) { $0 + $1.seconds }
    return (
      rows.map { OperationShare($0, steps: steps + Self.unseen, total: total) },
      total / Double(steps + Self.unseen)
    )
  }
}
