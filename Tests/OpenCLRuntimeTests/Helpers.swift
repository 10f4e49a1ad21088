import Foundation
import OpenCLRuntime
import TestSupport
import Testing

extension TestDevice {
  static func context() throws -> Context { try Context(device: #require(try find())) }
}

/// Runs `body` with a directory that is gone afterwards.
func withTemporaryDirectory<Result>(_ body: (URL) throws -> Result) throws -> Result {
  let directory = FileManager.default.temporaryDirectory
    .appendingPathComponent("sparrow-test-\(UUID().uuidString)")
  try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: true)
  defer { try? FileManager.default.removeItem(at: directory) }
  return try body(directory)
}

/// Kernels for tests.
enum TestSource {
  static let options = "-cl-std=CL1.2"

  /// `c[i] = a[i] + scale * b[i]` for `i < count`.
  static let add = """
    __kernel void add(__global const float *a, __global const float *b, __global float *c,
                      const float scale, const int count) {
      const int i = get_global_id(0);
      if (i < count) c[i] = fma(scale, b[i], a[i]);
    }
    """

  /// Writes every work-item's coordinates, to see that sizes and dimensions arrive in order.
  static let coordinates = """
    __kernel void coordinates(__global uint *out, const uint tag, const ulong wide) {
      __local uint scratch[6];
      const size_t x = get_global_id(0), y = get_global_id(1), z = get_global_id(2);
      const size_t i = (z * get_global_size(1) + y) * get_global_size(0) + x;
      const size_t l = (get_local_id(2) * get_local_size(1) + get_local_id(1))
                       * get_local_size(0) + get_local_id(0);
      scratch[l] = (uint)(x + 10 * y + 100 * z);
      barrier(CLK_LOCAL_MEM_FENCE);
      out[i] = scratch[l] + tag + (uint)(wide >> 32);
    }
    """

  static let broken = "__kernel void broken(__global float *a) { a[0] = undeclared_thing; }"
}
