import COpenCL

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
