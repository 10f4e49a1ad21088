import Compute
import Datasets
import Networks

/// The figures of a model over a whole set.
package struct EvaluationReport: Codable, Sendable {
  package let images: Int
  /// Mean over images and pixels of (x - xhat)^2.
  package let mse: Double
  /// Fraction of variance unexplained:
  /// sum ||x - xhat||^2 / sum ||x - mean(x)||^2, with the mean of this set. 1 for a model that
  /// predicts the mean, 0 for a perfect one; infinite or NaN where the set has no variance.
  package let fvu: Double
  /// Mean number of non-zero code entries of an image.
  package let l0: Double
  /// Latents that are zero for every image of the set.
  package let dead: Int
  package let latents: Int
  /// How often each latent is non-zero, in order.
  package let firings: [UInt32]
}

package enum Metrics {
  /// sum over images of ||x - mean(x)||^2, in the units of the normalised input; exact until the
  /// final division, since the pixels are integers.
  package static func totalVariation(of images: ImageSet, normalisation: Normalisation) -> Double {
    let width = images.featureCount
    var sums = [UInt64](repeating: 0, count: width)
    var squares = sums
    images.pixels.withUnsafeBufferPointer { pixels in
      for i in 0..<images.count {
        for j in 0..<width {
          let value = UInt64(pixels[i * width + j])
          sums[j] &+= value
          squares[j] &+= value &* value
        }
      }
    }
    let count = Double(images.count)
    // N sum(x^2) - (sum x)^2 is a whole number below 2^64 for sets of up to 2^24 images.
    let total = zip(sums, squares).reduce(0.0) { total, column in
      let (sum, square) = (Double(column.0), Double(column.1))
      return total + (square - sum * (sum / count))
    }
    return total * Double(normalisation.scale) * Double(normalisation.scale)
  }

  /// sum ||x - xhat||^2 / sum ||x - mean(x)||^2
  package static func fvu(squaredError: Double, totalVariation: Double) -> Double {
    squaredError / totalVariation
  }
}

/// Runs a network over sets without training it.
package final class Evaluator<B: Backend> {
  private let network: Autoencoder<B>
  private let backend: B
  private let workspace: Workspace<B>

  package init(_ network: Autoencoder<B>, batchSize: Int = 256) throws {
    self.network = network
    backend = network.backend
    workspace = try Workspace(
      network.configuration, batch: batchSize, arithmetic: network.configuration.fasterArithmetic,
      on: backend)
  }

  package func download(_ tensor: B.Floats) throws -> [Float] { try backend.download(tensor) }

  /// The batch's reconstructions in the units of the normalised input, where that is centred too:
  /// `[batch, inputs]`.
  package func reconstruction(of batch: Workspace<B>) throws -> [Float] {
    let values = try backend.download(batch.reconstruction)
    guard let inputMean = network.inputMean else { return values }
    let mean = try backend.download(inputMean)
    return values.indices.map { values[$0] + mean[$0 % mean.count] }
  }

  /// Calls `body` for consecutive batches of the set after the forward pass.
  package func forEachBatch(
    of images: ImageSet, normalisation: Normalisation,
    _ body: (_ rows: Range<Int>, _ workspace: Workspace<B>) throws -> Void
  ) throws {
    guard images.featureCount == network.configuration.inputs else {
      throw TrainingError.unsuitableData(
        "the images have \(images.width)x\(images.height)x\(images.channels) = "
          + "\(images.featureCount) values, the model takes \(network.configuration.inputs)")
    }
    let resident = try ResidentImages(
      images, normalisation: normalisation, mean: network.inputMean, on: backend)
    let order = try backend.allocate([images.count], of: UInt32.self)
    try resident.upload(Array(0..<UInt32(images.count)), into: order, on: backend)
    for start in stride(from: 0, to: images.count, by: workspace.batch) {
      let rows = start..<min(start + workspace.batch, images.count)
      let batch = workspace.prefix(rows.count)
      try resident.gather(
        order: order, start: start, into: batch.input, on: backend)
      try network.forward(batch)
      try body(rows, batch)
    }
  }

  package func evaluate(
    _ images: ImageSet, normalisation: Normalisation
  ) throws -> EvaluationReport {
    let latents = network.configuration.latents
    let rowError = try backend.allocate([images.count], of: Float.self)
    let rowL0 = try backend.allocate([images.count], of: Float.self)
    let firings = try backend.allocate([latents], of: UInt32.self)
    try backend.upload([UInt32](repeating: 0, count: latents), into: firings)
    try forEachBatch(of: images, normalisation: normalisation) { rows, batch in
      try backend.reconstructionLoss(
        reconstruction: batch.reconstruction, target: batch.input,
        activation: network.configuration.outputActivation, code: batch.code, scale: 1,
        gradient: batch.outputGradient, rowError: rowError.rows(rows), rowL0: rowL0.rows(rows))
      try backend.countNonzero(batch.code, accumulatingInto: firings)
    }
    let squaredError = try backend.download(rowError).reduce(0.0) { $0 + Double($1) }
    let active = try backend.download(rowL0).reduce(0.0) { $0 + Double($1) }
    let counts = try backend.download(firings)
    let count = Double(images.count)
    return EvaluationReport(
      images: images.count, mse: squaredError / count / Double(images.featureCount),
      fvu: Metrics.fvu(
        squaredError: squaredError,
        totalVariation: Metrics.totalVariation(of: images, normalisation: normalisation)),
      l0: active / count, dead: counts.count { $0 == 0 }, latents: latents, firings: counts)
  }
}
