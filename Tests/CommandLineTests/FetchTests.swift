import Datasets
import Foundation
import TestSupport
import Testing

/// The verb alone; what downloading does is tested with the data sets.
@Suite struct FetchTests {
  private func fetch(_ mirror: String, to folder: String) async throws -> Tool.Outcome {
    try await Tool.run("fetch", "mnist", "--to", folder, "--mirror", mirror)
  }

  @Test func wrongSumsAreRefused() async throws {
    let folder = try TemporaryFolder()
    let mirror = try folder.makeFolder("mirror")
    for file in DatasetDownload.mnistFiles {
      _ = try folder.write(Gzip.pack(idx([40, 28, 28])), to: "mirror/\(file.name)")
    }
    let outcome = try await fetch("file://\(mirror)", to: folder.file("mnist"))
    #expect(outcome.status == 1)
    #expect(outcome.output == "")
    let line = try #require(outcome.errorLines.last)
    #expect(line.hasPrefix("Error: train-images-idx3-ubyte.gz: no mirror delivered it"))
    #expect(line.contains("the wrong SHA-256"))
    #expect(!folder.names.contains { $0.hasPrefix("mnist/") })
  }

  @Test func mirrorsThatDeliverNothing() async throws {
    let folder = try TemporaryFolder()
    let absent = "file://\(folder.file("absent"))/"
    expectFailure(try await fetch(absent, to: folder.file("mnist")), "no mirror", absent)
    #expect(folder.names == [])
  }

  @Test func aFileInTheWay() async throws {
    let folder = try TemporaryFolder()
    let file = try folder.write("mine", to: "file")
    let outcome = try await fetch("file:///tmp/", to: "\(file)/mnist")
    expectFailure(outcome, "\(file)/mnist: cannot make this folder: \(file) is a file")
    #expect(try text(of: file) == "mine")
  }
}
