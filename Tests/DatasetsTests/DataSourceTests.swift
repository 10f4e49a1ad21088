import Datasets
import Foundation
import Imaging
import TestSupport
import Testing

struct DataSourceTests {
  private let folder: TemporaryFolder

  init() throws { folder = try TemporaryFolder() }

  // MARK: Syntax

  @Test func everyKindIsParsed() throws {
    #expect(try DataSource(parsing: "mnist:/a:b/c") == .mnist(folder: "/a:b/c"))
    #expect(try DataSource(parsing: "idx:a.gz") == .idx(images: "a.gz", labels: nil))
    #expect(try DataSource(parsing: "idx:a,b") == .idx(images: "a", labels: "b"))
    #expect(try DataSource(parsing: "images:x y") == .images(folder: "x y"))
    #expect(try DataSource(parsing: "glyphs") == .glyphs(trainCount: 10_000))
    #expect(try DataSource(parsing: "glyphs:12") == .glyphs(trainCount: 12))
    let home = FileManager.default.homeDirectoryForCurrentUser.path
    #expect(try DataSource(parsing: "images:~/x") == .images(folder: home + "/x"))
  }

  @Test(arguments: [
    "", "mnist", "mnist:", "images:", "idx", "idx:", "idx:,b", "idx:a,", "idx:a,b,c", "glyphs:",
    "glyphs:0", "glyphs:-1", "glyphs:x", "glyphs:10000001", "cifar:x", "/a/folder",
  ])
  func anythingElseIsAnError(text: String) {
    let error = #expect(throws: DataSource.SyntaxError.self) { try DataSource(parsing: text) }
    #expect(error?.description.hasPrefix("'\(text)': ") == true)
    #expect(error?.description.contains("mnist:DIR | idx:") == true)
  }

  // MARK: Splits

  private func set(count: Int) -> ImageSet {
    let labels = (0..<count).map { UInt8($0) }
    return ImageSet(
      count: count, width: 2, height: 1, channels: 1, pixels: labels.flatMap { [$0, $0] },
      labels: labels)
  }

  @Test func everyTenthImageIsTested() throws {
    let whole = set(count: 25)
    let data = Dataset(name: "x", splitting: whole)
    #expect(data.test.labels == [9, 19])
    #expect(data.test.pixels == [9, 9, 19, 19])
    let rest = (0..<25).map { UInt8($0) }.filter { $0 != 9 && $0 != 19 }
    #expect(data.train.labels == rest)
    #expect(data.train.pixels == rest.flatMap { [$0, $0] })
    #expect(whole == set(count: 25))
    #expect(data.summary == "x: 23 + 2 images, 2x1 grey")
  }

  @Test(arguments: 2...10)
  func fewImagesLeaveTheLastForTesting(count: Int) {
    let data = Dataset(name: "x", splitting: set(count: count))
    #expect(data.test.labels == [UInt8(count - 1)])
    #expect(data.train.count == count - 1)
  }

  @Test func oneImageIsBothParts() {
    let data = Dataset(name: "x", splitting: set(count: 1))
    #expect(data.train == data.test)
  }

  // MARK: Loading

  @Test func idxLoadsAndSplits() throws {
    try IDX.writeImages(set(count: 20), to: folder.file("i.gz"))
    try IDX.writeLabels(Array(0..<20), to: folder.file("l"))
    let source = try DataSource(parsing: "idx:\(folder.file("i.gz")),\(folder.file("l"))")
    let data = try source.load()
    #expect(data.test.labels == [9, 19])
    #expect(try DataSource(parsing: "idx:\(folder.file("i.gz"))").load().test.labels == nil)
  }

  @Test func mnistFoldersHoldFourFilesPackedOrNot() throws {
    let names = MNISTFolder.names
    try IDX.writeImages(set(count: 4), to: folder.file(names[0] + ".gz"))
    try IDX.writeLabels([1, 2, 3, 4], to: folder.file(names[1]))
    let source = DataSource.mnist(folder: folder.path)
    #expect(
      message { try source.load() }
        == "\(folder.path): not found, with or without .gz: "
        + "t10k-images-idx3-ubyte, t10k-labels-idx1-ubyte")
    try IDX.writeImages(set(count: 2), to: folder.file(names[2]))
    try IDX.writeLabels([5, 6], to: folder.file(names[3] + ".gz"))
    let data = try source.load()
    #expect((data.train.count, data.test.count) == (4, 2))
    #expect(data.train.labels == [1, 2, 3, 4])
    #expect(data.test.labels == [5, 6])
    let other = ImageSet(count: 2, width: 1, height: 1, channels: 1, pixels: [0, 0])
    try IDX.writeImages(other, to: folder.file(names[2]))
    #expect(message { try source.load() }.contains("1x1 grey, but"))
  }

  @Test func glyphsLoadWithAFifthForTesting() throws {
    let data = try DataSource(parsing: "glyphs:50").load(seed: 4)
    #expect((data.train.count, data.test.count) == (50, 10))
    #expect(data == Glyphs.dataset(trainCount: 50, testCount: 10, seed: 4))
    #expect(
      try DataSource.glyphs(trainCount: 1).load() == Glyphs.dataset(trainCount: 1, testCount: 1))
  }

  // MARK: Folders of images

  private func writeImage(_ name: String, _ samples: [UInt8], channels: Int = 1) throws {
    let width = samples.count / channels
    let image = Image(width: width, height: 1, channels: channels, samples: samples)
    try ImageFile.writePNG(image, to: folder.file(name))
  }

  @Test func foldersAreReadInTheOrderOfNames() throws {
    try writeImage("b.png", [3, 4])
    try writeImage("a.png", [1, 2])
    try writeImage("Z", [9, 9])
    try writeImage(".hidden.png", [0])
    _ = try folder.write(Array("text".utf8), to: "readme.txt")
    try FileManager.default.createDirectory(
      atPath: folder.file("c.png"), withIntermediateDirectories: false)
    let set = try ImageFolder.read(folder.path)
    #expect(set.pixels == [9, 9, 1, 2, 3, 4])
    #expect((set.count, set.width, set.height, set.channels) == (3, 2, 1, 1))
    #expect(try DataSource.images(folder: folder.path).load().test.pixels == [3, 4])
  }

  @Test func oneColourImageMakesAllRGB() throws {
    try writeImage("a.png", [1, 2])
    try writeImage("b.png", [3, 4, 5, 6, 7, 8], channels: 3)
    try writeImage("c.png", [9, 10])
    let set = try ImageFolder.read(folder.path)
    #expect(set.channels == 3)
    #expect(set.pixels == [1, 1, 1, 2, 2, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 10, 10, 10])
  }

  @Test func badFoldersAreNamed() throws {
    let path = folder.path
    func text() -> String { message { try DataSource.images(folder: path).load() } }
    #expect(text() == "\(path): no PNG or JPEG image in this folder")
    try writeImage("a.png", [1, 2])
    try writeImage("b.png", [1, 2, 3])
    #expect(text() == "\(path)/b.png: 3x1 pixels, but \(path)/a.png has 2x1")
    _ = try folder.write([1, 2, 3], to: "b.png")
    #expect(text() == "\(path)/b.png: neither a PNG nor a JPEG image")
    let absent = folder.file("absent")
    #expect(message { try ImageFolder.read(absent) } == "\(absent): no such folder")
    #expect(message { try ImageFolder.read("\(path)/a.png") } == "\(path)/a.png: not a folder")
  }
}
