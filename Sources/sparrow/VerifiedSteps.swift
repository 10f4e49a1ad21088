import Compute
import ReferenceBackend
import Training

extension StepVerification<ReferenceBackend> {
  /// Nil where no step is to be verified, and, which is said, where the run is on the reference
  /// itself.
  convenience init?(every interval: Int?, for backend: some Backend) {
    guard let interval else { return nil }
    guard !(backend is ReferenceBackend) else {
      Console.note("Note: --verify-every compares with the reference, which this run is on")
      return nil
    }
    self.init(every: interval, oracle: ReferenceBackend())
  }

  func noteResult() {
    guard steps > 0 else {
      return Console.note(
        "Note: --verify-every \(interval): no step had such a number, none was verified")
    }
    Console.note(
      "Verified: \(counted(steps, "step")) done again on the reference, all within their bounds, "
        + "of which \(worst.operation) came to \(significant(100 * worst.ratio, 2)) %")
  }
}
