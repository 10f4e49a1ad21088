import COpenCL

/// A buffer in a device's memory, with undefined contents at first.
///
/// Released when it goes; the driver keeps it until commands that use it have finished.
package final class Memory: @unchecked Sendable {
  // Unchecked because everything here is immutable, and OpenCL guards its object itself.
  /// What kernels may do with it.
  package enum Access: Sendable {
    case readWrite, readOnly, writeOnly

    fileprivate var flags: cl_mem_flags {
      switch self {
      case .readWrite: cl_mem_flags(CL_MEM_READ_WRITE)
      case .readOnly: cl_mem_flags(CL_MEM_READ_ONLY)
      case .writeOnly: cl_mem_flags(CL_MEM_WRITE_ONLY)
      }
    }
  }

  let handle: Handle
  package let context: Context
  /// As asked for, also when that was 0.
  package let byteCount: Int
  private let reserved: UInt64

  /// The allocation behind `byteCount: 0`, which OpenCL does not allow.
  private static let minimumByteCount = 16

  /// Wraps `clCreateBuffer`.
  ///
  /// A request beyond the device's largest buffer, or beyond what its memory has left after this
  /// context's other buffers, is refused without asking the driver. A driver may allocate lazily,
  /// so that memory other processes have taken shows only at the first use, as an error of the
  /// call that enqueues it.
  ///
  /// - Throws: `OpenCLError` with the sizes asked for and available.
  package init(context: Context, byteCount: Int, access: Access = .readWrite) throws {
    precondition(byteCount >= 0, "a buffer of negative size")
    let size = max(byteCount, Self.minimumByteCount)
    let asked = UInt64(size)

    func sizes() -> String {
      let device = context.device
      return "asked for \(readableSize(asked)) on \(device.name), which allows"
        + " \(readableSize(device.maximumAllocation)) in one buffer and has"
        + " \(readableSize(device.globalMemory)) in all, of which Sparrow holds"
        + " \(readableSize(context.allocatedByteCount))"
    }
    guard asked <= context.device.maximumAllocation else {
      throw OpenCLError(
        call: "clCreateBuffer", code: cl_int(CL_INVALID_BUFFER_SIZE), detail: sizes())
    }
    guard context.reserve(asked) else {
      throw OpenCLError(
        call: "clCreateBuffer", code: cl_int(CL_MEM_OBJECT_ALLOCATION_FAILURE), detail: sizes())
    }
    do {
      handle = try create(.memory, "clCreateBuffer", sizes()) {
        clCreateBuffer(context.handle.pointer, access.flags, size, nil, $0)
      }
    } catch {
      context.unreserve(asked)
      throw error
    }
    self.context = context
    self.byteCount = byteCount
    reserved = asked
  }

  deinit { context.unreserve(reserved) }

  /// Whether the bytes lie within it; false for negative values.
  func contains(offset: Int, byteCount count: Int) -> Bool {
    offset >= 0 && count >= 0 && offset <= byteCount && count <= byteCount - offset
  }
}
