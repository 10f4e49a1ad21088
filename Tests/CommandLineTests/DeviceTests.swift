import Foundation
import TestSupport
import Testing

extension Tool.Outcome {
  /// Whether the run was on an OpenCL device and not on the reference.
  var isOnDevice: Bool { !deviceLine.contains("reference") }

  /// PoCL has switches for what is hard to bring about elsewhere.
  var isOnPoCL: Bool { deviceLine.contains("Portable Computing Language") }
}

/// Where `SPARROW_REQUIRE_OPENCL=1`, a test of a device that ran on the reference has failed.
func expectDevice(
  _ outcome: Tool.Outcome, sourceLocation: SourceLocation = #_sourceLocation
) {
  guard ProcessInfo.processInfo.environment["SPARROW_REQUIRE_OPENCL"] == "1" else { return }
  #expect(outcome.isOnDevice, "\(outcome.deviceLine)", sourceLocation: sourceLocation)
}

@Suite struct DevicesTests {
  private struct Listing: Decodable {
    struct Row: Decodable {
      let designation, name, vendor, platform, driver, kind, selfTest: String
      let computeUnits: Int
      let memory, maximumAllocation: UInt64
      let usable: Bool
      let selfTestPassed: Bool?
    }
    let devices: [Row]
    let `default`: String?
    let reason: String
    let advice: String?
  }

  private func listing(_ outcome: Tool.Outcome) throws -> Listing {
    try snakeCaseDecoder().decode(Listing.self, from: Data(outcome.output.utf8))
  }

  @Test func theDefaultIsNamedWithItsReason() async throws {
    let outcome = try await Tool.run("devices", "--json")
    #expect(outcome.status == 0)
    let listing = try listing(outcome)
    #expect(!listing.reason.isEmpty)
    let chosen = listing.devices.first { $0.designation == listing.default }
    #expect(chosen != nil || listing.default == "reference")
    if let chosen {
      #expect(chosen.selfTestPassed == true && chosen.usable)
      #expect(chosen.memory > 0 && chosen.computeUnits > 0)
    }
    if ProcessInfo.processInfo.environment["SPARROW_REQUIRE_OPENCL"] == "1" {
      #expect(chosen != nil)
    }

    let plain = try await Tool.run("devices")
    #expect(plain.status == 0)
    // Scripts look for this line.
    let line = plain.output.split(separator: "\n").first { $0.lowercased().contains("default") }
    #expect(try #require(line).contains(chosen?.name ?? "reference"))
    #expect(plain.output.contains(listing.reason))
  }

  /// The list is what the user needs in order to mend it.
  @Test func aBadDefaultDoesNotHideTheList() async throws {
    let devices = try listing(try await Tool.run("devices", "--json")).devices
    let environment = ["SPARROW_DEVICE": "no such device"]
    let plain = try await Tool.run("devices", environment: environment)
    expectFailure(
      plain, "SPARROW_DEVICE: no OpenCL device matches 'no such device'", printsNothing: false)
    for device in devices { #expect(plain.output.contains("[\(device.designation)]")) }
    #expect(!plain.output.contains("(default)"))

    let json = try await Tool.run("devices", "--json", environment: environment)
    #expect(json.status == 1)
    #expect(try listing(json).devices.count == devices.count)
    #expect(try listing(json).default == nil)
  }
}

@Suite struct DeviceChoiceTests {
  private func evaluate(
    _ device: String?, environment: [String: String] = [:]
  ) async throws -> Tool.Outcome {
    try await Tool.run(
      ["evaluate", "--model", Scratch.model, "--data", "glyphs:300"]
        + (device.map { ["--device", $0] } ?? []), environment: environment)
  }

  @Test(arguments: ["no such device", "97:0", "0:97"]) func unknownDevices(name: String)
    async throws
  {
    expectFailure(try await evaluate(name), "--device: ", name)
    let outcome = try await evaluate(nil, environment: ["SPARROW_DEVICE": name])
    expectFailure(outcome, "SPARROW_DEVICE: ", name)
  }

  @Test func theFlagWinsOverTheVariable() async throws {
    let outcome = try await evaluate("reference", environment: ["SPARROW_DEVICE": "no such device"])
    #expect(outcome.status == 0)
    let byVariable = try await evaluate(nil, environment: ["SPARROW_DEVICE": "reference"])
    #expect(byVariable.status == 0)
    #expect(!byVariable.isOnDevice)
    #expect(try await evaluate(nil, environment: ["SPARROW_DEVICE": ""]).status == 0)
  }

  @Test func anAmbiguousDevice() async throws {
    let environment = ["POCL_DEVICES": "pthread basic"]
    guard try await evaluate(nil, environment: environment).isOnPoCL else { return }
    let outcome = try await evaluate("portable", environment: environment)
    expectFailure(outcome, "--device: 'portable' means 2 different devices", "0:0 ", "0:1 ")
    let chosen = try await evaluate("0:0", environment: environment)
    #expect(chosen.status == 0)
    #expect(chosen.deviceLine.hasPrefix("Device: 0:0 "))
  }

  @Test func withoutAnyDevice() async throws {
    let folder = try TemporaryFolder()
    let environment = ["OCL_ICD_VENDORS": folder.path + "/"]
    let devices = try await Tool.run("devices", environment: environment)
    // Only loaders that know the variable can be led astray.
    guard !devices.output.contains("[0:0]") else { return }
    #expect(devices.status == 0)
    #expect(devices.output.contains("No OpenCL device was found"))
    #expect(devices.output.contains("any CPU:"))
    let line = devices.output.split(separator: "\n").first { $0.lowercased().contains("default") }
    #expect(try #require(line).contains("reference"))

    let automatic = try await evaluate(nil, environment: environment)
    #expect(automatic.status == 0)
    #expect(automatic.deviceLine.contains("there is no OpenCL device"))
    #expect(automatic.deviceLine.contains("'sparrow devices' says what to install"))
    for name in ["gpu", "cpu", "0:0"] {
      expectFailure(
        try await evaluate(name, environment: environment), "--device: there is no OpenCL device",
        "'sparrow devices' says what to install")
    }
  }
}

/// Trouble on a device, brought about by PoCL's switches.
@Suite struct DeviceTroubleTests {
  @Test func deviceMemoryThatRunsOut() async throws {
    let folder = try TemporaryFolder()
    let output = folder.file("run")
    // 1350 images of 64 KiB as floats are more than the quarter of a GiB for one buffer.
    let header = idx([1500, 256, 256], elements: 0)
    let images = try folder.write(header, to: "images")
    let handle = try FileHandle(forWritingTo: URL(fileURLWithPath: images))
    try handle.truncate(atOffset: UInt64(16 + 1500 * 65536))
    try handle.close()
    let outcome = try await Tool.run(
      "train", "--data", "idx:\(images)", "--batch", "1350", "--epochs", "1", "--output", output,
      environment: ["POCL_MEMORY_LIMIT": "1"])
    guard outcome.isOnPoCL else { return }
    expectFailure(
      outcome, "out of device memory", "--batch", "asked for 337.5 MiB", "allows 256.0 MiB",
      "1.0 GiB")
    #expect(folder.names == ["images"])
  }

  @Test func aKernelThatDoesNotBuild() async throws {
    let folder = try TemporaryFolder()
    var environment = ["POCL_EXTRA_BUILD_FLAGS": "-Dfloat=nonsense", "SPARROW_CACHE_DIR": "off"]
    func train(_ device: String) async throws -> Tool.Outcome {
      try await Tool.run(
        "train", "--data", "glyphs:300", "--epochs", "1", "--output", folder.file("run"),
        "--device", device, environment: environment)
    }
    let automatic = try await train("auto")
    guard automatic.isOnPoCL else { return }
    #expect(automatic.status == 0 && !automatic.isOnDevice)
    #expect(automatic.deviceLine.contains("CL_BUILD_PROGRAM_FAILURE"))
    try FileManager.default.removeItem(atPath: folder.file("run"))

    let outcome = try await train("0:0")
    expectFailure(
      outcome, "--device: 0:0 ", "CL_BUILD_PROGRAM_FAILURE", "program '", "SPARROW_VERBOSE=1")
    #expect(folder.names == [])
    // The log is long, so that an expectation must not print it.
    let showsLog = outcome.errors.contains("unknown type name")
    #expect(!showsLog)

    environment["SPARROW_VERBOSE"] = "1"
    let verbose = try await train("0:0")
    #expect(verbose.status == 1)
    let showsVerboseLog = verbose.errors.contains("unknown type name 'nonsense'")
    #expect(showsVerboseLog)

    let devices = try await Tool.run("devices", environment: environment)
    #expect(devices.output.contains("FAILED: clBuildProgram"))
    #expect(devices.output.contains("reference is the default"))
  }

  @Test func aCacheThatCannotBeWrittenIsOnlyAWarning() async throws {
    let folder = try TemporaryFolder()
    let file = try folder.write("", to: "file")
    let outcome = try await Tool.run(
      "evaluate", "--model", Scratch.model, "--data", "glyphs:300",
      environment: ["SPARROW_CACHE_DIR": "\(file)/cache"])
    #expect(outcome.status == 0)
    guard outcome.isOnDevice else { return }
    let warnings = outcome.errorLines.filter { $0.hasPrefix("Warning: ") }
    // Of the self-test's verdict, and once of the programs, unless the platform keeps them.
    #expect((1...2).contains(warnings.count))
    #expect(warnings.allSatisfy { $0.contains("\(file)/cache") })
  }
}
