import COpenCL
import Foundation

/// An allocation in the host's memory, for transfers that run while the host goes on.
package final class HostBytes {
  /// On a page, as some drivers need to copy without a bounce buffer.
  private static let alignment = 4096

  private let base: UnsafeMutableRawPointer
  package let byteCount: Int

  /// Allocates `byteCount` zeroed bytes.
  ///
  /// - Throws: `OpenCLError` with `CL_OUT_OF_HOST_MEMORY`.
  package init(byteCount: Int) throws {
    precondition(byteCount >= 0, "an allocation of negative size")
    var pointer: UnsafeMutableRawPointer?
    let size = max(byteCount, 1)
    guard posix_memalign(&pointer, Self.alignment, size) == 0, let pointer else {
      throw OpenCLError(
        call: "posix_memalign", code: cl_int(CL_OUT_OF_HOST_MEMORY),
        detail: "asked for \(readableSize(UInt64(size))) of the host's memory")
    }
    memset(pointer, 0, size)
    base = pointer
    self.byteCount = byteCount
  }

  /// Copies `source`.
  package convenience init(copying source: UnsafeRawBufferPointer) throws {
    try self.init(byteCount: source.count)
    contents.copyMemory(from: source)
  }

  deinit { free(base) }

  /// The bytes, valid as long as this object lives.
  package var contents: UnsafeMutableRawBufferPointer {
    UnsafeMutableRawBufferPointer(start: base, count: byteCount)
  }
}
