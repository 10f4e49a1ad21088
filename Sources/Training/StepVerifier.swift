import Compute
import Datasets
import Networks
import Verification

/// Does single steps of a run again, every operation on the device and on an oracle.
///
/// Each operation's outputs must agree within the rounding bounds of the two implementations
/// together, as `CheckedBackend` states them; and what the step comes to, parameters, moments,
/// control and figures, must have the bits that it had in the run. The run itself is not touched.
/// While a step is verified the device holds a second copy of the model and of a batch.
package final class StepVerifier<Device: Backend, Host: Backend> {
  /// Steps verified, the last of them, and the share of its bound that the worst element used.
  package private(set) var steps = 0
  package private(set) var lastStep: Int?
  package private(set) var worst: (operation: String, ratio: Double) = ("", 0)
  private let configuration: TrainingConfiguration
  private let images: ImageSet
  private let normalisation: Normalisation
  private let data: DataStatistics?
  private let device: Device
  private let oracle: Host

  package init(
    _ configuration: TrainingConfiguration, images: ImageSet, normalisation: Normalisation,
    device: Device, oracle: Host
  ) {
    self.configuration = configuration
    self.images = images
    self.normalisation = normalisation
    self.device = device
    self.oracle = oracle
    data = images.statistics(for: configuration, normalisation: normalisation)
  }

  /// - Throws: `TrainingError.mismatch` that names the step and the operation or the tensor.
  package func verify(_ record: StepRecord) throws {
    let checked = CheckedBackend(device: device, oracle: oracle)
    do {
      if let difference = try repeatStep(record, on: checked) {
        throw BackendError.mismatch(
          operation: "the step done again",
          detail: "not the same bits: in the run and again, \(difference)")
      }
    } catch BackendError.mismatch(let operation, let detail) {
      throw TrainingError.mismatch(
        step: record.step, epoch: record.epoch, stepInEpoch: record.stepInEpoch,
        operation: operation, detail: detail, lastVerified: lastStep)
    }
    steps += 1
    lastStep = record.step
    for (operation, _, comparison) in checked.comparisons
    where comparison.worstRatio > worst.ratio { worst = (operation, comparison.worstRatio) }
  }

  private func repeatStep(
    _ record: StepRecord, on checked: CheckedBackend<Device, Host>
  ) throws -> String? {
    let count = record.images.count
    let step = try TrainingStep(
      configuration,
      stepsPerEpoch: (images.count + configuration.batchSize - 1) / configuration.batchSize,
      data: data, on: checked)
    try step.restore(record.before)
    let resident = try ResidentImages(
      images.subset(record.images), normalisation: normalisation, mean: step.network.inputMean,
      on: checked)
    let order = try checked.allocate([count], of: UInt32.self)
    try checked.upload([UInt32](0..<UInt32(count)), into: order)
    let rowError = try checked.allocate([count], of: Float.self)
    let rowL0 = try checked.allocate([count], of: Float.self)
    try step.run(
      images: resident, order: order, rows: 0..<count, rowError: rowError, rowL0: rowL0)
    var (run, again) = (record.after, try step.state())
    run.tensors += [("row_error", record.rowError), ("row_l0", record.rowL0)]
    again.tensors += [
      ("row_error", try checked.download(rowError)), ("row_l0", try checked.download(rowL0)),
    ]
    return run.difference(from: again, layout: configuration.network.parameterLayout)
  }
}
