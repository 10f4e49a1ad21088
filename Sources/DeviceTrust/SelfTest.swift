import Compute
import OpenCLBackend
import OpenCLRuntime
import Verification

/// Runs cases of operations on a device in this process and says how it went.
package enum SelfTest {
  /// The first case that goes wrong ends it.
  ///
  /// - Parameters:
  ///   - draw: gives the places of the operations whose cases are run, in the order of their first
  ///     cases; all of them when nil. See `operations(of:)`.
  ///   - family: the layout of the kernels; by the device's properties when nil.
  ///   - sources: what the programs are built from.
  package static func run(
    _ cases: [any OperationCase], on device: Device, family: DeviceFamily? = nil,
    cache: ProgramCache? = .standard(), sources: KernelSources = .standard,
    draw: (() -> Int?)? = nil
  ) -> SelfTestVerdict {
    let start = ContinuousClock.now
    let groups = operations(of: cases)
    var remaining = groups.indices.makeIterator()
    let draw = draw ?? { remaining.next() }
    var count = 0
    do {
      // By the rule: measuring would cost more than the self-test.
      let backend = try OpenCLBackend(
        device: device, family: family, cache: cache, tuning: .rule, sources: sources)
      while let place = draw() {
        guard groups.indices.contains(place) else { continue }
        for operation in groups[place] {
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

  /// The cases of each operation: what processes share a self-test by, since those of one operation
  /// have programs in common.
  package static func operations(of cases: [any OperationCase]) -> [[any OperationCase]] {
    var places: [String: Int] = [:]
    var groups: [[any OperationCase]] = []
    for operation in cases {
      if let place = places[operation.operation] {
        groups[place].append(operation)
      } else {
        places[operation.operation] = groups.count
        groups.append([operation])
      }
    }
    return groups
  }
}
