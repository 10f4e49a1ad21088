import DeviceTrust
import Foundation
import TestSupport
import Testing

/// Devices that lie, crash or hang: PoCL takes flags for its compiler from the environment, so that
/// one macro of ours can be given another meaning behind Sparrow's back.
@Suite(.serialized) struct SelfTestTests {
  /// Each work-item that gathers rows takes a few pixels and leaves the rest.
  private static let lies = "-DGATHER_BLOCK=4"
  /// Each reads what is not there.
  private static let crashes = "-DGATHER_BLOCK=(*(volatile/**/global/**/uint/**/*)8)"
  /// Each waits for ever.
  private static let hangs = "-DGATHER_BLOCK=({volatile/**/uint/**/h=1;while(h);4u;})"

  /// A folder for verdicts, and for what is compiled wrongly, so that no other test sees it.
  private final class Caches {
    let folder: TemporaryFolder
    init() throws { folder = try TemporaryFolder() }

    func environment(_ flags: String? = nil, limit: Int? = nil) throws -> [String: String] {
      var environment = ["SPARROW_CACHE_DIR": try folder.makeFolder("sparrow")]
      if let flags {
        environment["POCL_CACHE_DIR"] = try folder.makeFolder("pocl-" + flags.filter(\.isLetter))
        environment["POCL_EXTRA_BUILD_FLAGS"] = flags
      }
      environment["SPARROW_SELF_TEST_LIMIT"] = limit.map(String.init)
      return environment
    }

    private var recordName: String? {
      folder.names.first { $0.contains("self-test-") && $0.hasSuffix(".json") }
    }

    /// The entry of the one device.
    var record: String? { recordName.flatMap { try? text(of: folder.file($0)) } }

    func setRecord(_ text: String) throws {
      _ = try folder.write(text, to: try #require(recordName))
    }
  }

  private func evaluate(
    _ environment: [String: String], device: String? = nil, forced: Bool = false
  ) async throws -> Tool.Outcome {
    try await Tool.run(
      ["evaluate", "--model", Scratch.model, "--data", "glyphs:300"]
        + (device.map { ["--device", $0] } ?? []) + (forced ? ["--force-device"] : []),
      environment: environment)
  }

  /// Whether the tests' device is PoCL's, which alone can be made to lie.
  private func isOnPoCL() async throws -> Bool { try await evaluate([:]).isOnPoCL }

  @Test func aDeviceThatPassesIsTestedOnce() async throws {
    let caches = try Caches()
    let environment = try caches.environment()
    let first = try await evaluate(environment)
    #expect(first.status == 0, "\(first.errors)")
    guard first.isOnDevice else { return }
    #expect(first.errors.contains("Self-test of "))
    let record = try #require(caches.record)
    #expect(record.contains("passed"))
    let second = try await evaluate(environment)
    #expect(second.status == 0 && !second.errors.contains("Self-test of "))
    #expect(first.output == second.output)

    // A damaged entry is one that is not there.
    let name = try #require(
      caches.folder.names.first { $0.contains("self-test-") && $0.hasSuffix(".json") })
    _ = try caches.folder.write(String(record.dropLast(20)), to: name)
    let third = try await evaluate(environment)
    #expect(third.status == 0 && third.errors.contains("Self-test of "))
    #expect(caches.record == record || caches.record?.contains("passed") == true)

    var off = environment
    off["SPARROW_CACHE_DIR"] = "off"
    for _ in 0..<2 { #expect(try await evaluate(off).errors.contains("Self-test of ")) }

    let devices = try await Tool.run("devices", environment: environment)
    #expect(devices.output.contains("first use  passed, "))
  }

  /// A tool whose linker has noted another build is another build.
  @Test func anotherBuildTestsAnew() async throws {
    let caches = try Caches()
    let environment = try caches.environment()
    let first = try await evaluate(environment)
    try #require(first.status == 0, "\(first.errors)")
    guard first.isOnDevice else { return }
    let copy = caches.folder.file("sparrow-copy")
    func run() async throws -> Tool.Outcome {
      // A process that another test begins holds what is open for writing here until it is itself.
      while true {
        let outcome = try await Tool.run(
          ["evaluate", "--model", Scratch.model, "--data", "glyphs:300"], environment: environment,
          through: ["/bin/sh", "-c", "shift; exec '\(copy)' \"$@\"", "sh"])
        guard outcome.errors.contains("Text file busy") else { return outcome }
      }
    }
    try FileManager.default.copyItem(atPath: Tool.path, toPath: copy)
    // The same build elsewhere is the same.
    #expect(!(try await run()).errors.contains("Self-test of "))
    let file = try FileHandle(forUpdating: URL(fileURLWithPath: copy))
    let bytes = try #require(try file.readToEnd())
    // A note of 20 bytes, of type 3; without one the contents count.
    let note = Data([4, 0, 0, 0, 20, 0, 0, 0, 3, 0, 0, 0] + Array("GNU\0".utf8))
    let place = bytes.range(of: note)?.upperBound
    try file.seek(toOffset: UInt64(place ?? bytes.count))
    try file.write(contentsOf: [place.map { bytes[$0] ^ 1 } ?? 0])
    try file.close()
    let other = try await run()
    #expect(other.status == 0 && other.errors.contains("Self-test of "), "\(other.errors)")
    #expect(!(try await run()).errors.contains("Self-test of "))
  }

  /// Whoever starts the tool may have it ignore that its processes end; not every `sh` can.
  @Test(.enabled(if: FileManager.default.isExecutableFile(atPath: "/bin/bash")))
  func endsOfProcessesAreSeen() async throws {
    guard try await evaluate([:]).isOnDevice else { return }
    let caches = try Caches()
    let outcome = try await Tool.run(
      ["evaluate", "--model", Scratch.model, "--data", "glyphs:300"],
      environment: caches.environment(limit: 60),
      through: ["/bin/bash", "-c", "trap '' CHLD; exec \"$@\"", "bash"])
    #expect(outcome.status == 0 && outcome.isOnDevice, "\(outcome.errors)")
    #expect(caches.record?.contains("passed") == true)
  }

  @Test func aDeviceThatMiscomputesIsRefused() async throws {
    guard try await isOnPoCL() else { return }
    let caches = try Caches()
    let environment = try caches.environment(Self.lies)
    let automatic = try await evaluate(environment)
    #expect(automatic.status == 0, "\(automatic.errors)")
    #expect(!automatic.isOnDevice)
    #expect(automatic.deviceLine.contains("Passed over: 0:0 "))
    #expect(automatic.deviceLine.contains("fails its self-test: it miscomputes "))
    let right = try await Tool.onReference(
      "evaluate", "--model", Scratch.model, "--data", "glyphs:300")
    #expect(automatic.output == right.output)

    // Remembered: no second self-test.
    for name in ["cpu", "0:0", "portable"] {
      let named = try await evaluate(environment, device: name)
      expectFailure(
        named, "--device: 0:0 ", "fails its self-test: it miscomputes ", "--force-device",
        "sparrow devices --retest")
      #expect(!named.errors.contains("Self-test of "))
    }
    let variable = try await evaluate(environment.merging(["SPARROW_DEVICE": "0:0"]) { $1 })
    expectFailure(variable, "SPARROW_DEVICE: 0:0 ", "it miscomputes ")

    let forced = try await evaluate(environment, device: "0:0", forced: true)
    #expect(forced.isOnDevice)
    #expect(forced.errors.contains("Warning: --force-device: 0:0 "))
    #expect(forced.errors.contains("it miscomputes "))

    let devices = try await Tool.run("devices", environment: environment)
    #expect(devices.status == 0)
    #expect(devices.output.contains("self-test  FAILED: it miscomputes "))
    #expect(devices.output.contains("first use  FAILED: it miscomputes "))
    #expect(devices.output.contains("reference is the default"))
    // What fails can be looked into.
    let check = try await Tool.run("check", "--quick", environment: environment)
    #expect(check.status == 1 && check.output.contains("FAILED gather"))

    // A driver that is mended without another version is found well by asking.
    let mended = try caches.environment()
    expectFailure(try await evaluate(mended, device: "0:0"), "it miscomputes ")
    let retest = try await Tool.run("devices", "--retest", environment: mended)
    #expect(retest.status == 0 && retest.output.contains("first use  passed, "))
    let after = try await evaluate(mended, device: "0:0")
    #expect(after.status == 0 && after.isOnDevice)
    #expect(!after.errors.contains("Self-test of ") && !after.errors.contains("Warning: "))
  }

  @Test func aDeviceThatCrashesIsRefused() async throws {
    guard try await isOnPoCL() else { return }
    let caches = try Caches()
    let environment = try caches.environment(Self.crashes)
    let automatic = try await evaluate(environment)
    #expect(automatic.status == 0 && !automatic.isOnDevice, "\(automatic.errors)")
    #expect(automatic.deviceLine.contains("its driver ended the process with signal"))
    #expect(caches.record?.contains("crashed") == true)
    expectFailure(
      try await evaluate(environment, device: "0:0"), "--device: 0:0 ",
      "its driver ended the process with signal")
    let devices = try await Tool.run("devices", "--json", environment: environment)
    #expect(devices.status == 0 && devices.output.contains("\"first_use_passed\" : false"))
  }

  @Test func aDeviceThatHangsIsRefused() async throws {
    guard try await isOnPoCL() else { return }
    let caches = try Caches()
    let environment = try caches.environment(Self.hangs, limit: 4)
    let named = try await evaluate(environment, device: "0:0")
    expectFailure(named, "--device: 0:0 ", "it did not finish within 4 s")
    let automatic = try await evaluate(environment)
    #expect(automatic.status == 0 && !automatic.isOnDevice, "\(automatic.errors)")
  }

  /// Kills the tool as soon as its self-test is entered as begun.
  private func interrupt(
    _ signal: String, _ environment: [String: String]
  ) async throws -> Tool.Outcome {
    let script = """
      "$@" & tool=$!
      while ! grep -q identity "$SPARROW_CACHE_DIR"/self-test-*.json 2>/dev/null; do
        kill -0 $tool || exit 9
        sleep 0.02
      done
      kill -\(signal) $tool
      wait $tool
      """
    return try await Tool.run(
      ["evaluate", "--model", Scratch.model, "--data", "glyphs:300"], environment: environment,
      through: ["/bin/sh", "-c", script, "sh"])
  }

  /// Who is killed leaves word that it had begun, which counts where the machine went down with it;
  /// who is asked to end takes it back.
  @Test func aSelfTestThatNeverCameBack() async throws {
    guard try await isOnPoCL() else { return }
    let caches = try Caches()
    // Longer than the slowest machine takes to get there; nothing waits for it.
    let environment = try caches.environment(Self.hangs, limit: 60)
    #expect(try await interrupt("TERM", environment).status == 128 + SIGTERM)
    #expect(caches.record == nil)

    #expect(try await interrupt("KILL", environment).status == 128 + SIGKILL)
    #expect(caches.record != nil)
    // The self-test's own process sees that it is alone, and leaves nothing more behind.
    try await Task.sleep(for: .seconds(1))
    let mended = try caches.environment()
    let begun = try #require(caches.record)
    #expect(try await evaluate(mended, device: "0:0").status == 0)

    let boot = try #require(BootIdentity.current)
    try caches.setRecord(begun.replacing(boot, with: "another"))
    expectFailure(
      try await evaluate(mended, device: "0:0"), "--device: 0:0 ",
      "did not finish its last self-test", "sparrow devices --retest")
    let automatic = try await evaluate(mended)
    #expect(automatic.status == 0 && automatic.deviceLine.contains("did not finish its last"))
    let retest = try await Tool.run("devices", "--retest", environment: mended)
    #expect(retest.output.contains("first use  passed, "))
    #expect(try await evaluate(mended, device: "0:0").status == 0)
  }
}
