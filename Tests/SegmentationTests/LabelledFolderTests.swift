import Foundation
import Imaging
import Segmentation
import TestSupport
import Testing

struct LabelledFolderTests {
  private func error(_ body: () throws -> Void) -> FileError? {
    do {
      try body()
      return nil
    } catch {
      return error as? FileError
    }
  }

  @Test func pairsFilesByBaseNameWhateverTheirExtension() throws {
    let folder = try TemporaryFolder()
    try folder.write("images/b.PNG")
    try folder.write("images/a.tif")
    try folder.write("images/.hidden.png")
    try folder.write("images/c.1.jpeg")
    try folder.write("labels/a.png")
    try folder.write("labels/b.png")
    try folder.write("labels/c.1.tiff")
    try Data().write(to: URL(fileURLWithPath: folder.path + "/images/notes.txt"))
    let pairs = try LabelledFolder(
      images: folder.path + "/images", labels: folder.path + "/labels/"
    )
    .pairs
    #expect(pairs.map(\.image.name) == ["a", "b", "c.1"])
    #expect(pairs[0].image.paths == [folder.path + "/images/a.tif"])
    #expect(pairs[1].labelPath == folder.path + "/labels/b.png")
  }

  @Test func namesWhatHasNoPartner() throws {
    let folder = try TemporaryFolder()
    let (images, labels) = (folder.path + "/images", folder.path + "/labels")
    for i in 0..<7 { try folder.write("images/\(i).png") }
    try folder.write("labels/3.png")
    let missing = try #require(error { _ = try LabelledFolder(images: images, labels: labels) })
    #expect(
      missing.description
        == "\(images): 6 images have no label in \(labels): "
        + "0.png, 1.png, 2.png, 4.png, 5.png, ...")
    let some = try LabelledFolder(images: images, labels: labels, allowsUnlabelled: true)
    #expect(some.pairs.map(\.image.name) == ["3"])
    #expect(some.unlabelled.count == 6)

    try folder.write("labels/x.png")
    let orphan = try #require(
      error { _ = try LabelledFolder(images: images, labels: labels, allowsUnlabelled: true) })
    #expect(orphan.description == "\(labels): 1 label has no image in \(images): x.png")
  }

  @Test func refusesEmptyFoldersAndTwoFilesOfOneName() throws {
    let folder = try TemporaryFolder()
    try folder.write("images/a.png")
    try Folder.make(folder.path + "/labels")
    let (images, labels) = (folder.path + "/images", folder.path + "/labels")
    #expect(
      error { _ = try LabelledFolder(images: images, labels: labels) }?.description
        == "\(labels): no PNG, JPEG or TIFF image in this folder")
    #expect(
      error { _ = try LabelledFolder(images: images + "/none", labels: labels) }?.description
        == "\(images)/none: no such folder")
    try folder.write("images/a.tif")
    try folder.write("labels/a.png")
    #expect(
      error { _ = try LabelledFolder(images: images, labels: labels) }?.description
        == "\(images)/a.tif: has the base name of a.png")
  }

  @Test func readsTheLayoutOfNNUNet() throws {
    let folder = try TemporaryFolder()
    let (images, labels) = (folder.path + "/imagesTr", folder.path + "/labelsTr")
    for name in ["nerve_1", "nerve_2"] {
      try folder.write("imagesTr/\(name)_0000.png", samples: [UInt8](repeating: 10, count: 12))
      try folder.write("imagesTr/\(name)_0001.png", samples: (0..<12).map { $0 })
      try folder.write("labelsTr/\(name).png", samples: [UInt8](repeating: 1, count: 12))
    }
    let pairs = try LabelledFolder(images: images, labels: labels).pairs
    #expect(pairs.map(\.image.name) == ["nerve_1", "nerve_2"])
    let read = try pairs[1].image.read()
    #expect(read.map(\.name) == ["nerve_2"])
    let image = read[0].image
    #expect(image.channels == 2)
    #expect(image.samples.prefix(6) == [10, 0, 10, 1, 10, 2])
    #expect(try ImageCases.list(images).count == 2)

    try FileManager.default.removeItem(atPath: images + "/nerve_2_0000.png")
    #expect(
      error { _ = try LabelledFolder(images: images, labels: labels) }?.description
        == "\(images)/nerve_2_0001.png: channel nerve_2_0000 is missing before it")
  }

  /// A camera's names are no channels where the labels are named otherwise.
  @Test func namesThatEndWithANumberNeedNoCase() throws {
    let folder = try TemporaryFolder()
    for number in [1234, 1235] {
      try folder.write("images/IMG_\(number).png")
      try folder.write("labels/IMG_\(number)_mask.png")
    }
    let (images, labels) = (folder.file("images"), folder.file("labels"))
    #expect(
      error { _ = try LabelledFolder(images: images, labels: labels) }?.description
        == "\(labels): 2 labels have no image in \(images): IMG_1234_mask.png, IMG_1235_mask.png")
  }

  /// A folder that is named twice makes each label its own image.
  @Test func noImageIsItsOwnLabel() throws {
    let folder = try TemporaryFolder()
    try folder.write("a/a.png")
    let path = folder.file("a")
    try FileManager.default.createSymbolicLink(
      atPath: folder.file("b"), withDestinationPath: path)
    for labels in [path, folder.file("b")] {
      #expect(
        error { _ = try LabelledFolder(images: path, labels: labels) }?.reason
          .hasPrefix("is the image as well as its label") == true)
    }
    // Masks that are compared with themselves are a test of the measure.
    #expect(try LabelledFolder(images: path, labels: path, ofPredictions: true).pairs.count == 1)
  }

  @Test func oneImageHasItsLabelAmongOthers() throws {
    let folder = try TemporaryFolder()
    for name in ["a", "b"] {
      try folder.write("images/\(name).png")
      try folder.write("labels/\(name).tif")
    }
    let image = folder.file("images/b.png")
    for labels in [folder.file("labels"), folder.file("labels/b.tif")] {
      let pairs = try LabelledFolder(images: image, labels: labels).pairs
      #expect(pairs.map(\.image.paths) == [[image]])
      #expect(pairs.map(\.labelPath) == [folder.file("labels/b.tif")])
    }
    try FileManager.default.removeItem(atPath: folder.file("labels/b.tif"))
    #expect(
      error { _ = try LabelledFolder(images: image, labels: folder.file("labels")) }?.description
        == "\(image): 1 image has no label in \(folder.file("labels")): b.png")
  }

  /// Each page is an image of its own, with the label's page of the same place.
  @Test func pagesAreImages() throws {
    let folder = try TemporaryFolder()
    func write(_ name: String, _ values: [UInt8]) throws {
      try folder.write(
        PagedTIFF.bytes(values.map { [UInt8](repeating: $0, count: 6) }, width: 3, height: 2),
        to: name)
    }
    for path in ["images", "labels"] { _ = try folder.makeFolder(path) }
    try write("images/s.tif", [10, 20, 30])
    try write("labels/s.tif", [0, 1, 2])
    let set = try LabelledFolder(images: folder.file("images"), labels: folder.file("labels"))
    let classes = try set.inferClasses()
    #expect(classes.count == 3)
    let content = try set.read(classes: classes)
    #expect(content.failures.isEmpty)
    #expect(content.images.map(\.name) == ["s-page0001", "s-page0002", "s-page0003"])
    #expect(content.images.map(\.image.samples[5]) == [10, 20, 30])
    #expect(content.images.map(\.labels?[0]) == [0, 1, 2])

    try write("labels/s.tif", [0, 1])
    #expect(
      try set.read(classes: classes).failures.first?.description
        == "\(folder.file("labels/s.tif")): pages: 2, but \(folder.file("images/s.tif")) has 3")
    #expect(
      error { _ = try SampleImage.read(folder.file("images/s.tif")) }?.reason
        == "has 3 pages where one is expected")
    // Of the channels of an image each has one page.
    _ = try folder.makeFolder("imagesTr")
    try write("imagesTr/s_0000.tif", [10])
    try write("imagesTr/s_0001.tif", [10, 20])
    let stack = try ImageCases.list(folder.file("imagesTr"))[0]
    for read in [{ _ = try stack.read() }, { _ = try ImageRows(stack) }] as [() throws -> Void] {
      #expect(error(read)?.description == "\(stack.paths[1]): has 2 pages where one is expected")
    }
  }

  /// As masks of pages are written, one by one, they are compared with labels of as many.
  @Test func masksOfPagesMakeOneImage() throws {
    let folder = try TemporaryFolder()
    for path in ["masks", "labels"] { _ = try folder.makeFolder(path) }
    func write(_ name: String, _ values: [UInt8]) throws {
      try folder.write(
        PagedTIFF.bytes(values.map { [UInt8](repeating: $0, count: 6) }, width: 3, height: 2),
        to: name)
    }
    try write("labels/s.tif", [0, 1, 2])
    try write("labels/a-page0001.tif", [1])
    try write("masks/a-page0001.tif", [2])
    for page in 1...3 {
      try write("masks/s-page000\(page).tif", [UInt8(3 - page)])
      try write("masks/s-page000\(page)-overlay.tif", [9])
    }
    func pairs() throws -> [LabelledFolder.Pair] {
      try LabelledFolder(
        images: folder.file("masks"), labels: folder.file("labels"), ofPredictions: true
      ).pairs
    }
    let classes = try ClassMap(parsing: "a=0,b=1,c=2")
    #expect(try pairs().map(\.image.name) == ["a-page0001", "s"])
    let pages = try pairs()[1].read(classes: classes)
    #expect(pages.map(\.name) == ["s-page0001", "s-page0002", "s-page0003"])
    #expect(pages.map(\.image.samples[5]) == [2, 1, 0])
    #expect(pages.map(\.labels?[0]) == [0, 1, 2])
    #expect(pages.map(\.path) == (1...3).map { folder.file("masks/s-page000\($0).tif") })

    try write("labels/s.tif", [0, 1])
    let first = folder.file("masks/s-page0001.tif")
    #expect(
      error { _ = try pairs()[1].read(classes: classes) }?.description
        == "\(folder.file("labels/s.tif")): pages: 2, but there are 3 from \(first) on")
    // A page that is missing ends them: what is left has no label.
    try FileManager.default.removeItem(atPath: folder.file("masks/s-page0002.tif"))
    #expect(error { _ = try pairs() }?.reason.hasPrefix("1 label has no image") == true)
  }

  /// A smaller copy for a quick look, and a mask of what is transparent, are no images.
  @Test func copiesAreNoImages() throws {
    let folder = try TemporaryFolder()
    func images(_ kinds: [Int]) throws -> [Float] {
      let path = try folder.write(
        PagedTIFF.bytes(
          kinds.indices.map { [UInt8(10 * $0), 1] }, width: 2, height: 1, kinds: kinds),
        to: "s.tif")
      let pages = try SampleImage.pages(of: path)
      let rows = try ImageRows(ImageCases.list(path)[0])
      #expect(rows.pages.count == pages.count)
      for (page, image) in zip(rows.pages, pages) {
        try rows.turn(to: page)
        #expect(try rows.rows(0..<1) == image.samples)
      }
      return pages.map { $0.samples[0] }
    }
    #expect(try images([0, 1, 0, 4, 5, 2]) == [0, 20, 50])
    #expect(try images([1, 0]) == [10])
    _ = try folder.makeFolder("imagesTr")
    // Of a channel as well, whose image need not be the first page.
    for channel in 0..<2 {
      try folder.write(
        [UInt8](Data(contentsOf: URL(fileURLWithPath: folder.file("s.tif")))),
        to: "imagesTr/s_000\(channel).tif")
    }
    let stack = try ImageCases.list(folder.file("imagesTr"))[0]
    #expect(try stack.read()[0].image.samples == [10, 10, 1, 1])
    let rows = try ImageRows(stack)
    try rows.turn(to: rows.pages[0])
    #expect(try rows.rows(0..<1) == [10, 10, 1, 1])
    #expect(try SampleImage.read(folder.file("s.tif")).samples[0] == 10)
    #expect(try images([1, 1]) == [0, 10])
  }

  /// What a prediction writes beside masks is none; an image that is called so is.
  @Test func picturesBesideMasksArePassedOver() throws {
    let folder = try TemporaryFolder()
    for name in [
      "a.png", "a-overlay.png", "a-uncertainty.tif", "a-uncertainty.png", "a-probability-b.tif",
      "b-overlay.png",
    ] { try folder.write("masks/\(name)") }
    for name in ["a.png", "b-overlay.png"] { try folder.write("labels/\(name)") }
    let (masks, labels) = (folder.file("masks"), folder.file("labels"))
    let set = try LabelledFolder(images: masks, labels: labels, ofPredictions: true)
    #expect(set.pairs.map(\.image.name) == ["a", "b-overlay"])
    #expect(error { _ = try LabelledFolder(images: masks, labels: labels) } != nil)
    // One that has a label is no picture.
    try folder.write("labels/a-overlay.png")
    let more = try LabelledFolder(images: masks, labels: labels, ofPredictions: true)
    #expect(more.pairs.map(\.image.name) == ["a", "a-overlay", "b-overlay"])
  }

  /// The same name in two forms of Unicode, between which another sorts.
  @Test func namesThatReadTheSame() throws {
    let folder = try TemporaryFolder()
    for name in ["e\u{301}.png", "f.png", "\u{e9}.png"] { try folder.write("images/\(name)") }
    #expect(
      error { _ = try ImageCases.list(folder.file("images")) }?.reason
        .hasPrefix("has the base name of ") == true)
  }

  @Test func framesOfAFilmAreNoChannels() throws {
    let folder = try TemporaryFolder()
    for i in 0..<3 {
      try folder.write("frames/film_000\(i).png")
      try folder.write("masks/film_000\(i).png")
    }
    let pairs = try LabelledFolder(images: folder.path + "/frames", labels: folder.path + "/masks")
      .pairs
    #expect(pairs.map(\.image.name) == ["film_0000", "film_0001", "film_0002"])
    #expect(try ImageCases.list(folder.path + "/frames").map(\.paths.count) == [1, 1, 1])
    #expect(try ImageCases.list(folder.path + "/frames/film_0001.png").map(\.name) == ["film_0001"])
  }

  @Test func aFileThatCannotBeReadLeavesTheOthers() throws {
    let folder = try TemporaryFolder()
    let (images, labels) = (folder.path + "/images", folder.path + "/labels")
    for name in ["a", "b", "c", "d"] {
      try folder.write("images/\(name).png")
      try folder.write("labels/\(name).png", samples: (0..<12).map { $0 % 2 })
    }
    try Data([0x89, 0x50, 1]).write(to: URL(fileURLWithPath: images + "/b.png"))
    try folder.write("labels/c.png", width: 5, height: 2, samples: (0..<10).map { $0 % 2 })
    var steps: [Int] = []
    let set = try LabelledFolder(images: images, labels: labels)
    let content = try set.read(classes: set.inferClasses()) { done, total in
      steps.append(done)
      #expect(total == 4)
    }
    #expect(content.images.map(\.name) == ["a", "d"])
    #expect(content.images[0].labels == (0..<12).map { $0 % 2 })
    #expect(content.images[0].image.samples == (0..<12).map(Float.init))
    #expect(content.failures.map(\.path) == [images + "/b.png", labels + "/c.png"])
    #expect(content.failures[1].reason == "5x2 pixels, but \(images)/c.png has 4x3")
    #expect(steps == [1, 2, 3, 4])
  }

  @Test(.enabled(if: SharedData.isUsable(SharedData.isbi), "no shared/data/isbi2012"))
  func readsRealMembranes() throws {
    let folder = try LabelledFolder(
      images: SharedData.isbi + "/train/images", labels: SharedData.isbi + "/train/labels")
    #expect(folder.pairs.count == 20)
    let classes = try folder.inferClasses()
    #expect(classes.description == "background=0,foreground=255")
    let content = try folder.read(classes: classes)
    #expect(content.failures.isEmpty)
    let membranes = content.images.reduce(0) { sum, image in
      sum + (image.labels ?? []).reduce(0) { $0 + ($1 == 0 ? 1 : 0) }
    }
    // Membranes are about a fifth of these slices.
    #expect((0.15...0.3).contains(Double(membranes) / Double(20 * 512 * 512)))
  }

  @Test(.enabled(if: SharedData.isUsable(SharedData.nuclei), "no shared/data/bbbc039"))
  func pairsRealNuclei() throws {
    let folder = try LabelledFolder(
      images: SharedData.nuclei + "/train/images", labels: SharedData.nuclei + "/train/labels")
    #expect(folder.pairs.count == 24)
    #expect(folder.pairs.allSatisfy { $0.image.paths[0].hasSuffix(".tif") })
    #expect(try folder.inferClasses().description == "background=0,foreground=1")
  }
}
