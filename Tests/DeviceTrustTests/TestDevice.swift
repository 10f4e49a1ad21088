import Foundation
import OpenCLBackend
import OpenCLRuntime
import Testing

/// The OpenCL device that the tests run on.
enum TestDevice {
  /// The device that `SPARROW_DEVICE` names, or the one that would be used by default.
  ///
  /// - Returns: nil where there is none; under `SPARROW_REQUIRE_OPENCL=1` that is a failure.
  static func find() throws -> Device? {
    let devices = try DeviceCatalog.devices()
    if case .device(let index, _) = try DeviceRequest(flag: nil).select(
      from: devices.map(\.properties))
    {
      return devices[index]
    }
    if ProcessInfo.processInfo.environment["SPARROW_REQUIRE_OPENCL"] == "1" {
      Issue.record("SPARROW_REQUIRE_OPENCL=1, and there is no OpenCL device")
    }
    return nil
  }
}
