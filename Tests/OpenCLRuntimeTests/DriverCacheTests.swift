import COpenCL
import Foundation
import OpenCLRuntime
import TestSupport
import Testing

/// Where PoCL would have no place for its cache it has no device either.
@Suite struct DriverCacheTests {
  @Test func whoHasAHomeKeepsIt() throws {
    let folder = try TemporaryFolder()
    let file = try folder.write("", to: "file")
    for environment in [
      ["HOME": folder.path], ["HOME": "\(folder.path)/not/yet"],
      ["HOME": file, "XDG_CACHE_HOME": folder.path], ["HOME": file, "POCL_CACHE_DIR": "/x"],
      [:],
    ] {
      #expect(
        DriverCache.substitute(in: environment.merging(["TMPDIR": folder.path]) { $1 }) == nil)
    }
    #expect(folder.names == ["file"])
  }

  @Test func whoHasNoneGetsAFolderOfItsOwn() throws {
    let folder = try TemporaryFolder()
    let file = try folder.write("", to: "file")
    let expected = folder.file("sparrow-pocl-\(geteuid())")
    for environment in [
      ["HOME": file], ["HOME": folder.path, "XDG_CACHE_HOME": file + "/below"],
    ] {
      let environment = environment.merging(["TMPDIR": folder.path]) { $1 }
      #expect(DriverCache.substitute(in: environment) == expected)
      // What is in it is run: one that others can write is not taken.
      chmod(expected, 0o777)
      #expect(DriverCache.substitute(in: environment) == nil)
      chmod(expected, 0o700)
    }
    try FileManager.default.removeItem(atPath: expected)
    try FileManager.default.createSymbolicLink(
      atPath: expected, withDestinationPath: folder.path)
    #expect(DriverCache.substitute(in: ["HOME": file, "TMPDIR": folder.path]) == nil)
    // A place that is not there is none.
    #expect(
      DriverCache.substitute(in: ["HOME": file, "TMPDIR": folder.file("absent")])
        == "/tmp/sparrow-pocl-\(geteuid())")
  }
}

/// PoCL aborts where it is told to bind a thread to a core that is not there.
@Suite struct ThreadPlacingTests {
  @Test func threadsAreBoundToCoresThatAreAllOurs() {
    func canBind(_ ours: Set<Int>, _ cores: Int, threads: String? = nil) -> Bool {
      ThreadPlacing.canBind(
        cores: cores, environment: threads.map { ["POCL_MAX_PTHREAD_COUNT": $0] } ?? [:],
        mayUse: ours.contains)
    }
    #expect(canBind([0, 1], 2))
    #expect(canBind([0, 1], 2, threads: "2"))
    #expect(!canBind([0, 1], 2, threads: "3"))
    #expect(!canBind([0, 1], 2, threads: "many"))
    // A share of the machine, by a container or by taskset.
    #expect(!canBind([2, 3], 4))
    #expect(!canBind([1], 2))
    #expect(!canBind([], 0))
  }

  #if os(Linux)
    @Test func theSystemSaysWhichCoresAreOurs() throws {
      let status = try String(contentsOfFile: "/proc/self/status", encoding: .utf8)
      let line = try #require(
        status.split(separator: "\n").first { $0.hasPrefix("Cpus_allowed_list:") })
      let list = try #require(line.split(separator: "\t").last)
      let cores = list.split(separator: ",").flatMap { part -> [Int] in
        let ends = part.split(separator: "-").compactMap { Int($0) }
        return ends.isEmpty ? [] : Array(ends[0]...ends[ends.count - 1])
      }
      for core in 0..<64 {
        #expect(sparrow_may_use_core(Int32(core)) == (cores.contains(core) ? 1 : 0))
      }
      #expect(sparrow_may_use_core(-1) == -1 && sparrow_may_use_core(1 << 20) == -1)
    }
  #endif
}
