import COpenCL

/// The one owner of a reference to an OpenCL object; releases it when it goes.
///
/// Being noncopyable it cannot release twice, and an initializer that throws halfway releases what
/// it has made so far without a word.
struct Handle: ~Copyable {
  enum Kind { case context, queue, memory, program, kernel, event }

  let pointer: OpaquePointer
  private let kind: Kind
  private let ledger: HandleLedger?

  /// Takes over the caller's reference.
  init(owning pointer: OpaquePointer, _ kind: Kind) {
    self.pointer = pointer
    self.kind = kind
    ledger = HandleLedger.current
    ledger?.made()
  }

  deinit {
    switch kind {
    case .context: attempt("clReleaseContext") { clReleaseContext(pointer) }
    case .queue: attempt("clReleaseCommandQueue") { clReleaseCommandQueue(pointer) }
    case .memory: attempt("clReleaseMemObject") { clReleaseMemObject(pointer) }
    case .program: attempt("clReleaseProgram") { clReleaseProgram(pointer) }
    case .kernel: attempt("clReleaseKernel") { clReleaseKernel(pointer) }
    case .event: attempt("clReleaseEvent") { clReleaseEvent(pointer) }
    }
    ledger?.released()
  }
}
