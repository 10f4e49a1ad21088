import COpenCL
import Foundation

/// Where PoCL's threads may run.
package enum ThreadPlacing {
  /// Whether PoCL may be told to bind its threads, number i to core i: it aborts where a core is not
  /// there or not this process's, as within a container's share of a machine, and does not ask who
  /// was given less by `taskset`.
  ///
  /// - Parameters:
  ///   - cores: how many the machine has.
  ///   - mayUse: whether this process may use a core, counted from 0.
  package static func canBind(
    cores: Int = Int(sysconf(Int32(_SC_NPROCESSORS_ONLN))),
    environment: [String: String] = ProcessInfo.processInfo.environment,
    mayUse: (Int) -> Bool = { sparrow_may_use_core(Int32(clamping: $0)) == 1 }
  ) -> Bool {
    guard cores > 0, (0..<cores).allSatisfy(mayUse) else { return false }
    guard let threads = environment["POCL_MAX_PTHREAD_COUNT"] else { return true }
    return Int(threads).map { $0 <= cores } ?? false
  }
}
