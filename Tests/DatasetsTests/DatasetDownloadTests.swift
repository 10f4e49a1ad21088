import Datasets
import Foundation
import Imaging
import RandomNumbers
import TestSupport
import Testing

@Suite struct DatasetDownloadTests {
  /// Hard to pack, so that the packed file is as long as its content.
  private static let content: [UInt8] = {
    var random = SplitMix64(seed: 11)
    return (0..<300_000).map { _ in UInt8(truncatingIfNeeded: random.next()) }
  }()
  private static let packed = Gzip.pack(content)

  private let folder: TemporaryFolder
  private let file: DatasetDownload.File

  init() throws {
    folder = try TemporaryFolder()
    let outside = try TemporaryFolder()
    let plain = try outside.write(Self.content, to: "plain")
    file = DatasetDownload.File(
      name: "a.gz", contentSHA256: try UnpackingReader(path: plain).contentSHA256(),
      contentSize: Self.content.count)
  }

  private var path: String { folder.file("a.gz") }

  private func download(
    _ mirrors: [String], idleTimeout: TimeInterval = 20, replaces: Bool = false
  ) throws -> DatasetDownload.Outcome {
    let download = try DatasetDownload(files: [file], mirrors: mirrors, idleTimeout: idleTimeout)
    let outcomes = try download.run(into: folder.path, replaces: replaces)
    return try #require(outcomes.first).outcome
  }

  private func failure(_ mirrors: [String], idleTimeout: TimeInterval = 20) -> String {
    message { try download(mirrors, idleTimeout: idleTimeout) }
  }

  @Test func theSumIsTheKnownOne() throws {
    let path = try folder.write(Gzip.pack(Array("abc".utf8)), to: "abc")
    #expect(
      try UnpackingReader(path: path).contentSHA256()
        == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")
  }

  @Test func aFileArrivesOnceAndIsThenPresent() throws {
    let server = try LoopbackServer { .file(Self.packed, $0) }
    #expect(
      try download([server.address + "mnist"]) == .downloaded(mirror: server.address + "mnist/"))
    #expect(try bytes(of: path) == Self.packed)
    #expect(folder.names == ["a.gz"])
    #expect(try download([server.address]) == .alreadyPresent)
    #expect(server.requests.map(\.path) == ["/mnist/a.gz"])
  }

  @Test func anotherFileUnderTheNameIsReplacedOnDemand() throws {
    let other = Gzip.pack([1, 2, 3])
    _ = try folder.write(other, to: "a.gz")
    let server = try LoopbackServer { .file(Self.packed, $0) }
    #expect(
      failure([server.address])
        == "\(path): is there and is not the file of this set; --force replaces it")
    #expect(try bytes(of: path) == other && server.requests.isEmpty)
    #expect(
      try download([server.address], replaces: true) == .downloaded(mirror: server.address))
    #expect(try bytes(of: path) == Self.packed)
  }

  /// It would be read in the place of what is fetched.
  @Test func anUnpackedFileOfAnotherSetIsNotPassedOver() throws {
    let plain = try folder.write([1, 2, 3], to: "a")
    let server = try LoopbackServer { .file(Self.packed, $0) }
    #expect(failure([server.address]).hasPrefix("\(plain): is there, is read in the place of a.gz"))
    #expect(server.requests.isEmpty)
    #expect(
      try download([server.address], replaces: true) == .downloaded(mirror: server.address))
    #expect(folder.names == ["a.gz"])
    // Unpacked, it is the file all the same.
    try FileManager.default.removeItem(atPath: path)
    try folder.write(Self.content, to: "a")
    #expect(try download([server.address]) == .alreadyPresent)
    #expect(folder.names == ["a"])
  }

  @Test func anInterruptedDownloadIsContinued() throws {
    _ = try folder.write(Array(Self.packed[..<100_000]), to: "a.gz.part")
    let server = try LoopbackServer { .file(Self.packed, $0) }
    #expect(try download([server.address]) == .downloaded(mirror: server.address))
    #expect(try bytes(of: path) == Self.packed)
    #expect(server.requests.map(\.rangeStart) == [100_000])
    #expect(folder.names == ["a.gz"])
  }

  @Test func aServerThatIgnoresRangesStartsOver() throws {
    _ = try folder.write(Array(Self.packed[..<100_000]), to: "a.gz.part")
    let server = try LoopbackServer { _ in .init(body: Self.packed) }
    #expect(try download([server.address]) == .downloaded(mirror: server.address))
    #expect(try bytes(of: path) == Self.packed)
    #expect(server.requests.count == 1)
  }

  @Test func anotherRangeThanAskedStartsOver() throws {
    _ = try folder.write(Array(Self.packed[..<100_000]), to: "a.gz.part")
    let server = try LoopbackServer { request in
      guard request.rangeStart != nil else { return .init(body: Self.packed) }
      return .init(
        status: 206, headers: ["Content-Range: bytes 50000-\(Self.packed.count - 1)/*"],
        body: Array(Self.packed[50_000...]))
    }
    #expect(try download([server.address]) == .downloaded(mirror: server.address))
    #expect(server.requests.map(\.rangeStart) == [100_000, nil])
  }

  @Test func aPartLongerThanTheFileStartsOver() throws {
    _ = try folder.write(Self.packed + [1, 2, 3], to: "a.gz.part")
    let server = try LoopbackServer { .file(Self.packed, $0) }
    #expect(try download([server.address]) == .downloaded(mirror: server.address))
    #expect(server.requests.map(\.rangeStart) == [Self.packed.count + 3, nil])
  }

  @Test func aCompletePartNeedsNoNetwork() throws {
    _ = try folder.write(Self.packed, to: "a.gz.part")
    #expect(try download(["http://127.0.0.1:1/"]) == .alreadyPresent)
    #expect(folder.names == ["a.gz"])
  }

  @Test func aPartOfOtherBytesIsDroppedNotBlamedOnTheMirror() throws {
    _ = try folder.write([UInt8](repeating: 7, count: 1000), to: "a.gz.part")
    let server = try LoopbackServer { .file(Self.packed, $0) }
    #expect(try download([server.address]) == .downloaded(mirror: server.address))
    #expect(server.requests.map(\.rangeStart) == [1000, nil])
    #expect(try bytes(of: path) == Self.packed)
  }

  @Test func aConnectionCutMidwayIsContinued() throws {
    let server = try LoopbackServer { request in
      var answer = LoopbackServer.Answer.file(Self.packed, request)
      if request.rangeStart == nil { answer.cutAfter = 120_000 }
      return answer
    }
    #expect(try download([server.address]) == .downloaded(mirror: server.address))
    #expect(try bytes(of: path) == Self.packed)
    #expect(server.requests.map(\.rangeStart) == [nil, 120_000])
  }

  @Test func anEndlesslyCutConnectionKeepsThePartAndFails() throws {
    let server = try LoopbackServer { request in
      var answer = LoopbackServer.Answer.file(Self.packed, request)
      answer.cutAfter = 1000
      return answer
    }
    let text = failure([server.address])
    #expect(text.hasPrefix("a.gz: no mirror delivered it: \(server.address): broken off after "))
    #expect(folder.names == ["a.gz.part"])
    #expect(try bytes(of: path + ".part") == Array(Self.packed[..<4000]))
  }

  @Test func theNextMirrorIsTried() throws {
    let absent = try LoopbackServer { _ in .notFound }
    let wrong = try LoopbackServer { _ in .init(body: Gzip.pack([1, 2, 3])) }
    let good = try LoopbackServer { .file(Self.packed, $0) }
    #expect(
      try download([absent.address, wrong.address, good.address])
        == .downloaded(mirror: good.address))
    #expect(try bytes(of: path) == Self.packed)
    #expect(good.requests.map(\.rangeStart) == [nil])
  }

  @Test func whenNoneDeliversEachIsNamedWithItsReason() throws {
    let absent = try LoopbackServer { _ in .notFound }
    let wrong = try LoopbackServer { _ in .init(body: Gzip.pack([1, 2, 3])) }
    let page = try LoopbackServer { _ in .init(body: Array("<html>".utf8)) }
    #expect(
      failure([absent.address, wrong.address, page.address])
        == "a.gz: no mirror delivered it: \(absent.address): HTTP status 404; "
        + "\(wrong.address): what it sent has the wrong SHA-256; "
        + "\(page.address): what it sent is not gzip")
    #expect(folder.names.isEmpty)
    let refused = failure(["http://127.0.0.1:1/"])
    #expect(refused.hasPrefix("a.gz: no mirror delivered it: http://127.0.0.1:1/: "))
  }

  @Test func tooMuchIsCutOff() throws {
    let bomb = try LoopbackServer { _ in
      .init(body: [UInt8](repeating: 0, count: 5_000_000))
    }
    #expect(failure([bomb.address]).contains("it sent more than the"))
    #expect(folder.names.isEmpty)
    let unpacksToMore = Gzip.pack([UInt8](repeating: 0, count: 400_000))
    let server = try LoopbackServer { .file(unpacksToMore, $0) }
    #expect(failure([server.address]).contains("more than 300000 bytes of content"))
    #expect(folder.names.isEmpty)
  }

  @Test func aSilentMirrorIsGivenUp() throws {
    let givenUp = DispatchSemaphore(value: 0)
    defer { givenUp.signal() }
    let silent = try LoopbackServer { request in
      var answer = LoopbackServer.Answer.file(Self.packed, request)
      answer.beforeBody = { givenUp.wait() }
      return answer
    }
    let text = failure([silent.address], idleTimeout: 0.5)
    #expect(text.hasPrefix("a.gz: no mirror delivered it: \(silent.address): "))
  }

  @Test func aRedirectIsFollowed() throws {
    _ = try folder.write(Array(Self.packed[..<100_000]), to: "a.gz.part")
    let server = try LoopbackServer { request in
      request.path == "/raw/a.gz"
        ? .file(Self.packed, request) : .init(status: 302, headers: ["Location: /raw/a.gz"])
    }
    #expect(try download([server.address]) == .downloaded(mirror: server.address))
    #expect(server.requests.map(\.path) == ["/a.gz", "/raw/a.gz"])
    #expect(server.requests.map(\.rangeStart) == [100_000, 100_000])
    #expect(try bytes(of: path) == Self.packed)
  }

  @Test func aFolderCanBeTheMirror() throws {
    let source = try TemporaryFolder()
    let mirror = "file:\(source.path)"
    #expect(
      failure([mirror])
        == "a.gz: no mirror delivered it: \(mirror)/: cannot open: No such file or directory")
    _ = try source.write(Self.packed, to: "a.gz")
    _ = try folder.write([1, 2, 3], to: "a.gz.part")
    #expect(try download([mirror]) == .downloaded(mirror: mirror + "/"))
    #expect(try bytes(of: path) == Self.packed)
    #expect(folder.names == ["a.gz"])
  }

  @Test func progressTellsBytesAndTotal() throws {
    final class Reports: @unchecked Sendable {
      private let lock = NSLock()
      private var entries: [DatasetDownload.Progress] = []
      var all: [DatasetDownload.Progress] { lock.withLock { entries } }
      func add(_ progress: DatasetDownload.Progress) { lock.withLock { entries.append(progress) } }
    }
    _ = try folder.write(Array(Self.packed[..<100_000]), to: "a.gz.part")
    let server = try LoopbackServer { .file(Self.packed, $0) }
    let reports = Reports()
    try DatasetDownload(files: [file], mirrors: [server.address])
      .run(into: folder.path) { reports.add($0) }
    let total = Self.packed.count
    #expect(reports.all.first == .init(file: "a.gz", bytes: 100_000, total: total))
    #expect(reports.all.last == .init(file: "a.gz", bytes: total, total: total))
  }

  @Test func troublesOfTheFolderAreNotTheMirrors() throws {
    let server = try LoopbackServer { .file(Self.packed, $0) }
    let taken = try folder.write([1], to: "taken")
    let download = try DatasetDownload(files: [file], mirrors: [server.address])
    #expect(
      message { try download.run(into: taken) }
        == "\(taken): cannot make this folder: it is a file")
    try FileManager.default.createDirectory(
      atPath: path + ".part", withIntermediateDirectories: false)
    #expect(failure([server.address]) == "\(path).part: not a regular file")
    #expect(server.requests.isEmpty)
  }

  @Test(arguments: ["", "mnist", "ftp://a/b", "http://", "file:"])
  func onlyAddressesAreMirrors(text: String) {
    #expect(throws: DataSource.SyntaxError.self) { try DatasetDownload.mnist(mirrors: [text]) }
  }

  @Test func givenMirrorsReplaceTheBuiltInOnes() throws {
    #expect(try DatasetDownload.mnist().mirrors.count == 3)
    let mirrors = try DatasetDownload.mnist(mirrors: ["http://a/b", "file:/c"]).mirrors
    #expect(mirrors.map(\.absoluteString) == ["http://a/b/", "file:/c/"])
    #expect(
      DatasetDownload.mnistFiles.map(\.name) == MNISTFolder.names.map { $0 + ".gz" })
  }
}
