import COpenCL
import Foundation

/// Fails a chosen OpenCL call on purpose, so that tests reach every error path.
///
/// It acts on the calls that the arming thread makes, and on no other thread's: tests run side by
/// side in one process. The failed call is not made at all, as when a driver refuses it.
/// Releases are neither counted nor failed, for they cannot throw. When off it costs a load of a
/// thread-local variable and a branch per call.
package enum FaultInjection {
  /// Lets the `call`th checked call from now (the first is 1) fail with `code`, once.
  package static func arm(failing call: Int, code: Int32 = Int32(CL_OUT_OF_RESOURCES)) {
    precondition(call >= 1, "calls are counted from 1")
    precondition(code != CL_SUCCESS, "CL_SUCCESS is no failure")
    sparrow_fault_set_code(code)
    sparrow_fault_arm(Int64(call))
  }

  /// Arms as `SPARROW_FAIL_CALL` says, `CALL` or `CALL:CODE`: for tests of whole programs.
  package static func armFromEnvironment() {
    let text = ProcessInfo.processInfo.environment["SPARROW_FAIL_CALL"] ?? ""
    let numbers = text.split(separator: ":").map { Int32($0) }
    guard let call = numbers.first ?? nil, call >= 1 else { return }
    let code = numbers.count > 1 ? numbers[1] : nil
    arm(failing: Int(call), code: code.flatMap { $0 == 0 ? nil : $0 } ?? Int32(CL_OUT_OF_RESOURCES))
  }

  /// Stops counting; a failure that has not come yet will not come.
  package static func disarm() { sparrow_fault_arm(0) }

  /// Whether an armed failure has not come yet.
  package static var isArmed: Bool { sparrow_fault_remaining() > 0 }

  /// Counts the checked calls that `body` makes on this thread.
  package static func countCalls<Result>(
    in body: () throws -> Result
  ) rethrows -> (result: Result, calls: Int) {
    let start = Int64.max
    sparrow_fault_arm(start)
    defer { disarm() }
    let result = try body()
    return (result, Int(start - sparrow_fault_remaining()))
  }
}
