import ArgumentParser
import Compute
import Datasets
import Foundation
import Networks
import OpenCLBackend
import RandomNumbers
import ReferenceBackend
import Training
import Verification

extension DeviceFamily: ExpressibleByArgument {}

struct Check: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Compare a device with the reference, operation by operation and in training.",
    discussion: """
      First every operation over awkward shapes: in the exact tier the inputs are whole numbers and \
      the result must be equal; in the bound tier each element must lie within its rounding bound \
      of double precision. Then whole training steps with every operation run on both sides, and a \
      free run of 20 steps on each, whose losses must agree to 1e-5. Exit status 1 when anything \
      exceeds its bound.

      Examples:
        sparrow check
        sparrow check --device gpu --verbose
        sparrow check --device 0:0 --quick --json
        sparrow check --layout gpu
      """)

  @OptionGroup var device: DeviceOptions
  @Flag(help: "Small shapes only, and no training: for slow simulators.") var quick = false
  @Option(
    help: ArgumentHelp(
      "The kernels' layout: cpu or gpu; the one that suits the device by default.",
      discussion: "Both layouts must be right on every device; only one is fast.",
      valueName: "layout"))
  var layout: DeviceFamily?
  @Flag(help: "A row for every case instead of one for each operation.") var verbose = false
  @OptionGroup var json: JSONOption

  struct Row: Encodable {
    let operation, shape, tier: String
    let error, bound, ratio: JSONNumber
    let passed: Bool
    let failure: String?
  }

  struct Outcome {
    let device: String
    let rows: [Row]
    var failures: [Row] { rows.filter { !$0.passed } }
  }

  func run() throws {
    let outcome = try outcome()
    if json.isOn {
      try Console.result(
        json: Output(
          device: outcome.device, passed: outcome.failures.isEmpty, cases: outcome.rows.count,
          failures: outcome.failures.count, results: outcome.rows))
    } else {
      try show(outcome)
    }
    if !outcome.failures.isEmpty { throw ExitCode(1) }
  }

  private func outcome() throws -> Outcome {
    let job = Job(quick: quick)
    // A device that fails its self-test is what there is to look into.
    guard let device = try device.choose(tested: false) else {
      guard layout == nil else {
        throw ValidationError("--layout: the reference has no kernels to lay out")
      }
      return try job.run(on: ReferenceBackend())
    }
    let backend = try OpenCLBackend(device: device, family: layout)
    // Every tile is judged by the cases themselves; a simulator would take hours for the trials.
    backend.triesTiles = false
    let outcome = try job.run(on: backend)
    return Outcome(
      device: "\(outcome.device), \(backend.family.rawValue) layout",
      rows: outcome.rows + (try job.variants(of: backend)))
  }

  private struct Output: Encodable {
    let device: String
    let passed: Bool
    let cases, failures: Int
    let results: [Row]
  }

  private func show(_ outcome: Outcome) throws {
    let shown = verbose ? outcome.rows.map { (row: $0, count: 1) } : worst(outcome.rows)
    let cells = shown.map { row, count in
      [
        row.operation, row.tier, verbose ? "" : "\(count)", row.shape,
        significant(row.error.value, 3),
        significant(row.bound.value, 3), row.passed ? "ok" : "FAILED",
      ]
    }
    try Console.result(
      table(
        [
          "operation", "tier", verbose ? "" : "cases", verbose ? "shape" : "worst shape", "error",
          "bound", "verdict",
        ],
        cells, leftAligned: [0, 1, 3, 6]))
    for row in outcome.failures {
      try Console.result("FAILED \(row.operation) \(row.shape): \(row.failure ?? "")")
    }
    let count = outcome.rows.count
    try Console.result(
      outcome.failures.isEmpty
        ? "\(outcome.device): all \(count) cases within their bounds"
        : "\(outcome.device): \(outcome.failures.count) of \(count) cases FAILED")
  }

  /// For each operation and tier the case that used most of its bound.
  private func worst(_ rows: [Row]) -> [(row: Row, count: Int)] {
    var result: [(row: Row, count: Int)] = []
    for row in rows {
      if let index = result.firstIndex(where: {
        $0.row.operation == row.operation && $0.row.tier == row.tier
      }) {
        let worse = row.ratio.value > result[index].row.ratio.value || row.ratio.value.isNaN
        result[index] = (worse ? row : result[index].row, result[index].count + 1)
      } else {
        result.append((row, 1))
      }
    }
    return result
  }

  private struct Job {
    let quick: Bool

    /// The products once more with each of the tiles that tuning may choose from.
    func variants(of backend: OpenCLBackend) throws -> [Row] {
      defer { backend.matmulVariant = nil }
      return try MatmulVariant.all(for: backend.family).flatMap { variant in
        backend.matmulVariant = variant
        return try OperationCases.all(quick ? .quick : .full).filter { $0.operation == "matmul" }
          .map { operation in
            let report = try operation.report(on: backend)
            return Row(
              operation: "matmul, \(variant.name)", shape: report.label,
              tier: report.tier.rawValue, report.comparison)
          }
      }
    }

    func run<B: Backend>(on backend: B) throws -> Outcome {
      var rows: [Row] = []
      for operation in OperationCases.all(quick ? .quick : .full) {
        let report = try operation.report(on: backend)
        rows.append(
          Row(
            operation: report.operation, shape: report.label, tier: report.tier.rawValue,
            report.comparison))
      }
      if !quick { rows += try training(on: backend) }
      return Outcome(device: backend.name, rows: rows)
    }

    private func training<B: Backend>(on backend: B) throws -> [Row] {
      let images = try DataSource(parsing: "glyphs").load(seed: 7).train
      let configuration = TrainingConfiguration(
        network: .collapsed(inputs: images.featureCount), epochs: 1, batchSize: 256, seed: 7)
      let checked = CheckedBackend(
        device: backend, oracle: ReferenceBackend(), stopsAtMismatch: false)
      _ = try losses(configuration, images, steps: 3, on: checked)
      let inSteps = checked.comparisons.map {
        Row(
          operation: "training: \($0.operation)", shape: "3 steps, \($0.calls) calls",
          tier: "bound", $0.comparison)
      }

      let inCodes = try Self.networks(inputs: images.featureCount).flatMap {
        try codeSteps($0.name, $0.configuration, images, on: backend)
      }

      let onDevice = try losses(configuration, images, steps: 20, on: backend)
      let onReference = try losses(configuration, images, steps: 20, on: ReferenceBackend())
      let free = Comparison(
        "loss of step", got: onDevice,
        expectation: Expectation(values: onReference, bounds: onReference.map { $0 * 1e-5 }))
      return inSteps + inCodes + [
        Row(
          operation: "training: loss", shape: "20 free steps, batch 256", tier: "bound", free)
      ]
    }

    /// A network for each code and way of computing it, small enough for the reference.
    private static func networks(
      inputs: Int
    ) -> [(name: String, configuration: TrainingConfiguration)] {
      let codes: [Code] = [.topK(8), .batchTopK(8), .jumpReLU, .hardConcrete, .l1]
      var result = codes.map { code in
        (
          "\(code)",
          TrainingConfiguration.recommended(
            for: .collapsed(inputs: inputs, code: code), epochs: 2, batchSize: 64,
            targetL0: code.hasPenalty ? 8 : nil)
        )
      }
      for arithmetic in CodeArithmetic.allCases {
        var configuration = TrainingConfiguration.recommended(
          for: .dictionary(inputs: inputs, latents: 200, code: .topK(8)), epochs: 2, batchSize: 64)
        configuration.arithmetic = arithmetic
        result.append(("\(arithmetic) dictionary", configuration))
      }
      return result
    }

    /// A few training steps of a code with every operation run on both sides.
    private func codeSteps<B: Backend>(
      _ name: String, _ configuration: TrainingConfiguration, _ images: ImageSet, on backend: B
    ) throws -> [Row] {
      let checked = CheckedBackend(
        device: backend, oracle: ReferenceBackend(), stopsAtMismatch: false)
      _ = try losses(configuration, images, steps: 2, on: checked)
      return checked.comparisons.map {
        Row(
          operation: "training \(name): \($0.operation)", shape: "2 steps, \($0.calls) calls",
          tier: "bound", $0.comparison)
      }
    }

    /// The loss of each of the first steps.
    private func losses<B: Backend>(
      _ configuration: TrainingConfiguration, _ images: ImageSet, steps: Int, on backend: B
    ) throws -> [Double] {
      let step = try TrainingStep(
        configuration, stepsPerEpoch: steps,
        data: images.statistics(for: configuration, normalisation: .unit), on: backend)
      let resident = try ResidentImages(
        images, normalisation: .unit, mean: step.network.inputMean, on: backend)
      let count = steps * configuration.batchSize
      var generator = SplitMix64(seed: configuration.seed)
      let order = try backend.allocate([count], of: UInt32.self)
      try backend.upload(
        (0..<count).map { _ in UInt32(generator.nextIndex(below: UInt64(images.count))) },
        into: order)
      let rowError = try backend.allocate([count], of: Float.self)
      let rowL0 = try backend.allocate([count], of: Float.self)
      for index in 0..<steps {
        let rows = index * configuration.batchSize..<(index + 1) * configuration.batchSize
        try step.run(
          images: resident, order: order, rows: rows, rowError: rowError.rows(rows),
          rowL0: rowL0.rows(rows))
      }
      let errors = try backend.download(rowError)
      return (0..<steps).map { index in
        let rows = index * configuration.batchSize..<(index + 1) * configuration.batchSize
        return errors[rows].reduce(0.0) { $0 + Double($1) } * configuration.alpha
          / Double(configuration.batchSize)
      }
    }
  }
}

extension Check.Row {
  init(operation: String, shape: String, tier: String, _ comparison: Comparison) {
    self.init(
      operation: operation, shape: shape, tier: tier, error: JSONNumber(comparison.error),
      bound: JSONNumber(comparison.bound), ratio: JSONNumber(comparison.worstRatio),
      passed: comparison.passes,
      failure: comparison.failure)
  }
}
