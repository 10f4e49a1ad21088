import Foundation
import Imaging
import TestSupport
import Testing

@Suite struct AtomicFileTests {
  private func commit(_ byte: UInt8, to path: String, keepingOldAs old: String) throws {
    let file = try AtomicFile(path: path)
    try file.write([byte])
    try file.commit(keepingOldAs: old)
  }

  private func bytes(of path: String) throws -> [UInt8] {
    try InputFile.bytes(of: path, maximum: 1)
  }

  @Test func theOldFileIsKeptUnderItsOtherName() throws {
    let folder = try TemporaryFolder()
    let (path, old) = (folder.file("new"), folder.file("old"))
    try commit(1, to: path, keepingOldAs: old)
    #expect(folder.names == ["new"])
    for byte: UInt8 in 2...4 {
      try commit(byte, to: path, keepingOldAs: old)
      #expect(try bytes(of: path) == [byte] && bytes(of: old) == [byte - 1])
      #expect(folder.names == ["new", "old"])
    }
  }

  /// A process may be killed between any two steps: the file must be there, and the old one another.
  @Test func thereAreTwoFilesAtEveryMoment() throws {
    let folder = try TemporaryFolder()
    let (path, old) = (folder.file("new"), folder.file("old"))
    try commit(0, to: path, keepingOldAs: old)
    try commit(1, to: path, keepingOldAs: old)
    // A thread of its own: the tests' may all be busy.
    Thread.detachNewThread {
      for byte: UInt8 in 2...250 { try? commit(byte, to: path, keepingOldAs: old) }
      _ = try? folder.write("", to: "finished")
    }
    var (looks, failures) = (0, 0)
    while access(folder.file("finished"), F_OK) != 0 {
      looks += 1
      // The old one is read first; by then the other can only have become newer.
      if try bytes(of: old)[0] >= bytes(of: path)[0] { failures += 1 }
    }
    #expect(looks > 100 && failures == 0)
    #expect(try bytes(of: path) == [250])
  }

  @Test func unfinishedFilesTellWhatTheyWereToBe() {
    #expect(AtomicFile.target(ofUnfinished: ".a.b.752E0874.tmp") == "a.b")
    #expect(AtomicFile.target(ofUnfinished: ".a.b.752E0874.old.tmp") == "a.b")
    for name in ["a.b", ".a.tmp", ".a.752e0874.tmp", "a.752E0874.tmp", ".a.752E0874.new.tmp"] {
      #expect(AtomicFile.target(ofUnfinished: name) == nil, "\(name)")
    }
  }
}
