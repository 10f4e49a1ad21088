import Datasets
import Foundation
import Testing

/// The real files, which a checkout may lack.
struct MNISTTests {
  private static let folder = URL(fileURLWithPath: #filePath)
    .appendingPathComponent("../../../../shared/data/mnist").standardizedFileURL.path

  private static var isRequired: Bool {
    ProcessInfo.processInfo.environment["SPARROW_REQUIRE_DATA"] == "1"
  }

  private static var isPresent: Bool {
    FileManager.default.fileExists(atPath: folder + "/train-images-idx3-ubyte.gz")
  }

  @Test(.enabled(if: isPresent || isRequired, "no shared/data/mnist beside the package"))
  func filesAreTheOriginals() throws {
    for file in DatasetDownload.mnistFiles {
      let reader = try UnpackingReader(path: Self.folder + "/" + file.name)
      #expect(try reader.contentSHA256() == file.contentSHA256)
      #expect(reader.position == file.contentSize)
    }
  }

  @Test(.enabled(if: isPresent || isRequired, "no shared/data/mnist beside the package"))
  func loads() throws {
    let data = try DataSource.mnist(folder: Self.folder).load()
    #expect(data.summary == "mnist: 60000 + 10000 images, 28x28 grey")
    #expect(data.train.labels?.prefix(5) == [5, 0, 4, 1, 9])
    #expect(data.test.labels?.prefix(5) == [7, 2, 1, 0, 4])
    let sum = data.train.pixels.reduce(0) { $0 + Int($1) }
    // The mean grey level of the training part is 33.3184.
    #expect(abs(Double(sum) / Double(data.train.pixels.count) - 33.3184) < 0.001)
  }
}
