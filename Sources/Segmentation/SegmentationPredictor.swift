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

  private var outlines: BrightnessOutlines? { settings.outlines(of: model) }

  private var adaptation: Float { settings.adaptation(of: model) }

  /// Where the statistics of an image are measured; nil where the model does not adapt to images.
  private func crops(width: Int, height: Int) -> AdaptationCrops? {
    guard adaptation > 0 else { return nil }
    return AdaptationCrops(
      width: width, height: height, side: model.description.training.cropSize,
      alignment: model.network.alignment)
  }

  /// How an image of this size is cut.
  package func plan(width: Int, height: Int) throws -> TilePlan {
    var free = backend.freeMemory
    // What other tiles took goes back.
    let (sum, overflow) = free.total.addingReportingOverflow(memory?.byteCount ?? 0)
    free.total = overflow ? .max : sum
    return try settings.plan(
      width: width, height: height, network: model.network,
      crops: crops(width: width, height: height), margin: outlines?.reach ?? 0, free: free)
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
        let source = crop(
          tile.source, from: samples, firstRow: band.imageRows.lowerBound, plan)
        var probabilities = try predict(
          source, height: tile.source.height, width: tile.source.width, plan: plan)
        outlines?.apply(
          to: &probabilities, samples: source, channels: channels, width: tile.source.width,
          height: tile.source.height,
          inside: (
            min(tile.source.width, width - tile.source.x),
            min(tile.source.height, height - tile.source.y)
          ))
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
      var samples = try read(row..<min(plan.height, row + crops.cropHeight))
      samples.withUnsafeMutableBufferPointer { model.description.normalisation.apply(to: $0) }
      for column in crops.columns {
        let place = TilePlan.Rectangle(
          x: column, y: row, width: crops.cropWidth, height: crops.cropHeight)
        try backend.upload(
          crop(place, from: samples, firstRow: row, plan), into: workspace.input.tensor)
        // So that in the end each crop has the same share.
        measured += 1
        try network.forward(
          workspace, momentum: share / (1 - adaptation + share * measured), step: nil)
      }
    }
    try self.network.adopt(statistics: try backend.download(network.statistics))
  }

  /// A part of the padded image, from the image's rows from `firstRow` on.
  private func crop(
    _ place: TilePlan.Rectangle, from rows: [Float], firstRow: Int, _ plan: TilePlan
  ) -> [Float] {
    let channels = model.network.inputs
    var result = [Float](repeating: 0, count: place.width * place.height * channels)
    rows.withUnsafeBufferPointer { rows in
      result.withUnsafeMutableBufferPointer {
        plan.copySource(place, from: rows, firstRow: firstRow, channels: channels, into: $0)
      }
    }
    return result
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
    let probabilities = try backend.download(output)
    // The last step's loss is from before its update, which may have overflowed.
    guard probabilities.allSatisfy(\.isFinite) else {
      throw SegmentationError(
        "what the model says of the image is no finite number: its training diverged (a smaller "
          + "--learning-rate may help), or the image's values are beyond all measure")
    }
    return probabilities
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
