import Compute
import Foundation
import Imaging

/// The files that the prediction of one image makes, written row by row and named at the end.
package final class PredictionOutputs {
  private let overlayPath: String
  private let width, height: Int
  private let classes: ClassMap
  private let normalisation: PercentileNormalisation
  private let mask: RowWriter
  private let probabilities: [RowWriter]
  private let uncertainty: RowWriter?
  private let wantsOverlay: Bool
  /// Kept for pictures, where the image is not too large to look at.
  private var image: SampleImage?
  private var labels: [UInt8] = []
  private var maps: [[Float]] = []
  private var entropy: [Float] = []
  /// The paths of each class's probability and of the uncertainty, without their endings; empty where
  /// they are not wanted.
  private let probabilityPaths, uncertaintyPaths: [String]
  /// Whether pictures were asked for and the image is too large for them.
  package let leavesOutPictures: Bool

  /// Larger images get no pictures: a person would not see them as one.
  private static let largestPicture = 1 << 24

  /// - Parameters:
  ///   - base: the path without its ending: `base.png`, `base-overlay.png` and so on are written.
  ///   - claim: is given the path of each file before any is begun; throws where it may not be written.
  package init(
    base: String, source: ImageRows, model: SegmenterModel, wantsProbabilities: Bool,
    wantsUncertainty: Bool, wantsOverlay: Bool, claim: (String) throws -> Void = { _ in }
  ) throws {
    (width, height) = (source.width, source.height)
    classes = model.description.classes
    normalisation = model.description.normalisation
    let (width, height, classes) = (width, height, classes)
    let hasPictures = height <= Self.largestPicture / width
    leavesOutPictures =
      !hasPictures && (wantsOverlay || wantsProbabilities || wantsUncertainty)
    let names = wantsProbabilities ? Self.fileNames(classes.names) : []
    let maskPath = base + (source.format == .tiff ? ".tif" : ".png")
    let (overlayPath, probabilityPaths, uncertaintyPaths) = (
      base + "-overlay.png", names.map { "\(base)-probability-\($0)" },
      wantsUncertainty ? ["\(base)-uncertainty"] : []
    )
    (self.overlayPath, self.probabilityPaths, self.uncertaintyPaths) = (
      overlayPath, probabilityPaths, uncertaintyPaths
    )
    try claim(maskPath)
    for path in probabilityPaths + uncertaintyPaths {
      try claim(path + ".tif")
      if hasPictures { try claim(path + ".png") }
    }
    if hasPictures, wantsOverlay { try claim(overlayPath) }
    mask = try RowWriter(
      path: maskPath, width: width, height: height,
      channels: 1, sampleType: classes.fitsBytes ? .uint8 : .uint16)
    func writer(_ path: String) throws -> RowWriter {
      try RowWriter(
        path: path + ".tif", width: width, height: height, channels: 1, sampleType: .float32)
    }
    probabilities = try probabilityPaths.map(writer)
    uncertainty = try uncertaintyPaths.map(writer).first
    self.wantsOverlay = wantsOverlay && hasPictures
    if hasPictures, wantsOverlay || wantsProbabilities || wantsUncertainty {
      image = SampleImage(
        width: width, height: height, channels: source.channels, sampleType: source.sampleType,
        samples: [Float](repeating: 0, count: width * height * source.channels))
      maps = wantsProbabilities ? classes.names.map { _ in [] } : []
    }
  }

  /// The classes' names as parts of files' names. Of those that would be the same, as `a/b` and
  /// `a b`, the later ones end in the place of their class: `a_b`, `a_b_2`. Some file systems do not
  /// tell capital letters from small ones.
  private static func fileNames(_ names: [String]) -> [String] {
    var taken: Set<String> = []
    return names.enumerated().map { place, name in
      var result = String(
        name.map { $0.isLetter || $0.isNumber || $0 == "-" || $0 == "_" ? $0 : "_" })
      while !taken.insert(result.lowercased()).inserted { result += "_\(place + 1)" }
      return result
    }
  }

  /// Takes in rows of the image, as read.
  package func keep(_ samples: [Float], rows: Range<Int>) throws {
    guard let channels = image?.channels else { return }
    let length = width * channels
    image?.samples.replaceSubrange(
      rows.lowerBound * length..<rows.upperBound * length, with: samples)
  }

  package func write(_ band: PredictedRows) throws {
    let values = classes.values(of: band.labels)
    if classes.fitsBytes {
      try mask.write(values.map { UInt8($0) })
    } else {
      try mask.write(values)
    }
    let count = classes.count
    for (c, writer) in probabilities.enumerated() {
      let map = stride(from: c, to: band.probabilities.count, by: count).map {
        band.probabilities[$0]
      }
      try writer.write(map)
      if image != nil { maps[c] += map }
    }
    if let uncertainty {
      let entropy = Self.entropy(band.probabilities, classes: count)
      try uncertainty.write(entropy)
      if image != nil { self.entropy += entropy }
    }
    if image != nil { labels += band.labels }
  }

  /// -sum p ln p / ln C of each pixel: 0 where one class is certain, 1 where all are alike.
  private static func entropy(_ probabilities: [Float], classes: Int) -> [Float] {
    let scale = 1 / log(Float(classes))
    return (0..<probabilities.count / classes).map { pixel in
      var sum: Float = 0
      for c in 0..<classes {
        let p = probabilities[pixel * classes + c]
        if p > 0 { sum -= p * log(p) }
      }
      return min(1, max(0, sum * scale))
    }
  }

  /// Gives the files their names, and draws the pictures. The mask comes last: where it is there, all
  /// is.
  package func commit() throws {
    try drawPictures()
    for writer in probabilities { try writer.commit() }
    try uncertainty?.commit()
    try mask.commit()
  }

  private func drawPictures() throws {
    guard let image else { return }
    if wantsOverlay {
      try ImageFile.writePNG(
        SegmentationPicture.overlay(
          image, labels: labels, names: classes.names, normalisation: normalisation),
        to: overlayPath)
    }
    for ((name, path), map) in zip(zip(classes.names, probabilityPaths), maps) {
      try ImageFile.writePNG(
        SegmentationPicture.map(
          map, width: width, height: height, title: "probability of \(name)"),
        to: path + ".png")
    }
    for path in uncertaintyPaths {
      try ImageFile.writePNG(
        SegmentationPicture.map(entropy, width: width, height: height, title: "uncertainty"),
        to: path + ".png")
    }
  }
}
