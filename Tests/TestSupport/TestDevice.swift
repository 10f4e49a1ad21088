import Foundation
import OpenCLRuntime
import Testing

/// The OpenCL device that the tests run on, one test at a time.
///
/// PoCL 3.1 confuses the work-group functions that it holds for one kernel where two queues of a
/// process launch it over grids of different sizes, and then ends the process. Nothing is lost: it
/// compiles, which is most of what such a test takes, one kernel at a time.
package enum TestDevice {
  /// The device that `SPARROW_DEVICE` names, or the one that would be used by default.
  ///
  /// - Returns: nil where there is none, or where the choice is the reference; under
  ///   `SPARROW_REQUIRE_OPENCL=1` that is a failure.
  package static func find() throws -> Device? {
    if !isHeld { Issue.record("a test that uses the device needs the trait .usesDevice") }
    let device = try choice.get()
    if device == nil && isRequired {
      Issue.record("SPARROW_REQUIRE_OPENCL=1, and there is no OpenCL device")
    }
    return device
  }

  package static var isPresent: Bool { ((try? choice.get()) ?? nil) != nil }

  /// Whether the absence of a device is a failure.
  package static var isRequired: Bool {
    ProcessInfo.processInfo.environment["SPARROW_REQUIRE_OPENCL"] == "1"
  }

  private static let choice = Result {
    isolatePoCLCache()
    let devices = try DeviceCatalog.devices()
    guard
      case .device(let index, _) = try DeviceRequest(flag: nil).select(
        from: devices.map(\.properties))
    else { return nil as Device? }
    return devices[index]
  }

  /// PoCL may abort on a kernel cache that another process has damaged, so tests get their own.
  private static func isolatePoCLCache() {
    guard ProcessInfo.processInfo.environment["POCL_CACHE_DIR"] == nil,
      let folder = cacheFolder
    else { return }
    setenv("POCL_CACHE_DIR", folder.path, 0)
    atexit { TestDevice.cacheFolder?.remove() }
  }

  private static let cacheFolder = try? TemporaryFolder()

  @TaskLocal fileprivate static var isHeld = false
  fileprivate static let turnstile = Turnstile(places: 1)
}

/// The trait of tests that use the device.
package struct UseOfDevice: TestTrait, SuiteTrait, TestScoping {
  package var isRecursive: Bool { true }

  package func provideScope(
    for test: Test, testCase: Test.Case?, performing function: @Sendable () async throws -> Void
  ) async throws {
    // A test within a suite that has it already.
    if TestDevice.isHeld { return try await function() }
    try await TestDevice.turnstile.pass {
      try await TestDevice.$isHeld.withValue(true) { try await function() }
    }
  }
}

extension Trait where Self == UseOfDevice {
  package static var usesDevice: Self { Self() }
}
