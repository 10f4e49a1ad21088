import Compute
import Datasets
import Networks
import Verification

/// Does single steps of an autoencoder's run again: parameters, moments, control and figures must
/// come to the bits that they had.
package struct StepVerifier<Device: Backend, Host: Backend> {
  private let configuration: TrainingConfiguration
  private let images: ImageSet
  private let normalisation: Normalisation
  private let data: DataStatistics?
  private let device: Device
  private let model: String?
  private let verification: StepVerification<Host>

  /// - Parameter model: what errors call it, where a run has several.
  package init(
    _ configuration: TrainingConfiguration, images: ImageSet, normalisation: Normalisation,
    device: Device, model: String? = nil, verification: StepVerification<Host>
  ) {
    self.configuration = configuration
    self.images = images
    self.normalisation = normalisation
    self.device = device
    self.model = model
    self.verification = verification
    data = images.statistics(for: configuration, normalisation: normalisation)
  }

  /// - Throws: `TrainingError.mismatch` that names the step and the operation or the tensor.
  package func verify(_ record: StepRecord) throws {
    let place = "number \(record.stepInEpoch) of epoch \(record.epoch)"
    try verification.verify(
      step: record.step, place: model.map { "\(place) of \($0)" } ?? place, on: device
    ) { try repeatStep(record, on: $0) }
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
    try resident.upload([UInt32](0..<UInt32(count)), into: order, on: checked)
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
