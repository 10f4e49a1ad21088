import ArgumentParser
import Foundation
import OpenCLBackend
import OpenCLRuntime
import Verification

struct Devices: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "List the OpenCL devices and say which one is used by default, and why.",
    discussion: """
      Every device that can be used runs a self-test: small cases of every operation against \
      double precision.

      Examples:
        sparrow devices
        sparrow devices --device gpu
        sparrow devices --json
      """)

  @OptionGroup var json: JSONOption
  @OptionGroup var device: DeviceOptions

  func run() throws {
    let devices = try DeviceCatalog.devices()
    let rows = devices.map(Row.init)
    // A wish that cannot be met must not hide the list of what could be wished for.
    let selection = Result { try device.select(device.request(), from: devices) }
    let outcome = (try? selection.get()).map { choice(of: $0, among: rows) }
    try json.isOn ? showJSON(rows, outcome, selection) : show(rows, outcome)
    _ = try selection.get()
  }

  /// The designation of the default, and why.
  private func choice(
    of selection: DeviceSelector.Selection, among rows: [Row]
  ) -> (name: String, reason: String) {
    guard case .device(let index, let reason) = selection else {
      return ("reference", selection.reason)
    }
    let warning = rows[index].usable ? "" : " Its self-test FAILED: name another with --device."
    return (rows[index].designation, reason + warning)
  }

  private func showJSON(
    _ rows: [Row], _ outcome: (name: String, reason: String)?,
    _ selection: Result<DeviceSelector.Selection, any Error>
  ) throws {
    var reason = outcome?.reason
    if case .failure(let error) = selection { reason = "\(error)" }
    try Console.result(
      json: Output(
        devices: rows, default: outcome?.name, reason: reason ?? "",
        advice: rows.isEmpty ? Installation.advice() : nil))
  }

  /// The first line that holds "default" is the default's own: scripts look for it.
  private func show(_ rows: [Row], _ outcome: (name: String, reason: String)?) throws {
    for row in rows {
      try Console.result(
        """
        [\(row.designation)] \(row.name)\(row.designation == outcome?.name ? "   (default)" : "")
              platform   \(row.platform) (\(row.platformVersion))
              driver     \(row.driver), \(row.version)
              kind       \(row.kind), \(row.computeUnits) compute units, \(row.clockMegahertz) MHz
              memory     \(size(row.memory)), at most \(size(row.maximumAllocation)) at once; \
        local \(size(UInt64(row.localMemory)))
              self-test  \(row.selfTest)

        """)
    }
    if rows.isEmpty { try Console.result("\(Installation.advice())\n") }
    guard let outcome else { return }
    try Console.result(
      (outcome.name == "reference" ? "The CPU reference is the default. " : "") + outcome.reason)
  }

  private struct Output: Encodable {
    let devices: [Row]
    /// A designation, or `reference`; absent where the wish cannot be met.
    let `default`: String?
    let reason: String
    let advice: String?
  }

  private struct Row: Encodable {
    let designation, name, vendor, platform, platformVersion, driver, version, kind: String
    let computeUnits, clockMegahertz, localMemory: Int
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
      clockMegahertz = device.maximumClockMHz
      localMemory = device.localMemory
      memory = device.globalMemory
      maximumAllocation = device.maximumAllocation
      if let obstacle = device.properties.obstacle {
        (usable, selfTest, selfTestPassed) = (false, "not run: \(obstacle)", nil)
        return
      }
      let outcome = Self.runSelfTest(device)
      (usable, selfTest, selfTestPassed) = (outcome.passed, outcome.text, outcome.passed)
    }

    private static func runSelfTest(_ device: Device) -> (passed: Bool, text: String) {
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
        return (false, "FAILED: \("\(error)".prefix { !$0.isNewline })")
      }
    }
  }

  private func size(_ bytes: UInt64) -> String {
    bytes >= 1 << 30
      ? String(format: "%.1f GiB", Double(bytes) / 0x1p30)
      : bytes >= 1 << 20 ? "\(bytes >> 20) MiB" : "\(bytes >> 10) KiB"
  }
}
