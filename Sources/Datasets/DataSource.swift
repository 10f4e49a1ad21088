import Foundation
import Imaging

/// What `--data` names: `mnist:DIR`, `idx:IMAGES[,LABELS]`, `images:DIR` or `glyphs[:COUNT]`.
package enum DataSource: Equatable, Sendable {
  /// A folder with MNIST's four files, which bring a test part.
  case mnist(folder: String)
  /// One IDX file of images, and perhaps one of labels; every tenth image is tested.
  case idx(images: String, labels: String?)
  /// A folder of PNG and JPEG images; every tenth image is tested.
  case images(folder: String)
  /// Glyphs drawn by the program: `trainCount` to train and a fifth as many to test.
  case glyphs(trainCount: Int)

  /// A text that is no data source: a usage error, unlike `FileError`.
  package struct SyntaxError: Error, Equatable, Sendable, CustomStringConvertible {
    package let description: String
  }

  package static let syntax = "mnist:DIR | idx:IMAGES[,LABELS] | images:DIR | glyphs[:COUNT]"
  private static let maximumGlyphCount = 10_000_000

  /// Paths of `idx` hold no comma. A leading `~/` is the user's folder, since the shell leaves it
  /// alone after a colon.
  ///
  /// - Throws: `SyntaxError`. Whether the files exist is seen by `load`.
  package init(parsing text: String) throws {
    let parts = text.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
    let kind = String(parts[0])
    let argument = parts.count > 1 ? String(parts[1]) : nil
    func failure(_ reason: String) -> SyntaxError {
      SyntaxError(description: "'\(text)': \(reason); expected \(Self.syntax)")
    }
    func path(_ text: (some StringProtocol)?, _ what: String) throws -> String {
      guard let text, !text.isEmpty else { throw failure("\(what) is missing") }
      return expandingHome(String(text))
    }
    switch kind {
    case "mnist":
      self = .mnist(folder: try path(argument, "the folder"))
    case "images":
      self = .images(folder: try path(argument, "the folder"))
    case "idx":
      let files = (argument ?? "").split(separator: ",", omittingEmptySubsequences: false)
      guard files.count <= 2 else { throw failure("more than two files") }
      let images = try path(files.first, "the images' file")
      self = .idx(
        images: images, labels: files.count == 2 ? try path(files[1], "the labels' file") : nil)
    case "glyphs":
      guard let argument else {
        self = .glyphs(trainCount: Glyphs.defaultTrainCount)
        return
      }
      guard let count = Int(argument), count >= 1, count <= Self.maximumGlyphCount else {
        throw failure("the count is not a number from 1 to \(Self.maximumGlyphCount)")
      }
      self = .glyphs(trainCount: count)
    default:
      throw failure("no such kind of data")
    }
  }

  /// What names this source from anywhere: its text with absolute paths.
  package var absoluteText: String {
    func absolute(_ path: String) -> String { URL(fileURLWithPath: path).standardizedFileURL.path }
    return switch self {
    case .mnist(let folder): "mnist:\(absolute(folder))"
    case .idx(let images, let labels):
      "idx:\(absolute(images))" + (labels.map { ",\(absolute($0))" } ?? "")
    case .images(let folder): "images:\(absolute(folder))"
    case .glyphs(let count): "glyphs:\(count)"
    }
  }

  /// The files that are read, and the folders that they lie in.
  package var paths: [String] {
    switch self {
    case .mnist(let folder), .images(let folder):
      let names = (try? Folder.entries(of: folder).map(\.name)) ?? []
      return [folder] + names.map { joinedPath(folder, $0) }
    case .idx(let images, let labels): return [images] + (labels.map { [$0] } ?? [])
    case .glyphs: return []
    }
  }

  /// One line for the user, before anything was read.
  package func describe() -> String {
    switch self {
    case .mnist(let folder): "MNIST's four files in \(folder)"
    case .idx(let images, let labels):
      "IDX images \(images)" + (labels.map { " with labels \($0)" } ?? "")
        + ", every tenth for testing"
    case .images(let folder): "PNG and JPEG images in \(folder), every tenth for testing"
    case .glyphs(let count):
      "\(count) glyphs drawn by the program, \(Self.testCount(of: count)) more for testing"
    }
  }

  private static func testCount(of trainCount: Int) -> Int { max(1, trainCount / 5) }

  /// Reads or draws both parts.
  ///
  /// - Parameters:
  ///   - seed: decides the glyphs, `Glyphs.defaultSeed` if nil; files do not depend on it.
  ///   - progress: called on the calling thread with steps done and in all, of whatever size.
  /// - Throws: `FileError`, one line with the file and what is wrong with it.
  package func load(
    seed: UInt64? = nil, progress: (_ done: Int, _ total: Int) -> Void = { _, _ in }
  ) throws -> Dataset {
    switch self {
    case .mnist(let folder):
      return try MNISTFolder.read(folder, progress: progress)
    case .idx(let images, let labels):
      let set = try IDX.readImages(images, labels: labels)
      progress(1, 1)
      return Dataset(name: "idx", splitting: set)
    case .images(let folder):
      return Dataset(name: "images", splitting: try ImageFolder.read(folder, progress: progress))
    case .glyphs(let count):
      let testCount = Self.testCount(of: count)
      try checkFitsMemory((count + testCount) * Glyphs.side * Glyphs.side, path: "glyphs:\(count)")
      return Glyphs.dataset(
        trainCount: count, testCount: testCount, seed: seed ?? Glyphs.defaultSeed,
        progress: progress)
    }
  }
}

private func expandingHome(_ path: String) -> String {
  guard path == "~" || path.hasPrefix("~/") else { return path }
  return FileManager.default.homeDirectoryForCurrentUser.path + path.dropFirst()
}
