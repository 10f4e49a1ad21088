import Compute
import Verification

/// Has single steps of a run done again, every operation on its device and on an oracle, and keeps
/// account of them.
///
/// Each operation's outputs must agree within the rounding bounds of the two implementations
/// together, as `CheckedBackend` states them; and what the step comes to must have the bits that it
/// had in the run. The run itself is not touched. While a step is verified the device holds a second
/// copy of the model and of a batch.
package final class StepVerification<Host: Backend> {
  /// How many steps there are from one that is verified to the next.
  package let interval: Int
  /// Steps verified, the last of them, and the share of its bound that the worst element used.
  package private(set) var steps = 0
  package private(set) var lastStep: Int?
  package private(set) var worst: (operation: String, ratio: Double) = ("", 0)
  private let oracle: Host

  package init(every interval: Int, oracle: Host) {
    self.interval = interval
    self.oracle = oracle
  }

  /// - Parameters:
  ///   - step: counted from 1 over the run.
  ///   - place: more about where it is in the run, for messages, such as `number 2 of epoch 1`.
  ///   - repeating: does the step again; returns what differs from the run, in words.
  /// - Throws: `TrainingError.mismatch` that names the step and the operation or the tensor.
  package func verify<Device: Backend>(
    step: Int, place: String? = nil, on device: Device,
    repeating: (CheckedBackend<Device, Host>) throws -> String?
  ) throws {
    let checked = CheckedBackend(device: device, oracle: oracle)
    do {
      if let difference = try repeating(checked) {
        throw BackendError.mismatch(
          operation: "the step done again",
          detail: "not the same bits: in the run and again, \(difference)")
      }
    } catch BackendError.mismatch(let operation, let detail) {
      throw TrainingError.mismatch(
        step: step, place: place, operation: operation, detail: detail, lastVerified: lastStep)
    }
    steps += 1
    lastStep = step
    for (operation, _, comparison) in checked.comparisons
    where comparison.worstRatio > worst.ratio { worst = (operation, comparison.worstRatio) }
  }
}
