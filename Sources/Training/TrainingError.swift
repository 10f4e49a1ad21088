/// What ends a training run early, or keeps it from starting.
package enum TrainingError: Error, CustomStringConvertible {
  case batchLargerThanSet(batch: Int, count: Int)
  /// The loss or a weight became NaN or infinite; what the run folder holds is the last good model.
  case diverged(epoch: Int, step: Int, keptEpoch: Int)
  case unsuitableData(String)
  /// A step done again on device and reference came out differently.
  case mismatch(
    step: Int, place: String?, operation: String, detail: String, lastVerified: Int?)

  package var description: String {
    switch self {
    case .batchLargerThanSet(let batch, let count):
      "--batch \(batch) is larger than the set of \(count) training image\(count == 1 ? "" : "s")"
    case .diverged(let epoch, let step, let kept):
      "training diverged, the loss or a weight is not finite at step \(step) of epoch \(epoch); "
        + (kept == 0 ? "kept the initial model" : "kept the model of epoch \(kept)")
        + " (try a smaller --learning-rate)"
    case .unsuitableData(let reason):
      reason
    case .mismatch(let step, let place, let operation, let detail, let last):
      "step \(step)\(place.map { ", \($0)," } ?? "") failed its verification: "
        + "\(operation) differs from the reference: \(detail); "
        + (last.map { "the last step that passed was \($0)" } ?? "no step passed before")
    }
  }
}
