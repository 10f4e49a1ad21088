import ArgumentParser
import DeviceTrust
import Foundation
import Networks
import OpenCLRuntime
import Training

struct Devices: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "List the OpenCL devices and say which one is used by default, and why.",
    discussion: """
      Every device that can be used runs a self-test: small cases of every operation against \
      double precision, in a process of its own. Commands that compute run fewer cases on the \
      first use of a device with a driver and a build of Sparrow, and remember the outcome, which \
      is shown here; a device that failed, crashed or took the machine down is refused until \
      --retest finds it well, or the driver or the build changes. A self-test is ended after \
      300 s, or what the environment's SPARROW_SELF_TEST_LIMIT says.

      Examples:
        sparrow devices
        sparrow devices --device gpu
        sparrow devices --retest
        sparrow devices --json
      """)

  @Flag(help: "Run what commands run on a device's first use again, and remember the outcome.")
  var retest = false
  @OptionGroup var json: JSONOption
  @OptionGroup var device: DeviceOptions

  func run() throws {
    let devices = try DeviceCatalog.devices()
    let rows = devices.map { Row($0, retest: retest) }
    var descriptions = devices.map(\.properties)
    for (index, row) in rows.enumerated() {
      descriptions[index].refusal = device.isForced ? nil : row.refusal
    }
    // A wish that cannot be met must not hide the list of what could be wished for.
    let selection = Result { try device.select(device.request(), from: descriptions) }
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
    return (rows[index].designation, reason)
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
              first use  \(row.firstUse)

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
    /// What commands remember of their own self-test.
    let firstUse: String
    let firstUsePassed: Bool?
    /// Why commands refuse it, if they do.
    private(set) var refusal: String?

    init(_ device: Device, retest: Bool) {
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
        (firstUse, firstUsePassed) = ("not run", nil)
        return
      }
      let identity = SelfTestIdentity(device.properties)
      let verdict = SelfTesting.run(device, .full)
      (selfTest, selfTestPassed) = (verdict.summary, verdict.isPassed)
      let trial = SelfTesting.trial
      let known = retest ? identity : Self.remembered(of: device.properties, trial) ?? identity
      let remembered =
        retest
        ? trial.verdict(on: device, identity, anew: true) { device, _ in
          SelfTesting.run(device, .start(of: nil))
        } : trial.remembered(known)
      firstUse = Self.text(of: remembered, retest ? nil : trial.store?.record(for: known)?.date)
      firstUsePassed = remembered?.isPassed
      let obstacle = remembered?.obstacle ?? verdict.obstacle
      refusal = obstacle.map { String($0.prefix { !$0.isNewline }) }
      usable = obstacle == nil
    }

    /// What was tested as a whole, or for training or using the default network; a failure first.
    private static func remembered(
      of device: DeviceDescription, _ trial: DeviceTrial
    ) -> SelfTestIdentity? {
      let usual = TrainingConfiguration(network: .collapsed(inputs: 784))
      let known = [nil, usual.operations, usual.evaluationOperations].map {
        SelfTestIdentity(device, cases: SelfTesting.Extent.start(of: $0).cases)
      }.filter { trial.remembered($0) != nil }
      return known.first { trial.remembered($0)?.isPassed == false } ?? known.first
    }

    private static func text(of verdict: SelfTestVerdict?, _ date: Date?) -> String {
      guard let verdict else { return "not yet tested with this driver and build" }
      return verdict.summary + (date.map { ", on \($0.formatted(.iso8601))" } ?? ", just now")
    }
  }

  private func size(_ bytes: UInt64) -> String {
    bytes >= 1 << 30
      ? String(format: "%.1f GiB", Double(bytes) / 0x1p30)
      : bytes >= 1 << 20 ? "\(bytes >> 20) MiB" : "\(bytes >> 10) KiB"
  }
}
