import ArgumentParser
import Foundation
import OpenCLBackend
import OpenCLRuntime
import Verification

struct Devices: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "List OpenCL devices, what each is good for, and which one would be used.",
    discussion: """
      Every device that can be used runs a self-test: small cases of every operation against \
      double precision.

      Examples:
        sparrow devices
        sparrow devices --json
      """)

  @OptionGroup var json: JSONOption
  @OptionGroup var device: DeviceOptions

  func run() throws {
    let devices = try DeviceCatalog.devices()
    let rows = devices.map(Row.init)
    let selection = try device.request().select(from: devices.map(\.properties))
    let chosen: String? =
      if case .device(let index, _) = selection { devices[index].designation } else { nil }
    if json.isOn {
      try printJSON(
        Output(
          devices: rows, selected: chosen ?? "reference", reason: selection.reason,
          advice: rows.isEmpty ? Installation.advice() : nil))
      return
    }
    for row in rows {
      print(
        """
        [\(row.designation)] \(row.name)\(row.designation == chosen ? "   <- used" : "")
              platform   \(row.platform) (\(row.platformVersion))
              driver     \(row.driver), \(row.version)
              kind       \(row.kind), \(row.computeUnits) compute units, \(row.clockMHz) MHz
              memory     \(size(row.memory)), at most \(size(row.maximumAllocation)) at once; \
        local \(size(UInt64(row.localMemory)))
              self-test  \(row.selfTest)

        """)
    }
    if rows.isEmpty { print("No OpenCL device.\n\n\(Installation.advice())\n") }
    print("Sparrow uses \(chosen.map { "[\($0)]" } ?? "the CPU reference"): \(selection.reason)")
  }

  private struct Output: Encodable {
    let devices: [Row]
    let selected: String
    let reason: String
    let advice: String?
  }

  private struct Row: Encodable {
    let designation, name, vendor, platform, platformVersion, driver, version, kind: String
    let computeUnits, clockMHz, localMemory: Int
    let memory, maximumAllocation: UInt64
    let usable: Bool
    let selfTest: String
    let selfTestPassed: Bool?

    init(_ device: Device) {
      designation = device.designation
      name = device.name
      vendor = device.vendor
      platform = device.platformName
      platformVersion = device.platformVersion
      driver = device.driverVersion
      version = device.version
      kind = device.kind.label
      computeUnits = device.computeUnits
      clockMHz = device.maximumClockMHz
      localMemory = device.localMemory
      memory = device.globalMemory
      maximumAllocation = device.maximumAllocation
      if let obstacle = device.properties.obstacle {
        (usable, selfTest, selfTestPassed) = (false, "not run: \(obstacle)", nil)
        return
      }
      let outcome = Self.selfTest(device)
      (usable, selfTest, selfTestPassed) = (outcome.passed, outcome.text, outcome.passed)
    }

    private static func selfTest(_ device: Device) -> (passed: Bool, text: String) {
      do {
        let backend = try OpenCLBackend(device: device)
        let cases = OperationCases.all(.quick)
        for operation in cases {
          let report = try operation.report(on: backend)
          if let failure = report.comparison.failure {
            return (false, "FAILED: \(report.operation) \(report.label): \(failure)")
          }
        }
        return (true, "passed, \(cases.count) cases")
      } catch {
        return (false, "FAILED: \(String(describing: error).prefix { $0 != "\n" })")
      }
    }
  }

  private func size(_ bytes: UInt64) -> String {
    bytes >= 1 << 30
      ? String(format: "%.1f GiB", Double(bytes) / 0x1p30)
      : bytes >= 1 << 20 ? "\(bytes >> 20) MiB" : "\(bytes >> 10) KiB"
  }
}
