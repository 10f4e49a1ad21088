import Foundation
import FuzzTargets
import RandomNumbers
import Testing

/// What the fuzzer starts from and what it found: files that every reader must survive, within its
/// memory, each also with a few bits changed.
@Suite struct CorpusTests {
  private static let folder = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
    .appendingPathComponent("Corpus")

  /// The kept inputs of a target, and for pictures the fixtures of their own tests.
  static func inputs(of target: FuzzTarget) throws -> [URL] {
    let own = folder.appendingPathComponent(target.rawValue)
    var files = try FileManager.default.contentsOfDirectory(
      at: own, includingPropertiesForKeys: nil)
    if target == .tiff {
      let fixtures = folder.deletingLastPathComponent().deletingLastPathComponent()
        .appendingPathComponent("ImagingTests/Fixtures")
      files += try FileManager.default.contentsOfDirectory(
        at: fixtures, includingPropertiesForKeys: nil
      ).filter { $0.pathExtension == "tif" }
    }
    return files.sorted { $0.path < $1.path }
  }

  @Test(arguments: FuzzTarget.allCases)
  func everyTargetHasInputs(target: FuzzTarget) throws {
    #expect(try Self.inputs(of: target).count >= 4)
  }

  @Test func theCorpusIsSmall() throws {
    let enumerator = try #require(
      FileManager.default.enumerator(at: Self.folder, includingPropertiesForKeys: [.fileSizeKey]))
    var size = 0
    for case let file as URL in enumerator {
      size += try file.resourceValues(forKeys: [.fileSizeKey]).fileSize ?? 0
    }
    #expect(size < 300_000)
  }

  #if compiler(>=6.3) && os(Linux)
    /// In a process of its own, which a trap ends, with memory of its own to be counted.
    @Test(arguments: FuzzTarget.allCases)
    func inputsAreSurvivedWithinTheirMemory(target: FuzzTarget) async {
      await #expect(processExitsWith: .success) { [target = target as FuzzTarget] in
        try Replay.run(target)
      }
    }
  #else
    @Test(arguments: FuzzTarget.allCases)
    func inputsAreSurvived(target: FuzzTarget) throws {
      try Replay.run(target)
    }
  #endif
}

/// Runs a target on its inputs.
private enum Replay {
  static func run(_ target: FuzzTarget) throws {
    for file in try CorpusTests.inputs(of: target) {
      let bytes = [UInt8](try Data(contentsOf: file))
      // For what a process sets up once.
      bytes.withUnsafeBytes { target.run($0) }
      try measured(bytes, target, file.lastPathComponent)
      try changed(bytes, target)
    }
  }

  /// The input as it is, its memory held against what the reader states: by a limit on what may be
  /// asked for, and by what came to be used.
  private static func measured(_ bytes: [UInt8], _ target: FuzzTarget, _ name: String) throws {
    #if os(Linux)
      let bound = target.memoryBound(size: bytes.count)
      var limit = rlimit()
      try require(getrlimit(__rlimit_resource_t(RLIMIT_DATA.rawValue), &limit) == 0)
      let before = try (status("VmRSS"), status("VmData"))
      try Data("5".utf8).write(to: URL(fileURLWithPath: "/proc/self/clear_refs"))
      var lowered = limit
      lowered.rlim_cur = rlim_t(before.1 + bound)
      try require(setrlimit(__rlimit_resource_t(RLIMIT_DATA.rawValue), &lowered) == 0)
      bytes.withUnsafeBytes { target.run($0) }
      try require(setrlimit(__rlimit_resource_t(RLIMIT_DATA.rawValue), &limit) == 0)
      let used = try status("VmHWM") - before.0
      precondition(used <= bound, "\(name) took \(used) bytes, more than \(bound)")
    #else
      bytes.withUnsafeBytes { target.run($0) }
    #endif
  }

  /// The input with one to eight bits turned over.
  private static func changed(_ bytes: [UInt8], _ target: FuzzTarget) throws {
    guard !bytes.isEmpty else { return }
    var random = SplitMix64(seed: 5, stream: UInt64(bytes.count))
    for round in 0..<40 {
      var input = bytes
      for _ in 0...round % 8 {
        let place = Int(random.nextIndex(below: UInt64(bytes.count)))
        input[place] ^= 1 << UInt8(random.nextIndex(below: 8))
      }
      input.withUnsafeBytes { target.run($0) }
    }
  }

  #if os(Linux)
    /// A figure of this process in bytes.
    private static func status(_ name: String) throws -> Int {
      let lines = try String(contentsOfFile: "/proc/self/status", encoding: .utf8)
        .split(separator: "\n")
      let line = lines.first { $0.hasPrefix("\(name):") }
      guard let figure = line?.filter(\.isNumber), let kilobytes = Int(figure) else {
        preconditionFailure("no figure \(name)")
      }
      return kilobytes << 10
    }
  #endif

  private static func require(_ condition: Bool) throws {
    guard condition else { throw POSIXError(POSIXErrorCode(rawValue: errno) ?? .EINVAL) }
  }
}
