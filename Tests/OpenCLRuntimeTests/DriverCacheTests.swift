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
  }
}
