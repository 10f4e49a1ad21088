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
        let (devices, all) = (survey.flatMap(\.devices), whole.flatMap(\.devices))
        // A device is none the worse for not saying which of several it is.
        if problems.isEmpty, devices.map(\.name) == all.map(\.name),
          devices.map(\.properties.unit) != all.map(\.properties.unit)
        {
          continue
        }
        #expect(problems.count == 1, "call \(call)")
        #expect(problems.first?.contains("CL_OUT_OF_RESOURCES") == true)
        #expect(survey.map(\.devices.count).reduce(0, +) < deviceCount)
        #expect(survey.count == whole.count)
      } catch let error as OpenCLError {
        #expect(error.call == "clGetPlatformIDs")
      }
    }
  }

  /// By the first extension that says something.
  @Test func equalDevicesAreToldApart() {
    func unit(_ extensions: String, _ values: [UInt32: [UInt8]]) -> String? {
      Device.unit(offering: extensions) { parameter, byteCount in
        let value = values[parameter] ?? []
        return value + [UInt8](repeating: 0, count: byteCount - value.count)
      }
    }
    let (uuid, bus) = ([UInt8](1...16), [UInt8]([0, 0, 0, 0, 0x4b, 0, 0, 0]))
    let values: [UInt32: [UInt8]] = [0x106A: uuid, 0x410F: bus, 0x4008: [0x4b]]
    #expect(
      unit("cl_khr_fp64 cl_khr_device_uuid cl_khr_pci_bus_info", values)
        == "uuid 0102030405060708090a0b0c0d0e0f10")
    let pci = "pci 000000004b0000000000000000000000"
    #expect(unit("cl_khr_pci_bus_info", values) == pci)
    #expect(unit("cl_khr_device_uuid cl_khr_pci_bus_info", [0x410F: bus]) == pci)
    #expect(unit("cl_nv_device_attribute_query", values) == "nv 000000004b00000000000000")
    #expect(unit("cl_khr_device_uuid_x", values) == nil)
    #expect(unit("cl_khr_device_uuid cl_khr_pci_bus_info", [:]) == nil)
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
