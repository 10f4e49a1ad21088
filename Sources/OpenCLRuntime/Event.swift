import COpenCL

/// The state of one enqueued command.
package final class Event: @unchecked Sendable {
  // Unchecked because the handle is immutable, and OpenCL guards its object itself.
  private let handle: Handle
  /// What the command was, for errors: `kernel 'adam'`.
  package let label: String
  /// Where the queue counts what fails.
  private let failures: FailureCount

  /// When a command was enqueued, handed to the device, begun and finished, in nanoseconds of the
  /// device's clock.
  package typealias Profile = (queued: UInt64, submitted: UInt64, started: UInt64, ended: UInt64)

  init(owning handle: consuming Handle, label: String, failures: FailureCount) {
    self.handle = handle
    self.label = label
    self.failures = failures
  }

  /// Blocks until the command is complete. Wraps `clWaitForEvents`.
  ///
  /// - Throws: `OpenCLError`, also when the command itself failed.
  package func wait() throws {
    try failures.noting(ofExecution: true) { try waitForEnd() }
  }

  private func waitForEnd() throws {
    var event: cl_event? = handle.pointer
    do {
      try check("clWaitForEvents", label) { clWaitForEvents(1, &event) }
    } catch let error as OpenCLError
      where error.code == CL_EXEC_STATUS_ERROR_FOR_EVENTS_IN_WAIT_LIST
    {
      // The driver only says that the command failed; its status says how.
      _ = try isComplete
      throw error
    }
    if sparrow_event_fault_due(), let failure = failure(sparrow_fault_code()) { throw failure }
  }

  /// Whether the command is complete. It makes no progress of its own: flush the queue.
  ///
  /// - Throws: `OpenCLError`, also when the command itself failed.
  package var isComplete: Bool {
    get throws {
      let status = try failures.noting { try self.status() }
      if let failure = failure(status) {
        failures.note(ofExecution: true)
        throw failure
      }
      return status == CL_COMPLETE
    }
  }

  /// The command's status: `CL_QUEUED`, `CL_SUBMITTED`, `CL_RUNNING`, `CL_COMPLETE`, or a negative
  /// error code when it failed on the device.
  func status() throws -> cl_int {
    let status = try info("clGetEventInfo", label, initial: cl_int(0)) {
      clGetEventInfo(handle.pointer, cl_event_info(CL_EVENT_COMMAND_EXECUTION_STATUS), $0, $1, $2)
    }
    return sparrow_event_fault_due() ? sparrow_fault_code() : status
  }

  /// The error of a status that is one.
  func failure(_ status: cl_int) -> OpenCLError? {
    guard status < 0 else { return nil }
    return OpenCLError(
      call: "clGetEventInfo", code: status, detail: "\(label) was aborted on the device")
  }

  /// Blocks until the command is complete or has failed, without a word: for a `deinit` that is
  /// about to free memory which the device may still use.
  func settle() {
    var event: cl_event? = handle.pointer
    attempt("clWaitForEvents") { clWaitForEvents(1, &event) }
  }

  /// Its times; wait first. Wraps `clGetEventProfilingInfo`.
  ///
  /// - Throws: `OpenCLError` with `CL_PROFILING_INFO_NOT_AVAILABLE` while it is not complete or
  ///   when its queue does not profile.
  package func profile() throws -> Profile {
    func time(_ parameter: Int32) throws -> UInt64 {
      try info("clGetEventProfilingInfo", label, initial: cl_ulong(0)) {
        clGetEventProfilingInfo(handle.pointer, cl_profiling_info(parameter), $0, $1, $2)
      }
    }
    return (
      queued: try time(CL_PROFILING_COMMAND_QUEUED),
      submitted: try time(CL_PROFILING_COMMAND_SUBMIT),
      started: try time(CL_PROFILING_COMMAND_START),
      ended: try time(CL_PROFILING_COMMAND_END)
    )
  }
}
