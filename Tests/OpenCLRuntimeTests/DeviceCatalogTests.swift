import Foundation
import OpenCLRuntime
import TestSupport
import Testing

@Suite struct DeviceCatalogTests {
  @Test(.enabled(if: TestDevice.isRequired))
  func aDeviceIsPresentWhereOneIsRequired() {
    #expect(TestDevice.isPresent, "SPARROW_REQUIRE_OPENCL=1, but no OpenCL device can be used")
  }

  @Test(.usesDevice, .enabled(if: TestDevice.isPresent))
  func devicesDescribeThemselves() throws {
    for device in try DeviceCatalog.devices() {
      #expect(!device.name.isEmpty && !device.platformName.isEmpty)
      #expect(device.name == device.name.trimmingCharacters(in: .whitespacesAndNewlines))
      #expect(device.version.hasPrefix("OpenCL "))
      #expect(device.computeUnits >= 1)
      #expect(device.globalMemory >= device.maximumAllocation)
      #expect(device.maximumAllocation >= 1 << 20)
      #expect(device.maximumWorkGroupSize >= 1)
      #expect(device.alignment >= 4)
      #expect(device.localMemory >= 1 << 10)
      #expect(device.designation == "\(device.platformIndex):\(device.deviceIndex)")
    }
  }

  /// Fails each call of a survey in turn: it either throws (no platforms) or leaves something out
  /// and says what, and it never crashes.
  @Test(.usesDevice, .enabled(if: TestDevice.isPresent))
  func oneBrokenAnswerIsReportedAndHidesNothingElse() throws {
    let (whole, calls) = try FaultInjection.countCalls { try DeviceCatalog.survey() }
    let deviceCount = whole.map(\.devices.count).reduce(0, +)
    #expect(whole.allSatisfy { $0.problems.isEmpty })
    #expect(calls > 20)
    for call in 1...calls {
      FaultInjection.arm(failing: call)
      defer { FaultInjection.disarm() }
      do {
        let survey = try DeviceCatalog.survey()
        let problems = survey.flatMap(\.problems)
        #expect(problems.count == 1, "call \(call)")
        #expect(problems.first?.contains("CL_OUT_OF_RESOURCES") == true)
        #expect(survey.map(\.devices.count).reduce(0, +) < deviceCount)
        #expect(survey.count == whole.count)
      } catch let error as OpenCLError {
        #expect(error.call == "clGetPlatformIDs")
      }
    }
  }

  @Test(.usesDevice, .enabled(if: TestDevice.isPresent))
  func noDriverAndNoDeviceAreNoErrors() throws {
    FaultInjection.arm(failing: 1, code: -1001)
    #expect(try DeviceCatalog.devices().isEmpty)
    #expect(!FaultInjection.isArmed)
    // The first platform: ids twice, then two calls for each of three names, then its devices.
    FaultInjection.arm(failing: 9, code: -1)
    let survey = try DeviceCatalog.survey()
    #expect(!FaultInjection.isArmed)
    #expect(survey.first?.devices.isEmpty == true)
    #expect(survey.first?.problems == [])
  }
}
