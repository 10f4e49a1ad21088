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
  @Option(help: "Those of some operations, separated by commas.") var operations: String?
  @Flag(help: "Take from standard input which parts are this process's.") var shared = false

  func run() throws {
    Self.endWithParent(seconds: max(1, min(seconds, 1e6)) + 5)
    try Console.result(IsolatedSelfTest.text(of: verdict()))
  }

  /// Ends the process when the one that wants the verdict is gone: what it runs may never end. Nor
  /// must it outlast what the other would have waited, where that was gone before this began; an
  /// alarm would also count the time in which both are suspended.
  private static func endWithParent(seconds: Double) {
    let parent = getppid()
    Thread.detachNewThread {
      var time = PolledTime()
      while getppid() == parent, time.poll() < seconds { usleep(100_000) }
      _exit(1)
    }
  }

  private func verdict() throws -> SelfTestVerdict {
    let cases = cases()
    guard
      let device = try DeviceCatalog.devices().first(where: { $0.designation == designation }),
      SelfTestIdentity(device.properties, cases: cases).digest == identity
    else { return .failed("\(designation) is another device than a moment ago") }
    let draw: (() -> Int?)? = shared ? { Self.nextPart() } : nil
    return SelfTest.run(cases, on: device, draw: draw)
  }

  private func cases() -> [any OperationCase] {
    if full { return SelfTesting.Extent.full.cases }
    guard let operations else { return OperationCases.start }
    return OperationCases.start(of: Set(operations.split(separator: ",").map { String($0) }))
  }

  private static func nextPart() -> Int? {
    var place: UInt8 = 0
    return read(STDIN_FILENO, &place, 1) == 1 ? Int(place) : nil
  }
}

/// Self-tests as this tool runs them.
enum SelfTesting {
  /// The environment's limit of a self-test, for slow simulators.
  static let limitVariable = "SPARROW_SELF_TEST_LIMIT"

  /// In seconds. Compiling takes most of a first self-test.
  static var limit: Double {
    ProcessInfo.processInfo.environment[limitVariable].flatMap { limit($0) } ?? 300
  }

  /// Nil where the text is no limit.
  static func limit(_ text: String) -> Double? {
    Double(text).flatMap { $0 > 0 && $0 <= 1e6 ? $0 : nil }
  }

  /// What is remembered of devices, and for how long to wait for another process.
  static var trial: DeviceTrial {
    DeviceTrial(
      store: ProgramCache.standard().map { SelfTestStore(folder: $0.directory.path) },
      patience: limit + 10)
  }

  /// What a self-test consists of.
  enum Extent {
    /// All small cases of every operation.
    case full
    /// A case or two of each of these operations; of all when nil.
    case start(of: Set<String>?)

    var cases: [any OperationCase] {
      switch self {
      case .full: OperationCases.all(.quick)
      case .start(let operations): OperationCases.start(of: operations)
      }
    }

    fileprivate var arguments: [String] {
      switch self {
      case .full: ["--full"]
      case .start(let operations):
        operations.map { ["--operations", $0.sorted().joined(separator: ",")] } ?? []
      }
    }
  }

  /// PoCL compiles in a worker thread, most often the first; bound to cores, as they are for
  /// arithmetic, those of two processes would compile on one core. And a driver that crashes ends
  /// its process at once: Swift's tracer of crashes, whose words go nowhere here, has been seen to
  /// wait for ever.
  private static let environment = ["POCL_AFFINITY": "0", "SWIFT_BACKTRACE": "enable=no"]

  /// Runs the self-test in processes of its own, or, where none can be started, in this one.
  static func run(_ device: Device, _ extent: Extent) -> SelfTestVerdict {
    let cases = extent.cases
    let parts = SelfTest.parts(of: cases, on: device.properties).count
    let identity = SelfTestIdentity(device.properties, cases: cases)
    let arguments =
      [
        "self-test", device.designation, "--identity", identity.digest, "--seconds", "\(limit)",
        "--shared",
      ] + extent.arguments
    if let executable = Bundle.main.executablePath,
      let verdict = IsolatedSelfTest.verdict(
        of: executable, arguments, seconds: limit,
        processes: SelfTest.processes(for: device.properties, parts: parts), parts: parts,
        environment: environment)
    {
      guard case .passed(let count, _) = verdict, count != cases.count else { return verdict }
      return .failed("its processes ran \(count) of \(cases.count) cases")
    }
    return SelfTest.run(cases, on: device)
  }
}
