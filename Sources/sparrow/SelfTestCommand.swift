import ArgumentParser
import DeviceTrust
import Foundation
import OpenCLRuntime
import Verification

/// The self-test of one device, in a process that a driver may crash or hang: started by
/// `DeviceOptions` and `sparrow devices`, not by people.
struct SelfTestCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "self-test",
    abstract: "Run the self-test of one device and write the verdict as JSON.",
    shouldDisplay: false)

  @Argument(help: "P:D, as listed by `sparrow devices`.") var designation: String
  @Option(help: "The device that is expected there.") var identity: String
  @Option(help: "After so many seconds the process ends itself.") var seconds: Double
  @Flag(help: "All small cases of every operation.") var full = false

  func run() throws {
    // An orphan must not outlast what its parent would have waited.
    alarm(UInt32(max(1, min(seconds, 1e6))) + 5)
    Self.endWithParent()
    try Console.result(IsolatedSelfTest.text(of: verdict()))
  }

  /// Ends the process when the one that wants the verdict is gone: what it runs may never end.
  private static func endWithParent() {
    let parent = getppid()
    Thread.detachNewThread {
      while getppid() == parent { usleep(100_000) }
      _exit(1)
    }
  }

  private func verdict() throws -> SelfTestVerdict {
    guard
      let device = try DeviceCatalog.devices().first(where: { $0.designation == designation }),
      SelfTestIdentity(device.properties).digest == identity
    else { return .failed("\(designation) is another device than a moment ago") }
    return SelfTest.run(full ? OperationCases.all(.quick) : OperationCases.start, on: device)
  }
}

/// Self-tests as this tool runs them.
enum SelfTesting {
  /// The environment's limit of a self-test, for slow simulators.
  static let limitVariable = "SPARROW_SELF_TEST_LIMIT"

  /// In seconds. Compiling takes most of a first self-test.
  static var limit: Double {
    let text = ProcessInfo.processInfo.environment[limitVariable] ?? ""
    return Double(text).flatMap { $0 > 0 && $0 <= 1e6 ? $0 : nil } ?? 300
  }

  /// What is remembered of devices, and for how long to wait for another process.
  static var trial: DeviceTrial {
    DeviceTrial(
      store: ProgramCache.standard().map { SelfTestStore(folder: $0.directory.path) },
      patience: limit + 10)
  }

  /// Runs the self-test in a process of its own, or, where none can be started, in this one.
  static func run(_ device: Device, _ identity: SelfTestIdentity, full: Bool) -> SelfTestVerdict {
    let arguments =
      [
        "self-test", device.designation, "--identity", identity.digest, "--seconds", "\(limit)",
      ] + (full ? ["--full"] : [])
    if let executable = Bundle.main.executablePath,
      let verdict = IsolatedSelfTest.verdict(of: executable, arguments, seconds: limit)
    {
      return verdict
    }
    return SelfTest.run(full ? OperationCases.all(.quick) : OperationCases.start, on: device)
  }
}
