import Foundation
import OpenCLRuntime
import TestSupport
import Testing

@Suite(.usesDevice, .enabled(if: TestDevice.isPresent)) struct ProgramTests {
  private func build(
    _ context: Context, _ cache: ProgramCache?, options: String = TestSource.options,
    source: String = TestSource.add
  ) throws -> Program {
    try Program(context: context, source: source, options: options, name: "add", cache: cache)
  }

  /// Runs the program's kernel, to see that it is the real thing.
  private func runs(_ program: Program) throws -> Bool {
    let queue = try CommandQueue(context: program.context)
    let kernel = try Kernel(program: program, name: "add")
    let memory = try Memory(context: program.context, byteCount: 32)
    try queue.write((0..<8).map { Float($0) }, to: memory)
    for argument in 0..<3 { try kernel.set(argument, memory) }
    try kernel.set(3, Float(3))
    try kernel.set(4, Int32(8))
    try queue.enqueue(kernel, globalSize: [8], localSize: [4])
    return try queue.read(Float.self, count: 8, from: memory) == (0..<8).map { Float($0 * 4) }
  }

  private func entries(_ directory: URL) throws -> [URL] {
    try FileManager.default.contentsOfDirectory(at: directory, includingPropertiesForKeys: nil)
  }

  @Test func aBrokenProgramThrowsItsLog() throws {
    let context = try TestDevice.context()
    let error = #expect(throws: OpenCLError.self) {
      try Program(
        context: context, source: TestSource.broken, options: TestSource.options, name: "wrong",
        cache: nil)
    }
    #expect(error?.call == "clBuildProgram")
    #expect(error?.symbol == "CL_BUILD_PROGRAM_FAILURE")
    let lines = error.map { "\($0)".split(separator: "\n") } ?? []
    #expect(lines.first?.contains("program 'wrong'") == true)
    #expect(lines.first?.contains(TestSource.options) == true)
    #expect(lines.dropFirst().contains { $0.contains("undeclared_thing") })
  }

  @Test func theSecondBuildComesFromTheCache() throws {
    let context = try TestDevice.context()
    try withTemporaryDirectory { directory in
      let cache = ProgramCache(directory: directory.appendingPathComponent("deep/below"))
      let before = Program.buildCount
      #expect(try build(context, cache).origin == .source)
      #expect(Program.buildCount > before)
      let second = try build(context, cache)
      #expect(second.origin == .cache)
      #expect(try runs(second))
      #expect(try build(context, nil).origin == .source)
      #expect(try entries(cache.directory).count == 1)
      // Another source and other options are other programs.
      #expect(try build(context, cache, options: "-cl-std=CL1.2 -DX=1").origin == .source)
      #expect(try build(context, cache, source: TestSource.add + "\n").origin == .source)
      #expect(try entries(cache.directory).count == 3)
    }
  }

  /// What may happen to a file on disk; each must be noticed, survived and repaired.
  private static let damages: [(String, @Sendable (inout Data) -> Void)] = [
    ("empty", { $0 = Data() }),
    ("half a header", { $0 = $0.prefix(40) }),
    ("header only", { $0 = $0.prefix(80) }),
    ("truncated", { $0 = $0.dropLast(1) }),
    ("extended", { $0.append(0) }),
    ("another magic", { $0[0] ^= 1 }),
    ("another key", { $0[16] ^= 1 }),
    ("a flipped bit in the hash", { $0[79] ^= 128 }),
    ("a flipped bit in the binary", { $0[$0.count / 2] ^= 4 }),
    ("text", { $0 = Data("not a program, but long enough to pass for the header".utf8) + $0 }),
  ]

  @Test(arguments: 0..<10) func damagedEntriesAreRebuilt(number: Int) throws {
    let (label, damage) = Self.damages[number]
    let context = try TestDevice.context()
    try withTemporaryDirectory { directory in
      let cache = ProgramCache(directory: directory)
      _ = try build(context, cache)
      let file = try #require(try entries(directory).first)
      let good = try Data(contentsOf: file)
      var bad = good
      damage(&bad)
      try bad.write(to: file)
      let rebuilt = try build(context, cache)
      #expect(rebuilt.origin == .source, "\(label)")
      #expect(try runs(rebuilt))
      #expect(try build(context, cache).origin == .cache, "\(label)")
    }
  }

  @Test func entriesThatTheDriverRefusesAreRebuilt() throws {
    let context = try TestDevice.context()
    try withTemporaryDirectory { directory in
      let cache = ProgramCache(directory: directory)
      _ = try build(context, cache)
      // The first call of a build from the cache hands the binary to the driver, the second
      // builds it.
      for call in 1...2 {
        FaultInjection.arm(failing: call, code: -42)
        let program = try build(context, cache)
        #expect(!FaultInjection.isArmed)
        #expect(program.origin == .source)
        #expect(try runs(program))
      }
      #expect(try build(context, cache).origin == .cache)
    }
  }

  @Test func aCacheThatCannotBeWrittenIsNoError() throws {
    let context = try TestDevice.context()
    try withTemporaryDirectory { directory in
      let file = directory.appendingPathComponent("file")
      try Data("occupied".utf8).write(to: file)
      // The directory is a file; and an entry's place is taken by a directory.
      let blocked = ProgramCache(directory: file)
      #expect(try runs(build(context, blocked)))
      #expect(try build(context, blocked).origin == .source)
      let key = ProgramCache.Key(
        device: context.device.properties, options: TestSource.options, source: TestSource.add)
      let cache = ProgramCache(directory: directory)
      let obstacle = cache.file(for: key).appendingPathComponent("child")
      try FileManager.default.createDirectory(at: obstacle, withIntermediateDirectories: true)
      #expect(try build(context, cache).origin == .source)
      #expect(try build(context, cache).origin == .source)
      #expect(try entries(directory).count == 2, "a temporary file is left behind")
    }
  }
}

@Suite struct ProgramCacheTests {
  @Test func everyPartOfTheKeyCounts() {
    let device = DeviceDescription(name: "a", kind: .gpu)
    func key(
      _ change: (inout DeviceDescription) -> Void = { _ in }, options: String = "-D A",
      source: String = "kernel"
    ) -> ProgramCache.Key {
      var device = device
      change(&device)
      return ProgramCache.Key(device: device, options: options, source: source)
    }
    let keys = [
      key(), key { $0.name = "b" }, key { $0.vendor = "b" }, key { $0.version = "b" },
      key { $0.driverVersion = "b" }, key { $0.platformName = "b" },
      key { $0.platformVersion = "b" }, key(options: "-D B"), key(source: "other"),
      // The border between two parts counts too.
      key(options: "-D Ak", source: "ernel"),
    ]
    #expect(Set(keys).count == keys.count)
    #expect(key() == key { $0.computeUnits = 99 })
  }

  @Test func theStandardPlaceFollowsTheEnvironment() {
    func path(_ environment: [String: String]) -> String? {
      ProgramCache.standard(environment: environment)?.directory.path
    }
    #expect(path(["SPARROW_CACHE_DIR": "/c", "XDG_CACHE_HOME": "/x", "HOME": "/h"]) == "/c")
    #expect(path(["XDG_CACHE_HOME": "/x", "HOME": "/h"]) == "/x/sparrow")
    #expect(path(["XDG_CACHE_HOME": "relative", "HOME": "/h"]) == "/h/.cache/sparrow")
    #expect(path(["HOME": "/h"]) == "/h/.cache/sparrow")
    #expect(path(["SPARROW_CACHE_DIR": "off", "HOME": "/h"]) == nil)
    #expect(path([:]) == nil)
  }
}
