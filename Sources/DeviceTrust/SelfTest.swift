import Compute
import OpenCLBackend
import OpenCLRuntime
import Verification

/// Runs cases of operations on a device in this process and says how it went.
package enum SelfTest {
  /// The first case that goes wrong ends it.
  ///
  /// - Parameters:
  ///   - draw: gives the places of the parts that are run; all of them when nil. See
  ///     `OperationCases.parts(of:)`.
  ///   - family: the layout of the kernels; by the device's properties when nil.
  ///   - sources: what the programs are built from.
  package static func run(
    _ cases: [any OperationCase], on device: Device, family: DeviceFamily? = nil,
    cache: ProgramCache? = .standard(), sources: KernelSources = .standard,
    draw: (() -> Int?)? = nil
  ) -> SelfTestVerdict {
    let start = ContinuousClock.now
    let parts = OperationCases.parts(of: cases)
    var remaining = parts.indices.makeIterator()
    let draw = draw ?? { remaining.next() }
    var count = 0
    do {
      // By the rule: measuring would cost more than the self-test.
      let backend = try OpenCLBackend(
        device: device, family: family, cache: cache, tuning: .rule, sources: sources)
      while let place = draw() {
        guard parts.indices.contains(place) else { continue }
        for operation in parts[place] {
          let report = try operation.report(on: backend)
          if let failure = report.comparison.failure {
            return .miscomputed(
              operation: report.operation, label: report.label, failure: failure)
          }
          count += 1
        }
      }
      try backend.finish()
    } catch {
      return .failed("\(error)")
    }
    return .passed(cases: count, seconds: (ContinuousClock.now - start) / .seconds(1))
  }
}
