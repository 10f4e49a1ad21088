import Compute
import Datasets
import Networks

extension Evaluator {
  /// Encodes the set and gathers what its codes say.
  package func codeStatistics(
    of images: ImageSet, normalisation: Normalisation, latents: Int, exciterLimit: Int = 12,
    progress: (_ done: Int, _ total: Int) -> Void = { _, _ in }
  ) throws -> CodeStatistics {
    var statistics = CodeStatistics(latents: latents, exciterLimit: exciterLimit)
    try forEachBatch(of: images, normalisation: normalisation) { rows, batch in
      statistics.add(try download(batch.code))
      progress(rows.upperBound, images.count)
    }
    return statistics
  }

  /// The codes of every `stride`-th image of a set that has labels.
  private func labelledCodes(
    of images: ImageSet, labels: [UInt8], normalisation: Normalisation, latents: Int, stride: Int,
    progress: (_ done: Int, _ total: Int) -> Void
  ) throws -> LabelledCodes {
    var codes = LabelledCodes(latents: latents)
    try forEachBatch(of: images, normalisation: normalisation) { rows, batch in
      let values = try download(batch.code)
      for row in rows where row % stride == 0 {
        let start = (row - rows.lowerBound) * latents
        codes.add(values[start..<start + latents], label: labels[row])
      }
      progress(rows.upperBound, images.count)
    }
    return codes
  }

  /// Fits a linear probe to the codes of the training part and scores it on the test part.
  ///
  /// - Parameters:
  ///   - l0: about how many entries of a code are not zero, to see beforehand whether all training
  ///     images are too many.
  ///   - progress: with what is being done.
  /// - Returns: nil where a part has no labels.
  package func probe(
    _ dataset: Dataset, normalisation: Normalisation, latents: Int, l0: Double,
    progress: (_ what: String, _ done: Int, _ total: Int) -> Void = { _, _, _ in }
  ) throws -> ProbeReport? {
    guard let trainLabels = dataset.train.labels, let testLabels = dataset.test.labels else {
      return nil
    }
    let entries = l0 * Double(dataset.train.count)
    let stride = max(1, Int((entries / Double(ProbeReport.entryLimit)).rounded(.up)))
    let codes = try labelledCodes(
      of: dataset.train, labels: trainLabels, normalisation: normalisation, latents: latents,
      stride: stride
    ) { progress("encoding the training part", $0, $1) }
    let probe = LinearProbe(training: codes) { progress("fitting the linear probe", $0, $1) }
    var right = 0
    try forEachBatch(of: dataset.test, normalisation: normalisation) { rows, batch in
      var codes = LabelledCodes(latents: latents)
      let values = try download(batch.code)
      for (index, row) in rows.enumerated() {
        codes.add(values[index * latents..<(index + 1) * latents], label: testLabels[row])
      }
      right += probe.hits(on: codes)
      progress("scoring the linear probe", rows.upperBound, dataset.test.count)
    }
    return ProbeReport(
      classes: probe.classes, trainingImages: codes.count,
      trainingImagesInAll: dataset.train.count, testImages: dataset.test.count,
      accuracy: Double(right) / Double(dataset.test.count),
      trainingAccuracy: Double(probe.hits(on: codes)) / Double(codes.count),
      majorityAccuracy: LinearProbe.majorityAccuracy(training: trainLabels, on: testLabels))
  }
}

/// How well a linear probe reads labels from codes.
package struct ProbeReport: Equatable, Sendable {
  /// More entries other than zero are not learnt from: every n-th training image is taken.
  package static let entryLimit = 1 << 24

  package let classes: Int
  /// Training images that were learnt from, and how many there are.
  package let trainingImages, trainingImagesInAll: Int
  package let testImages: Int
  /// The share of labels predicted, on the test part and on the training images.
  package let accuracy, trainingAccuracy: Double
  /// What always naming the most frequent training label would get on the test part.
  package let majorityAccuracy: Double
}
