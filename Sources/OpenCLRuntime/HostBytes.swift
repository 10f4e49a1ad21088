import COpenCL
import Foundation

/// An allocation in the host's memory, for transfers that run while the host goes on.
package final class HostBytes {
  /// On a page, as some drivers need to copy without a bounce buffer.
  private static let alignment = 4096

  private let base: UnsafeMutableRawPointer
  package let byteCount: Int

  /// Allocates bytes of undefined contents.
  ///
  /// - Throws: `OpenCLError` with `CL_OUT_OF_HOST_MEMORY`.
  init(undefined byteCount: Int) throws {
    precondition(byteCount >= 0, "an allocation of negative size")
    var pointer: UnsafeMutableRawPointer?
    let size = max(byteCount, 1)
    guard posix_memalign(&pointer, Self.alignment, size) == 0, let pointer else {
      throw OpenCLError(
        call: "posix_memalign", code: cl_int(CL_OUT_OF_HOST_MEMORY),
        detail: "asked for \(readableSize(UInt64(size))) of the host's memory")
    }
    base = pointer
    self.byteCount = byteCount
  }

  /// Allocates `byteCount` zero bytes.
  ///
  /// - Throws: `OpenCLError` with `CL_OUT_OF_HOST_MEMORY`.
  package convenience init(byteCount: Int) throws {
    try self.init(undefined: byteCount)
    memset(base, 0, byteCount)
  }

  /// Copies `source`.
  ///
  /// - Throws: `OpenCLError` with `CL_OUT_OF_HOST_MEMORY`.
  package convenience init(copying source: UnsafeRawBufferPointer) throws {
    try self.init(undefined: source.count)
    contents.copyMemory(from: source)
  }

  deinit { free(base) }

  /// The bytes, valid as long as this object lives.
  package var contents: UnsafeMutableRawBufferPointer {
    UnsafeMutableRawBufferPointer(start: base, count: byteCount)
  }
}
