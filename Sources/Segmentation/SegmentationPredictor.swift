import Compute
import Imaging
import Networks

/// What a model says of each pixel of an image.
package struct Prediction: Sendable {
  package let width, height: Int
  package let classes: Int
  /// `[height, width, classes]`
  package var probabilities: [Float]

  package init(width: Int, height: Int, classes: Int, probabilities: [Float]) {
    precondition(probabilities.count == width * height * classes, "a probability for each class")
    (self.width, self.height, self.classes) = (width, height, classes)
    self.probabilities = probabilities
  }

  /// The most probable class of each pixel; of equals the first.
  package var labels: [UInt8] { Prediction.labels(of: probabilities, classes: classes) }

  static func labels(of probabilities: [Float], classes: Int) -> [UInt8] {
    let count = probabilities.count / classes
    return [UInt8](unsafeUninitializedCapacity: count) { target, initialized in
      probabilities.withUnsafeBufferPointer { probabilities in
        for pixel in 0..<count {
          var best = 0
          for c in 1..<classes
          where probabilities[pixel * classes + c] > probabilities[pixel * classes + best] {
            best = c
          }
          target[pixel] = UInt8(best)
        }
      }
      initialized = count
    }
  }
}

/// Rows of a prediction, from the top of an image to its bottom.
package struct PredictedRows: Sendable {
  package let rows: Range<Int>
  /// `[rows, width, classes]`
  package let probabilities: [Float]
  /// `[rows, width]`: the most probable class.
  package let labels: [UInt8]
}

/// Segments images of any size with a trained model: in tiles, whose results are to the bit those of
/// the whole image at once.
///
/// Not for use by two threads at once.
package final class SegmentationPredictor<B: Backend> {
  package let model: SegmenterModel
  private let backend: B
  private let network: FoldedNetwork<B>
  private let settings: PredictionSettings
  /// The memory that workspaces of all sizes share, and those laid out in it.
  private var memory: B.Floats?
  private var workspaces: [WorkspaceKind: ConvolutionalWorkspace<B>] = [:]
  /// What measures an image's own statistics, once one is to be.
  private var measuring: ConvolutionalNetwork<B>?

  private struct WorkspaceKind: Hashable {
    let purpose: ConvolutionalWorkspace<B>.Purpose
    let height, width: Int
  }

  package init(
    _ model: SegmenterModel, settings: PredictionSettings = PredictionSettings(), on backend: B
  ) throws {
    self.model = model
    self.backend = backend
    self.settings = settings
    network = try model.folded(on: backend)
  }

  private var classes: Int { model.network.outputs }

  /// How far the statistics of normalisation come towards each image's own.
  private var adaptation: Float {
    settings.adaptation ?? model.description.segmenting.adaptation
  }

  /// Where the statistics of an image are measured; nil where the model does not adapt to images.
  private func crops(width: Int, height: Int) -> AdaptationCrops? {
    guard adaptation > 0 else { return nil }
    return AdaptationCrops(
      width: width, height: height, side: model.description.training.cropSize,
      alignment: model.network.alignment)
  }

  /// How an image of this size is cut.
  package func plan(width: Int, height: Int) throws -> TilePlan {
    try settings.plan(
      width: width, height: height, network: model.network,
      crops: crops(width: width, height: height))
  }

  /// The whole of an image that is in memory.
  ///
  /// - Parameter image: as read, not normalised.
  package func predict(_ image: SampleImage) throws -> Prediction {
    let rowLength = image.width * image.channels
    var probabilities: [Float] = []
    probabilities.reserveCapacity(image.width * image.height * classes)
    try predict(width: image.width, height: image.height) { rows in
      Array(image.samples[rows.lowerBound * rowLength..<rows.upperBound * rowLength])
    } consume: {
      probabilities += $0.probabilities
    }
    return Prediction(
      width: image.width, height: image.height, classes: classes, probabilities: probabilities)
  }

  /// The mean of what the model says of an image that is in memory at full resolution and at others.
  ///
  /// - Parameters:
  ///   - image: as read, not normalised.
  ///   - scales: the other resolutions, as shares of the full one.
  func predict(_ image: SampleImage, scales: [Double]) throws -> Prediction {
    var prediction = try predict(image)
    for scale in scales {
      let (width, height) = (image.width, image.height)
      let small = image.resized(by: scale)
      let seen = try predict(small)
      let result = Resampling.resize(
        seen.probabilities, height: small.height, width: small.width, channels: classes,
        toHeight: height, toWidth: width)
      for i in result.indices { prediction.probabilities[i] += result[i] }
    }
    let share = 1 / Float(1 + scales.count)
    for i in prediction.probabilities.indices { prediction.probabilities[i] *= share }
    return prediction
  }

  /// An image read and written by rows.
  ///
  /// - Parameters:
  ///   - read: the samples of some rows, not normalised; ranges follow each other from the top to
  ///     the bottom and overlap. Where the model adapts to images, this is done twice, at first
  ///     with rows in between left out.
  ///   - consume: receives the results from the top to the bottom, each row once.
  package func predict(
    width: Int, height: Int, read: (Range<Int>) throws -> [Float],
    consume: (PredictedRows) throws -> Void
  ) throws {
    let plan = try plan(width: width, height: height)
    let channels = model.network.inputs
    if let crops = crops(width: width, height: height) {
      try adapt(to: crops, plan: plan, read: read)
    }
    for band in plan.bands {
      var samples = try read(band.imageRows)
      precondition(samples.count == band.imageRows.count * width * channels, "rows of another size")
      samples.withUnsafeMutableBufferPointer { model.description.normalisation.apply(to: $0) }
      var result = [Float](repeating: 0, count: band.rows.count * width * classes)
      for tile in band.tiles {
        var source = [Float](
          repeating: 0, count: tile.source.width * tile.source.height * channels)
        samples.withUnsafeBufferPointer { rows in
          source.withUnsafeMutableBufferPointer {
            plan.copySource(
              of: tile, from: rows, firstRow: band.imageRows.lowerBound, channels: channels,
              into: $0)
          }
        }
        let probabilities = try predict(
          source, height: tile.source.height, width: tile.source.width, plan: plan)
        probabilities.withUnsafeBufferPointer { probabilities in
          result.withUnsafeMutableBufferPointer {
            plan.copyCore(
              of: tile, from: probabilities, channels: classes, into: $0,
              firstRow: band.rows.lowerBound)
          }
        }
      }
      try consume(
        PredictedRows(
          rows: band.rows, probabilities: result,
          labels: Prediction.labels(of: result, classes: classes)))
    }
  }

  /// Brings the network's statistics of normalisation nearer to an image's own.
  ///
  /// Each of the K crops is normalised by its own mean and variance, as batches are in training. With
  /// s those of the training and s_k the crops', the image is predicted by
  ///
  ///     (1 - a) s + a (s_1 + ... + s_K) / K
  ///
  /// a being the adaptation (Schneider et al. 2020, "Improving robustness against common corruptions
  /// by covariate shift adaptation").
  private func adapt(
    to crops: AdaptationCrops, plan: TilePlan, read: (Range<Int>) throws -> [Float]
  ) throws {
    let network =
      try measuring
      ?? ConvolutionalNetwork(
        model.network, parameters: model.parameters, statistics: model.statistics, on: backend)
    measuring = network
    try backend.upload(model.statistics, into: network.statistics)
    let workspace = try workspace(
      .measuring, height: crops.cropHeight, width: crops.cropWidth, plan: plan)
    let share = adaptation / Float(crops.count)
    var measured: Float = 0
    for row in crops.rows {
      var samples = try read(crops.imageRows(row))
      samples.withUnsafeMutableBufferPointer { model.description.normalisation.apply(to: $0) }
      for column in crops.columns {
        let crop = crops.crop(
          column: column, from: samples, row: row, channels: model.network.inputs)
        try backend.upload(crop, into: workspace.input.tensor)
        // So that in the end each crop has the same share.
        measured += 1
        try network.forward(
          workspace, momentum: share / (1 - adaptation + share * measured), step: nil)
      }
    }
    try self.network.adopt(statistics: try backend.download(network.statistics))
  }

  /// The mean of the probabilities of one tile over its views.
  private func predict(
    _ source: [Float], height: Int, width: Int, plan: TilePlan
  ) throws -> [Float] {
    let views = TileSymmetry.views(settings.views)
    guard views.count > 1 else {
      return try forward(source, height: height, width: width, plan: plan)
    }
    var sum = [Float](repeating: 0, count: height * width * classes)
    for symmetry in views {
      let turned = symmetry.apply(
        source, height: height, width: width, channels: model.network.inputs)
      let (h, w) = symmetry.transposes ? (width, height) : (height, width)
      let result = symmetry.undo(
        try forward(turned, height: h, width: w, plan: plan), height: height, width: width,
        channels: classes)
      for i in sum.indices { sum[i] += result[i] }
    }
    let share = 1 / Float(views.count)
    return sum.map { $0 * share }
  }

  private func forward(
    _ source: [Float], height: Int, width: Int, plan: TilePlan
  ) throws -> [Float] {
    let workspace = try workspace(.use, height: height, width: width, plan: plan)
    try backend.upload(source, into: workspace.input.tensor)
    try network.forward(workspace)
    let output = workspace.output.matrix
    try backend.softmax(output, into: output)
    return try backend.download(output)
  }

  private func workspace(
    _ purpose: ConvolutionalWorkspace<B>.Purpose, height: Int, width: Int, plan: TilePlan
  ) throws -> ConvolutionalWorkspace<B> {
    let kind = WorkspaceKind(purpose: purpose, height: height, width: width)
    if let known = workspaces[kind] { return known }
    let needed = ConvolutionalMemory.elementCount(
      model.network, batch: 1, height: height, width: width)
    if needed > memory?.count ?? 0 {
      // At once what the largest tile takes besides.
      let sides = plan.bands.flatMap(\.tiles).map {
        ConvolutionalMemory.elementCount(
          model.network, batch: 1, height: $0.source.height, width: $0.source.width)
      }
      workspaces = [:]
      memory = nil
      memory = try backend.allocate([max(needed, sides.max() ?? 0)], of: Float.self)
    }
    let workspace = try ConvolutionalWorkspace(
      model.network, batch: 1, height: height, width: width, purpose: purpose, memory: memory,
      on: backend)
    workspaces[kind] = workspace
    return workspace
  }
}

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

  package static let standardMemoryLimit = 700 << 20

  package init(
    tileSize: Int? = nil, memoryLimit: Int = standardMemoryLimit, views: PredictionViews = .one,
    adaptation: Float? = nil
  ) {
    self.tileSize = tileSize
    self.memoryLimit = memoryLimit
    self.views = views
    self.adaptation = adaptation
  }

  private static let tileSizes = [4096, 2048, 1536, 1024, 768, 512, 384, 256, 192, 128, 96, 64, 32]

  /// - Parameter crops: what is measured of the image before.
  /// - Throws: `SegmentationError` where not even the smallest tile fits the memory.
  func plan(
    width: Int, height: Int, network: ConvolutionalConfiguration, crops: AdaptationCrops?
  ) throws(SegmentationError) -> TilePlan {
    let halo = network.reach
    func plan(_ size: Int) -> TilePlan {
      TilePlan(
        width: width, height: height, tileSize: size, halo: halo, alignment: network.alignment)
    }
    if let tileSize { return plan(tileSize) }
    for size in [max(width, height)] + Self.tileSizes.filter({ $0 < max(width, height) })
    where bytes(side: min(size, max(width, height)), width, height, network, crops)
      <= memoryLimit
    {
      return plan(size)
    }
    let least = bytes(side: Self.tileSizes.last ?? 32, width, height, network, crops)
    throw SegmentationError(
      "--max-memory \(memoryLimit >> 20) MB: an image \(width) pixels wide takes "
        + "\((least >> 20) + 1) MB in the smallest tiles")
  }

  /// What tiles of a side take, with their halo, and the rows of the image and of the result; or
  /// what measuring takes before, where that is more.
  private func bytes(
    side: Int, _ width: Int, _ height: Int, _ network: ConvolutionalConfiguration,
    _ crops: AdaptationCrops?
  ) -> Int {
    let alignment = network.alignment
    func reaching(_ length: Int) -> Int {
      let padded = (length + alignment - 1) / alignment * alignment
      return min(padded, (side + 2 * network.reach + 6 * alignment) / alignment * alignment)
    }
    func memory(_ h: Int, _ w: Int, rows: Int) -> Int {
      let perPixel = 4 * (network.inputs + network.outputs) + 1
      let elements = ConvolutionalMemory.elementCount(network, batch: 1, height: h, width: w)
      return 4 * elements + h * w * perPixel * 2 + rows * width * perPixel
    }
    let h = reaching(height)
    let tiles = memory(h, reaching(width), rows: h + min(side, height))
    guard let crops else { return tiles }
    return max(tiles, memory(crops.cropHeight, crops.cropWidth, rows: crops.cropHeight))
  }
}

/// In how many of its eight turns and mirror images an image is looked at. Each is a group, so that
/// what is said of an image so turned is what is said of the image, turned.
package enum PredictionViews: Int, CaseIterable, Sendable {
  /// As it is.
  case one = 1
  /// Mirrored left to right as well.
  case two = 2
  /// Mirrored both ways, singly and together.
  case four = 4
  case eight = 8
}

/// What keeps a segmentation from being done, in one line.
package struct SegmentationError: Error, CustomStringConvertible {
  package let description: String

  package init(_ description: String) { self.description = description }
}

/// One of the eight ways to lay a rectangle on itself or on its transpose.
struct TileSymmetry {
  let transposes, mirrorsRows, mirrorsColumns: Bool

  static func views(_ views: PredictionViews) -> [TileSymmetry] {
    (0..<views.rawValue).map {
      TileSymmetry(transposes: $0 & 4 != 0, mirrorsRows: $0 & 2 != 0, mirrorsColumns: $0 & 1 != 0)
    }
  }

  /// From `[height, width, channels]`; with a transposition the result has `width` rows.
  func apply(_ values: [Float], height: Int, width: Int, channels: Int) -> [Float] {
    move(values, height: height, width: width, channels: channels, undoes: false)
  }

  /// The way back: to `[height, width, channels]`.
  func undo(_ values: [Float], height: Int, width: Int, channels: Int) -> [Float] {
    move(values, height: height, width: width, channels: channels, undoes: true)
  }

  private func move(
    _ values: [Float], height: Int, width: Int, channels: Int, undoes: Bool
  ) -> [Float] {
    [Float](unsafeUninitializedCapacity: values.count) { target, initialized in
      values.withUnsafeBufferPointer { values in
        for y in 0..<height {
          let row = mirrorsRows ? height - 1 - y : y
          for x in 0..<width {
            let column = mirrorsColumns ? width - 1 - x : x
            let plain = (y * width + x) * channels
            let turned = (transposes ? column * height + row : row * width + column) * channels
            for c in 0..<channels {
              if undoes {
                target[plain + c] = values[turned + c]
              } else {
                target[turned + c] = values[plain + c]
              }
            }
          }
        }
      }
      initialized = values.count
    }
  }
}
