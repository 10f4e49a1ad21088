import Compute
import Foundation
import Imaging
import RandomNumbers

/// The images of one folder and the label images of another, paired by base name.
package struct LabelledFolder: Sendable {
  /// An image and its labels.
  package struct Pair: Hashable, Sendable {
    package let image: ImageCase
    package let labelPath: String
  }

  /// In the byte order of their names; at least one.
  package let pairs: [Pair]
  /// Images that have no label; empty unless they were allowed.
  package let unlabelled: [ImageCase]

  /// Pairs files whose names agree up to the extension: `a.tif` with `a.png`.
  ///
  /// Where every image is named like `CASE_0000.png`, no label is named like an image, and some are
  /// named like a case, the files are nnU-Net's: `CASE_0000.png`, `CASE_0001.png` and so on are the
  /// channels of one image, and its label is `CASE.png`.
  ///
  /// One image by itself has its label in a folder of labels, whose others are passed over, or in a
  /// file of any name.
  ///
  /// - Parameters:
  ///   - allowsUnlabelled: takes a folder in which only some images have a label.
  ///   - ofPredictions: whether the images are masks, beside which a prediction may have written
  ///     others, and of which each page's may be in a file of its own: see `ImageCases.files` and
  ///     `ImageCases.pageCases`.
  /// - Throws: `FileError` for an absent or empty folder, two files of one base name, images without
  ///   a label, labels without an image, a missing channel, and images that are their own labels.
  package init(
    images: String, labels: String, allowsUnlabelled: Bool = false, ofPredictions: Bool = false
  ) throws {
    if Self.isFile(images) {
      self = try Self(image: images, labels: labels)
      if !ofPredictions { try Self.refuseLabelsOfThemselves(pairs) }
      return
    }
    // What is wrong with the images is said first.
    let listing = Result { try ImageCases.files(in: labels) }
    let wanted = ofPredictions ? Set((try? listing.get())?.map(\.name) ?? []) : nil
    let imageFiles = try ImageCases.files(in: images, passesOverPicturesBut: wanted)
    let labelFiles = try listing.get()
    let labelPaths = Dictionary(uniqueKeysWithValues: labelFiles.map { ($0.name, $0.path) })
    let cases =
      imageFiles.allSatisfy { $0.hasChannel && labelPaths[$0.name] == nil }
        && imageFiles.contains { $0.channel.map { labelPaths[$0.name] != nil } ?? false }
      ? try ImageCases.channelCases(imageFiles, folder: images)
      : wanted.map { ImageCases.pageCases(imageFiles, of: $0) } ?? imageFiles.map(\.asCase)

    let names = Set(cases.map(\.name))
    let orphans = labelFiles.filter { !names.contains($0.name) }.map(\.path)
    guard orphans.isEmpty else {
      throw FileError(
        path: labels, reason: Self.unmatched(orphans, "label", "no image in \(images)"))
    }
    let unlabelled = cases.filter { labelPaths[$0.name] == nil }
    guard unlabelled.isEmpty || allowsUnlabelled else {
      throw FileError(
        path: images,
        reason: Self.unmatched(unlabelled.map { $0.paths[0] }, "image", "no label in \(labels)"))
    }
    self.unlabelled = unlabelled
    pairs = cases.compactMap { image in
      labelPaths[image.name].map { Pair(image: image, labelPath: $0) }
    }
    if !ofPredictions { try Self.refuseLabelsOfThemselves(pairs) }
  }

  /// One image and its label.
  private init(image path: String, labels: String) throws {
    let image = try ImageCases.list(path)[0]
    var label = labels
    if !Self.isFile(labels) {
      guard let file = try ImageCases.files(in: labels).first(where: { $0.name == image.name })
      else {
        throw FileError(
          path: path, reason: Self.unmatched([path], "image", "no label in \(labels)"))
      }
      label = file.path
    }
    self.init(pairs: [Pair(image: image, labelPath: label)], unlabelled: [])
  }

  private static func isFile(_ path: String) -> Bool {
    FileManager.default.fileExists(atPath: path) && !Folder.isFolder(path)
  }

  /// A folder that is named twice, or that images and labels share, has each file once.
  private static func refuseLabelsOfThemselves(_ pairs: [Pair]) throws {
    for pair in pairs where OutputNames(sources: pair.image.paths).reads(pair.labelPath) {
      throw FileError(
        path: pair.labelPath,
        reason: "is the image as well as its label: images and labels lie in folders of their own")
    }
  }

  /// For example `3 labels have no image in DIR: a.png, b.png, c.png`.
  private static func unmatched(_ paths: [String], _ kind: String, _ lack: String) -> String {
    let shown = paths.prefix(5).map { URL(fileURLWithPath: $0).lastPathComponent }
    let list = shown.joined(separator: ", ") + (paths.count > shown.count ? ", ..." : "")
    return paths.count == 1
      ? "1 \(kind) has \(lack): \(list)" : "\(paths.count) \(kind)s have \(lack): \(list)"
  }
}

/// An image with the class of each pixel, where they are known.
package struct LabelledImage: Sendable {
  package let name: String
  /// Its file, or the first of them; the name where it is from no file.
  package let path: String
  package var image: SampleImage
  /// `width * height` class indices, `SegmentationLoss.ignored` where unlabelled; nil where there
  /// is no label at all.
  package let labels: [UInt8]?

  package init(name: String, path: String? = nil, image: SampleImage, labels: [UInt8]?) {
    if let labels {
      precondition(labels.count == image.width * image.height, "one label for each pixel")
    }
    self.name = name
    self.path = path ?? name
    self.image = image
    self.labels = labels
  }

  /// Whether the class of any pixel is known.
  package var isLabelled: Bool { labels?.contains { $0 != SegmentationLoss.ignored } ?? false }
}

extension LabelledFolder.Pair {
  /// Both files, the labels as `classes` understands them: one image, or one for each page.
  ///
  /// - Throws: `FileError` for an image that cannot be read, one of another size or of other pages
  ///   than its label, and a label value that no class has.
  package func read(classes: ClassMap) throws -> [LabelledImage] {
    let pages = try image.read()
    let labels = try SampleImage.pages(of: labelPath)
    guard pages.count == labels.count else {
      throw FileError(
        path: labelPath,
        reason: "pages: \(labels.count), but \(image.description(ofPages: pages.count))")
    }
    return try zip(pages, labels).enumerated().map { index, pair in
      let (page, label) = pair
      let size = (page.image.width, page.image.height)
      guard size == (label.width, label.height) else {
        throw FileError(
          path: labelPath,
          reason: "\(label.width)x\(label.height) pixels, but \(image.path(ofPage: index)) has "
            + "\(size.0)x\(size.1)")
      }
      return LabelledImage(
        name: page.name, path: image.path(ofPage: index), image: page.image,
        labels: try classes.indices(of: label, path: labelPath))
    }
  }
}

extension LabelledFolder {
  /// What could be read, and what could not.
  package struct Content: Sendable {
    package let images: [LabelledImage]
    /// One for each pair that could not be read, in their order.
    package let failures: [FileError]
  }

  /// Reads all pairs; a file that cannot be read leaves the others as they are.
  ///
  /// - Parameter progress: called with pairs done and in all.
  package func read(
    classes: ClassMap, progress: (_ done: Int, _ total: Int) -> Void = { _, _ in }
  ) throws -> Content {
    var images: [LabelledImage] = []
    var failures: [FileError] = []
    for (index, pair) in pairs.enumerated() {
      do {
        images += try pair.read(classes: classes)
      } catch let error as FileError {
        failures.append(error)
      }
      progress(index + 1, pairs.count)
    }
    return Content(images: images, failures: failures)
  }

  /// The classes that the labels' values tell: see `LabelSurvey`. Labels that cannot be read are
  /// passed over, since `read` names them.
  ///
  /// - Throws: `FileError` where none can be read, and as `LabelSurvey` does.
  package func inferClasses(
    ignoring ignored: [Int] = [], scribbles: Bool = false
  ) throws -> ClassMap {
    var survey = LabelSurvey(ignoring: ignored, scribbles: scribbles)
    var failure: FileError?
    var count = 0
    for pair in pairs {
      let labels: [SampleImage]
      do {
        labels = try SampleImage.pages(of: pair.labelPath)
      } catch let error as FileError {
        failure = failure ?? error
        continue
      }
      let isJPEG = try ImageFile.format(of: pair.labelPath) == .jpeg
      for label in labels { try survey.add(label, path: pair.labelPath, isJPEG: isJPEG) }
      count += 1
    }
    if count == 0, let failure { throw failure }
    return try survey.classMap(path: pairs[0].labelPath)
  }
}

extension LabelledFolder {
  /// `count` of the pairs, drawn without preference by a seed, in the order of their names.
  package func limited(to count: Int, seed: UInt64) -> LabelledFolder {
    var generator = SplitMix64(seed: seed, stream: 0x11)
    let chosen = generator.shuffledIndices(count: pairs.count).prefix(count).sorted()
    return LabelledFolder(pairs: chosen.map { pairs[Int($0)] }, unlabelled: unlabelled)
  }

  private init(pairs: [Pair], unlabelled: [ImageCase]) {
    self.pairs = pairs
    self.unlabelled = unlabelled
  }
}

extension LabelledFolder.Content {
  /// The percentiles of the images that could be read.
  ///
  /// - Throws: `FileError` for images of different kinds, and where no sample is finite.
  package func normalisation() throws -> PercentileNormalisation {
    try PercentileNormalisation(of: images)
  }
}

extension PercentileNormalisation {
  /// The percentiles of some images; at least one.
  ///
  /// - Throws: `FileError` for images of different kinds, and where no sample is finite.
  package init(of images: [LabelledImage]) throws {
    precondition(!images.isEmpty, "percentiles are of images")
    var counter = PercentileCounter(like: images[0].image)
    for image in images { try counter.add(image.image, path: image.path) }
    self = try counter.normalisation(of: images[0].path)
  }
}
