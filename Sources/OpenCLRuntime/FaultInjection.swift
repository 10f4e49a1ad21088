import COpenCL
import Foundation

/// Fails a chosen OpenCL call on purpose, so that tests reach every error path.
///
/// It acts on the calls that the arming thread makes, and on no other thread's: tests run side by
/// side in one process. The failed call is not made at all, as when a driver refuses it.
/// Releases are neither counted nor failed, for they cannot throw. When off it costs a load of a
/// thread-local variable and a branch per call.
package enum FaultInjection {
  /// Lets the `call`th checked call from now (the first is 1) fail with `code`, once, or, where
  /// `lasting`, with all that follow until `disarm()`, as when a device is lost.
  package static func arm(
    failing call: Int, code: Int32 = Int32(CL_OUT_OF_RESOURCES), lasting: Bool = false
  ) {
    precondition(call >= 1, "calls are counted from 1")
    precondition(code != CL_SUCCESS, "CL_SUCCESS is no failure")
    sparrow_faults_arm(Int64(call), 0, lasting, code)
  }

  /// Lets the `event`th event that is asked how its command ended report that it was aborted with
  /// `code`, which is negative: what fails on the device after the call that enqueued it.
  package static func arm(failingEvent event: Int, code: Int32 = Int32(CL_OUT_OF_RESOURCES)) {
    precondition(event >= 1, "events are counted from 1")
    precondition(code < 0, "a status of \(code) is no failure")
    sparrow_faults_arm(0, Int64(event), false, code)
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
  package static func disarm() { sparrow_faults_arm(0, 0, false, 0) }

  /// Whether an armed failure has not come yet, or lasts.
  package static var isArmed: Bool {
    let faults = sparrow_faults_get()
    return faults.calls > 0 || faults.events > 0
  }

  /// How many calls and events this thread has failed in all.
  package static var injectedCount: Int { Int(sparrow_faults_get().injected) }

  /// Counts the checked calls that `body` makes on this thread.
  package static func countCalls<Result>(
    in body: () throws -> Result
  ) rethrows -> (result: Result, calls: Int) {
    let counts = try count(in: body)
    return (counts.result, counts.calls)
  }

  /// Counts the checked calls that `body` makes on this thread, and the events it asks how their
  /// commands ended.
  package static func count<Result>(
    in body: () throws -> Result
  ) rethrows -> (result: Result, calls: Int, events: Int) {
    let start = Int64.max
    sparrow_faults_arm(start, start, false, 0)
    defer { disarm() }
    let result = try body()
    let faults = sparrow_faults_get()
    return (result, Int(start - faults.calls), Int(start - faults.events))
  }
}
