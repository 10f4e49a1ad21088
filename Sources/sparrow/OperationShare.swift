import Foundation
import OpenCLBackend

/// What one operation takes of a training step, by the device's own clock.
struct OperationShare: Encodable {
  let operation: String
  let launchesPerStep, millisecondsPerStep, share: JSONNumber

  /// - Parameters:
  ///   - row: over `steps` steps.
  ///   - total: seconds of all operations over these steps.
  init(_ row: OperationProfile.Row, steps: Int, total: Double) {
    operation = row.label
    launchesPerStep = JSONNumber(Double(row.launches) / Double(steps))
    millisecondsPerStep = JSONNumber(row.seconds * 1e3 / Double(steps))
    share = JSONNumber(row.seconds / total)
  }

  static func text(of operations: [OperationShare]) -> String {
    table(
      ["operation", "launches/step", "ms/step", "share"],
      operations.map {
        [
          $0.operation, String(format: "%.2f", $0.launchesPerStep.value),
          String(format: "%.4f", $0.millisecondsPerStep.value), percent($0.share.value),
        ]
      })
  }
}
