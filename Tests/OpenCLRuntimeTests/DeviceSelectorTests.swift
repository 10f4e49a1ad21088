import OpenCLRuntime
import Testing

/// Selection on invented devices.
@Suite struct DeviceSelectorTests {
  private func device(
    _ name: String, _ kind: DeviceDescription.Kind, vendor: String = "Acme",
    platform: String = "Acme OpenCL", at place: (Int, Int) = (0, 0), units: Int = 10,
    clock: Int = 1000, _ change: (inout DeviceDescription) -> Void = { _ in }
  ) -> DeviceDescription {
    var device = DeviceDescription(
      name: name, vendor: vendor, platformName: platform, kind: kind, computeUnits: units,
      maximumClockMHz: clock, platformIndex: place.0, deviceIndex: place.1)
    change(&device)
    return device
  }

  private var mixed: [DeviceDescription] {
    [
      device("Threads", .cpu, vendor: "Foundation", platform: "Portable", at: (0, 0), units: 64),
      device("Small GPU", .gpu, at: (1, 0), units: 4),
      device("Big GPU", .gpu, vendor: "Bolt", at: (1, 1), units: 40),
      device("Card", .accelerator, at: (2, 0)),
    ]
  }

  private func index(_ selection: DeviceSelector.Selection) -> Int? {
    if case .device(let index, _) = selection { return index }
    return nil
  }

  private func message(_ body: () throws -> Void) -> String {
    do {
      try body()
    } catch {
      return "\(error)"
    }
    return ""
  }

  // MARK: Parsing

  @Test func parsing() throws {
    let expected: [(String, DeviceSelector)] = [
      ("auto", .automatic), ("AUTO", .automatic), (" gpu ", .gpu), ("Cpu", .cpu),
      ("reference", .reference), ("0:1", .index(platform: 0, device: 1)),
      ("12:3", .index(platform: 12, device: 3)), ("Radeon RX", .name("Radeon RX")),
      ("580", .name("580")), ("a:b", .name("a:b")), ("-1:0", .name("-1:0")),
    ]
    for (text, selector) in expected {
      #expect(try DeviceSelector(parsing: text) == selector, "\(text)")
    }
  }

  @Test(arguments: ["", "  ", ":", "1:", ":1", "1:2:3", "99999999999999999999:0"])
  func malformedTexts(text: String) {
    #expect(throws: DeviceSelectionError.self) { try DeviceSelector(parsing: text) }
  }

  // MARK: auto

  @Test func automaticPrefersTheFastestGPU() throws {
    let selection = try DeviceSelector.automatic.select(from: mixed)
    #expect(index(selection) == 2)
    #expect(
      selection.reason
        == "Chose 1:1 Big GPU (GPU, Acme OpenCL): it is the fastest of 2 GPUs.")
  }

  @Test func automaticWeighsUnitsByClockAndTakesTheFirstAmongEquals() throws {
    let few = device("Few", .gpu, units: 10, clock: 2000)
    let many = device("Many", .gpu, units: 15, clock: 1000)
    let even = device("Even", .gpu, units: 20, clock: 1000)
    #expect(index(try DeviceSelector.automatic.select(from: [many, few])) == 1)
    #expect(index(try DeviceSelector.automatic.select(from: [even, few])) == 0)
    #expect(index(try DeviceSelector.automatic.select(from: [few, even])) == 0)
  }

  @Test func automaticDescendsFromGPUToCPUToAcceleratorToReference() throws {
    let cpu = device("Threads", .cpu, at: (0, 1))
    let card = device("Card", .accelerator)
    let odd = device("Odd", .other)
    let chosen = try DeviceSelector.automatic.select(from: [odd, card, cpu])
    #expect(index(chosen) == 2)
    #expect(chosen.reason == "Chose 0:1 Threads (CPU, Acme OpenCL): there is no usable GPU.")
    let accelerated = try DeviceSelector.automatic.select(from: [odd, card])
    #expect(index(accelerated) == 1)
    #expect(accelerated.reason.contains("no usable GPU or CPU device"))
    #expect(index(try DeviceSelector.automatic.select(from: [odd])) == nil)
    #expect(
      try DeviceSelector.automatic.select(from: [])
        == .reference(reason: "Chose the reference: there is no OpenCL device."))
  }

  private static let defects: [(String, @Sendable (inout DeviceDescription) -> Void)] = [
    ("is not available", { $0.isAvailable = false }),
    ("has no compiler", { $0.compilerAvailable = false }),
    ("has OpenCL 1.1, and 1.2 is needed", { $0.version = "OpenCL 1.1 Old" }),
    ("does not say which OpenCL it has", { $0.version = "strange" }),
    ("embedded profile", { $0.isFullProfile = false }),
    ("has only 64.0 MiB", { $0.globalMemory = 64 << 20 }),
    ("allows buffers of at most 1.0 MiB", { $0.maximumAllocation = 1 << 20 }),
  ]

  @Test(arguments: 0..<7) func automaticSkipsWhatCannotBeUsedAndSaysSo(defect: Int) throws {
    let (words, change) = Self.defects[defect]
    let bad = device("Bad", .gpu, at: (0, 0), units: 1000, change)
    let cpu = device("Threads", .cpu, at: (0, 1))
    let selection = try DeviceSelector.automatic.select(from: [bad, cpu])
    #expect(index(selection) == 1)
    #expect(selection.reason.contains("0:0 Bad"))
    #expect(selection.reason.contains(words))
    let reference = try DeviceSelector.automatic.select(from: [bad])
    #expect(index(reference) == nil)
    #expect(reference.reason.contains(words))
    // An explicit wish for it is an error that gives the reason and the alternative.
    for selector in [DeviceSelector.gpu, .index(platform: 0, device: 0), .name("bad")] {
      let text = message { _ = try selector.select(from: [bad, cpu]) }
      #expect(text.contains(words) && text.contains("0:1 Threads"), "\(selector): \(text)")
      #expect(!text.contains("\n"))
    }
  }

  @Test(arguments: [
    ("OpenCL 1.2 ", true), ("OpenCL 1.2 CUDA", true), ("OpenCL 3.0 PoCL", true),
    ("OpenCL 2.1", true), ("OpenCL 1.10 x", true), ("OpenCL 1.0", false), ("1.2", false),
  ])
  func versions(text: String, isUsable: Bool) {
    #expect((device("Any", .gpu) { $0.version = text }.obstacle == nil) == isUsable)
  }

  // MARK: Explicit wishes

  @Test func referenceNeedsNoDevice() throws {
    #expect(index(try DeviceSelector.reference.select(from: mixed)) == nil)
    #expect(index(try DeviceSelector.reference.select(from: [])) == nil)
  }

  @Test func kindsPickTheBestAndSaySo() throws {
    let gpu = try DeviceSelector.gpu.select(from: mixed)
    #expect(index(gpu) == 2)
    #expect(gpu.reason.contains("the fastest of 2 GPUs"))
    let cpu = try DeviceSelector.cpu.select(from: mixed)
    #expect(index(cpu) == 0)
    #expect(cpu.reason.contains("the only usable CPU"))
    let text = message { _ = try DeviceSelector.gpu.select(from: [mixed[0]]) }
    #expect(text.contains("no OpenCL device of the kind GPU") && text.contains("0:0 Threads"))
    #expect(message { _ = try DeviceSelector.cpu.select(from: []) }.contains("none at all"))
  }

  @Test func indicesAreThoseOfTheDevicesNotOfTheList() throws {
    #expect(index(try DeviceSelector.index(platform: 1, device: 1).select(from: mixed)) == 2)
    let text = message { _ = try DeviceSelector.index(platform: 1, device: 2).select(from: mixed) }
    #expect(text.contains("no OpenCL device 1:2"))
    for device in mixed { #expect(text.contains(device.summary)) }
    #expect(throws: DeviceSelectionError.self) {
      try DeviceSelector.index(platform: -1, device: 0).select(from: mixed)
    }
  }

  @Test func namesMatchDeviceVendorAndPlatformInAnyCase() throws {
    #expect(index(try DeviceSelector.name("BIG").select(from: mixed)) == 2)
    #expect(index(try DeviceSelector.name("bolt").select(from: mixed)) == 2)
    #expect(index(try DeviceSelector.name("portable").select(from: mixed)) == 0)
    let text = message { _ = try DeviceSelector.name("voodoo").select(from: mixed) }
    #expect(text.contains("no OpenCL device matches 'voodoo'"))
    for device in mixed { #expect(text.contains(device.summary)) }
  }

  @Test func aNameOfSeveralDifferentDevicesIsAnError() {
    let text = message { _ = try DeviceSelector.name("gpu").select(from: mixed) }
    #expect(text.contains("'gpu' means 2 different devices"))
    #expect(text.contains("1:0 Small GPU") && text.contains("1:1 Big GPU"))
    #expect(!text.contains("Threads"))
  }

  @Test func aFullNameWinsOverOneThatContainsIt() throws {
    let plain = device("RTX 3080", .gpu, at: (0, 1))
    let better = device("RTX 3080 Ti", .gpu, at: (0, 0))
    #expect(index(try DeviceSelector.name("rtx 3080").select(from: [better, plain])) == 1)
    #expect(throws: DeviceSelectionError.self) {
      try DeviceSelector.name("rtx").select(from: [better, plain])
    }
  }

  @Test func twinsAreNotAmbiguousButOtherDriversAre() throws {
    let first = device("H100", .gpu, at: (0, 0))
    let second = device("H100", .gpu, at: (0, 1))
    let selection = try DeviceSelector.name("h100").select(from: [first, second])
    #expect(index(selection) == 0)
    #expect(selection.reason.contains("the first of 2 alike"))
    let elsewhere = device("H100", .gpu, platform: "Other", at: (1, 0))
    #expect(throws: DeviceSelectionError.self) {
      try DeviceSelector.name("h100").select(from: [first, elsewhere])
    }
  }

  @Test func namesPassOverUnusableDevicesWhenAUsableOneRemains() throws {
    let bad = device("Thing A", .gpu, at: (0, 0)) { $0.isAvailable = false }
    let good = device("Thing B", .gpu, at: (0, 1))
    #expect(index(try DeviceSelector.name("thing").select(from: [bad, good])) == 1)
  }

  // MARK: The environment

  @Test func theFlagWinsOverTheVariable() throws {
    let environment = ["SPARROW_DEVICE": "cpu"]
    func parsed(_ flag: String?, _ environment: [String: String]) throws -> DeviceSelector {
      try DeviceRequest(flag: flag, environment: environment).selector
    }
    #expect(try parsed("gpu", environment) == .gpu)
    #expect(try parsed(nil, environment) == .cpu)
    #expect(try parsed(nil, [:]) == .automatic)
    #expect(try parsed(nil, ["SPARROW_DEVICE": ""]) == .automatic)
    #expect(throws: DeviceSelectionError.self) { try parsed("", environment) }
  }

  @Test func theVariableIsNamedWhenItIsToBlame() throws {
    let malformed = message {
      _ = try DeviceRequest(flag: nil, environment: ["SPARROW_DEVICE": "1:"])
    }
    #expect(malformed.hasPrefix("SPARROW_DEVICE: "))
    let fromVariable = try DeviceRequest(flag: nil, environment: ["SPARROW_DEVICE": "voodoo"])
    #expect(message { _ = try fromVariable.select(from: mixed) }.hasPrefix("SPARROW_DEVICE: no"))
    let fromFlag = try DeviceRequest(flag: "voodoo", environment: ["SPARROW_DEVICE": "cpu"])
    #expect(message { _ = try fromFlag.select(from: mixed) }.hasPrefix("no OpenCL device"))
  }
}
