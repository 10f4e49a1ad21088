import Compute

/// What a step did, for doing it again elsewhere.
package struct StepRecord: Sendable {
  /// Counted from 1 over the run, and where that is.
  package let step, epoch, stepInEpoch: Int
  /// The images of its batch.
  package let images: [UInt32]
  package let before, after: TrainingState
  package let rowError, rowL0: [Float]

  package init(
    step: Int, epoch: Int, stepInEpoch: Int, images: [UInt32], before: TrainingState,
    after: TrainingState, rowError: [Float], rowL0: [Float]
  ) {
    (self.step, self.epoch, self.stepInEpoch) = (step, epoch, stepInEpoch)
    (self.images, self.before, self.after) = (images, before, after)
    (self.rowError, self.rowL0) = (rowError, rowL0)
  }
}

extension TrainingStep {
  /// Does a step, and tells what doing it again takes, where its number is a multiple of `interval`.
  ///
  /// - Parameters:
  ///   - interval: none is told of when nil.
  ///   - epoch: of the step, counted from 1, and `stepInEpoch` its number there.
  ///   - images: those of its batch.
  ///   - rowError: receives the figures of the batch, as in `train`, and `rowL0` too.
  ///   - perform: does the step.
  func record(
    every interval: Int?, epoch: Int, stepInEpoch: Int, images: ArraySlice<UInt32>,
    rowError: B.Floats, rowL0: B.Floats, perform: () throws -> Void
  ) throws -> StepRecord? {
    let number = optimizer.stepCount + 1
    guard let interval, number.isMultiple(of: interval) else {
      try perform()
      return nil
    }
    let before = try state()
    try perform()
    return StepRecord(
      step: number, epoch: epoch, stepInEpoch: stepInEpoch, images: Array(images), before: before,
      after: try state(), rowError: try backend.download(rowError),
      rowL0: try backend.download(rowL0))
  }
}
