import Foundation
import OpenCLRuntime

/// The device that these tests run on: what `SPARROW_DEVICE` says, else what Sparrow would choose.
enum TestDevice {
  /// nil where there is no OpenCL device, or where the choice is the reference.
  static let shared: Device? = {
    isolatePoCLCache()
    guard let devices = try? DeviceCatalog.devices(), !devices.isEmpty,
      let selection = try? DeviceRequest(flag: nil).select(from: devices.map(\.properties)),
      case .device(let index, _) = selection
    else { return nil }
    return devices[index]
  }()

  static var isPresent: Bool { shared != nil }

  /// Whether the absence of a device is a failure.
  static var isRequired: Bool {
    ProcessInfo.processInfo.environment["SPARROW_REQUIRE_OPENCL"] == "1"
  }

  static func context() throws -> Context {
    guard let device = shared else { throw Missing() }
    return try Context(device: device)
  }

  struct Missing: Error {}

  /// PoCL may abort on a kernel cache that another process has damaged, so tests get their own.
  private static func isolatePoCLCache() {
    guard ProcessInfo.processInfo.environment["POCL_CACHE_DIR"] == nil else { return }
    let path = cacheDirectory.path
    guard
      (try? FileManager.default.createDirectory(
        at: cacheDirectory, withIntermediateDirectories: true)) != nil
    else { return }
    setenv("POCL_CACHE_DIR", path, 0)
    atexit { try? FileManager.default.removeItem(at: TestDevice.cacheDirectory) }
  }

  private static let cacheDirectory = FileManager.default.temporaryDirectory
    .appendingPathComponent("sparrow-pocl-\(ProcessInfo.processInfo.processIdentifier)")
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
    __kernel void coordinates(__global uint *out, const uint tag, const ulong wide,
                              __local uint *scratch) {
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
