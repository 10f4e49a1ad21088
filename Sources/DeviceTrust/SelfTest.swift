import Compute
import OpenCLBackend
import OpenCLRuntime
import Verification

/// Runs cases of operations on a device in this process and says how it went.
package enum SelfTest {
  /// The first case that goes wrong ends it.
  ///
  /// - Parameters:
  ///   - family: the layout of the kernels; by the device's properties when nil.
  ///   - sources: what the programs are built from.
  package static func run(
    _ cases: [any OperationCase], on device: Device, family: DeviceFamily? = nil,
    cache: ProgramCache? = .standard(), sources: KernelSources = .standard
  ) -> SelfTestVerdict {
    let start = ContinuousClock.now
    do {
      // By the rule: measuring would cost more than the self-test.
      let backend = try OpenCLBackend(
        device: device, family: family, cache: cache, tuning: .rule, sources: sources)
      for operation in cases {
        let report = try operation.report(on: backend)
        if let failure = report.comparison.failure {
          return .miscomputed(
            operation: report.operation, label: report.label, failure: failure)
        }
      }
      try backend.finish()
    } catch {
      return .failed("\(error)")
    }
    return .passed(cases: cases.count, seconds: (ContinuousClock.now - start) / .seconds(1))
  }
}
