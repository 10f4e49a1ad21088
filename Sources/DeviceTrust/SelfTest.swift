import Compute
import Foundation
import OpenCLBackend
import OpenCLRuntime
import Verification

/// Runs cases of operations on a device in this process and says how it went.
package enum SelfTest {
  /// The first case that goes wrong ends it.
  ///
  /// - Parameters:
  ///   - draw: gives the places of the parts that are run, among `parts(of:on:family:)`; all of
  ///     them when nil.
  ///   - family: the layout of the kernels; by the device's properties when nil.
  ///   - sources: what the programs are built from.
  package static func run(
    _ cases: [any OperationCase], on device: Device, family: DeviceFamily? = nil,
    cache: ProgramCache? = .standard(), sources: KernelSources = .standard,
    draw: (() -> Int?)? = nil
  ) -> SelfTestVerdict {
    let start = ContinuousClock.now
    let parts = parts(of: cases, on: device.properties, family: family)
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
          do {
            let report = try operation.report(on: backend)
            if let failure = report.comparison.failure {
              return .miscomputed(
                operation: report.operation, label: report.label, failure: failure)
            }
          } catch BackendError.mismatch(let name, let failure) {
            return .miscomputed(operation: name, label: operation.label, failure: failure)
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

  /// The parts that processes which share the cases draw.
  package static func parts(
    of cases: [any OperationCase], on device: DeviceDescription, family: DeviceFamily? = nil
  ) -> [[any OperationCase]] {
    OperationCases.parts(
      of: cases, formsApart: (family ?? DeviceFamily(for: device)) == .gpu)
  }

  /// How many processes share a self-test: compiling takes longest, on one core in each.
  ///
  /// - Parameter parts: how many parts there are to share.
  package static func processes(
    for device: DeviceDescription, parts: Int,
    cores: Int = ProcessInfo.processInfo.activeProcessorCount
  ) -> Int {
    // For each process a driver takes some hundred megabytes of a GPU's memory.
    let fitting = device.kind == .cpu ? .max : Int(clamping: device.globalMemory >> 30)
    return max(1, min(parts, cores, fitting, IsolatedSelfTest.mostProcesses))
  }
}
