import Compute
import Networks

/// How images are cut and looked at.
package struct PredictionSettings: Sendable {
  /// The side of a tile without its halo; by the memory when nil.
  package var tileSize: Int?
  /// What tiles and rows may take together, in bytes.
  package var memoryLimit: Int
  /// How many views of each tile there are, whose mean is taken.
  package var views: PredictionViews
  /// How far the statistics of normalisation come towards each image's own, from 0 to 1; as the
  /// model was trained when nil.
  package var adaptation: Float?
  /// The weight of the brightness in placing outlines; as the model was trained when nil.
  package var outlineWeight: Float?

  package static let standardMemoryLimit = 700 << 20

  package init(
    tileSize: Int? = nil, memoryLimit: Int = standardMemoryLimit, views: PredictionViews = .one,
    adaptation: Float? = nil, outlineWeight: Float? = nil
  ) {
    self.tileSize = tileSize
    self.memoryLimit = memoryLimit
    self.views = views
    self.adaptation = adaptation
    self.outlineWeight = outlineWeight
  }

  /// How far predictions by a model adapt to an image.
  package func adaptation(of model: SegmenterModel) -> Float {
    adaptation ?? model.description.segmenting.adaptation
  }

  /// How the brightness places outlines in predictions by a model; not at all when nil.
  package func outlines(of model: SegmenterModel) -> BrightnessOutlines? {
    guard var outlines = model.description.segmenting.outlines else { return nil }
    outlines.weight = outlineWeight ?? outlines.weight
    return outlines.weight > 0 ? outlines : nil
  }

  private static let tileSizes = [4096, 2048, 1536, 1024, 768, 512, 384, 256, 192, 128, 96, 64, 32]

  /// What is taken while tiles of some side are predicted, in bytes.
  private struct Need {
    /// By the largest tile's maps, in one piece on the device; and by all, with the rows of the image
    /// and of the result.
    var maps, all: Int
  }

  /// - Parameters:
  ///   - crops: what is measured of the image before.
  ///   - margin: how far around a pixel the network's results are needed.
  ///   - free: what the device still has.
  /// - Throws: `SegmentationError` where not even the smallest tile fits the memory, or the given
  ///   ones do not fit the device's.
  package func plan(
    width: Int, height: Int, network: ConvolutionalConfiguration, crops: AdaptationCrops?,
    margin: Int, free: FreeMemory = .unlimited
  ) throws(SegmentationError) -> TilePlan {
    let halo = network.reach + margin
    func plan(_ size: Int) -> TilePlan {
      TilePlan(
        width: width, height: height, tileSize: size, halo: halo, alignment: network.alignment,
        areTurned: views != .one)
    }
    func need(_ size: Int) -> Need {
      memory(side: min(size, max(width, height)), width, height, network, crops, margin)
    }
    let most = min(free.largest, free.total)
    if let tileSize {
      let maps = need(tileSize).maps
      guard maps <= most else {
        throw SegmentationError(
          "--tile \(tileSize): its maps take \(maps >> 20) MiB, but the device has "
            + "\(most >> 20) MiB for them; without --tile tiles are made to fit")
      }
      return plan(tileSize)
    }
    for size in [max(width, height)] + Self.tileSizes.filter({ $0 < max(width, height) }) {
      let need = need(size)
      if need.all <= memoryLimit, need.maps <= most { return plan(size) }
    }
    let least = need(Self.tileSizes.last ?? 32)
    throw SegmentationError(
      least.all > memoryLimit
        ? "--max-memory \(memoryLimit >> 20) MiB: an image \(width) pixels wide takes "
          + "\((least.all >> 20) + 1) MiB in the smallest tiles"
        : "out of device memory: the maps of the smallest tiles take \((least.maps >> 20) + 1) MiB, "
          + "but the device has \(most >> 20) MiB left for them")
  }

  /// What tiles of a side take, with their halo; or what measuring takes before, where that is more.
  private func memory(
    side: Int, _ width: Int, _ height: Int, _ network: ConvolutionalConfiguration,
    _ crops: AdaptationCrops?, _ margin: Int
  ) -> Need {
    let alignment = network.alignment
    func reaching(_ length: Int) -> Int {
      let padded = (length + alignment - 1) / alignment * alignment
      return min(
        padded, (side + 2 * (network.reach + margin) + 6 * alignment) / alignment * alignment)
    }
    func need(_ h: Int, _ w: Int, rows: Int) -> Need {
      let perPixel = 4 * (network.inputs + network.outputs) + 1
      let maps = 4 * ConvolutionalMemory.elementCount(network, batch: 1, height: h, width: w)
      return Need(maps: maps, all: maps + h * w * perPixel * 2 + rows * width * perPixel)
    }
    let h = reaching(height)
    var tiles = need(h, reaching(width), rows: h + min(side, height))
    // Placing outlines takes the brightness, classes and their windows' sums and means.
    tiles.all += margin > 0 ? 48 * h * reaching(width) : 0
    guard let crops else { return tiles }
    let measuring = need(crops.cropHeight, crops.cropWidth, rows: crops.cropHeight)
    return Need(maps: max(tiles.maps, measuring.maps), all: max(tiles.all, measuring.all))
  }
}

/// In how many of its eight turns and mirror images an image is looked at. Each is a group, so that
/// what is said of an image so turned is what is said of the image, turned, where the image's sides
/// are multiples of twice the network's alignment; others are padded, always at the right and at the
/// bottom.
package enum PredictionViews: Int, CaseIterable, Sendable {
  /// As it is.
  case one = 1
  /// Mirrored left to right as well.
  case two = 2
  /// Mirrored both ways, singly and together.
  case four = 4
  case eight = 8
}
