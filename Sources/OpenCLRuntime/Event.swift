import COpenCL

/// The state of one enqueued command.
package final class Event: @unchecked Sendable {
  // Unchecked because the handle is immutable, and OpenCL guards its object itself.
  let handle: cl_event
  /// What the command was, for errors: `kernel 'adam'`.
  package let label: String
  private let entry = HandleLedger.Entry()

  /// When a command was enqueued, handed to the device, begun and finished, in nanoseconds of the
  /// device's clock.
  package typealias Profile = (queued: UInt64, submitted: UInt64, started: UInt64, ended: UInt64)

  /// Takes over the caller's reference of `handle`.
  init(owning handle: cl_event, label: String) {
    self.handle = handle
    self.label = label
  }

  deinit { release("clReleaseEvent") { clReleaseEvent(handle) } }

  /// Blocks until the command is complete. Wraps `clWaitForEvents`.
  ///
  /// - Throws: `OpenCLError`, also when the command itself failed.
  package func wait() throws {
    var event: cl_event? = handle
    do {
      try check("clWaitForEvents", label) { clWaitForEvents(1, &event) }
    } catch let error as OpenCLError
      where error.code == CL_EXEC_STATUS_ERROR_FOR_EVENTS_IN_WAIT_LIST
    {
      // The driver only says that the command failed; its status says how.
      _ = try isComplete
      throw error
    }
  }

  /// Whether the command is complete. It makes no progress of its own: flush the queue.
  ///
  /// - Throws: `OpenCLError`, also when the command itself failed.
  package var isComplete: Bool {
    get throws {
      let status = try info("clGetEventInfo", label, initial: cl_int(0)) {
        clGetEventInfo(handle, cl_event_info(CL_EVENT_COMMAND_EXECUTION_STATUS), $0, $1, $2)
      }
      if status < 0 {
        throw OpenCLError(
          call: "clGetEventInfo", code: status, detail: "\(label) was aborted on the device")
      }
      return status == CL_COMPLETE
    }
  }

  /// Its times; wait first. Wraps `clGetEventProfilingInfo`.
  ///
  /// - Throws: `OpenCLError` with `CL_PROFILING_INFO_NOT_AVAILABLE` while it is not complete or
  ///   when its queue does not profile.
  package func profile() throws -> Profile {
    func time(_ parameter: Int32) throws -> UInt64 {
      try info("clGetEventProfilingInfo", label, initial: cl_ulong(0)) {
        clGetEventProfilingInfo(handle, cl_profiling_info(parameter), $0, $1, $2)
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
