import Foundation
import RandomNumbers

/// Codes by their entries other than zero, and the label of each.
package struct LabelledCodes: Sendable {
  package let latents: Int
  /// Row i's entries are those from `starts[i]` up to `starts[i + 1]`.
  private(set) var starts: [Int] = [0]
  private(set) var columns: [UInt32] = []
  private(set) var values: [Float] = []
  package private(set) var labels: [UInt8] = []

  package init(latents: Int) { self.latents = latents }

  package var count: Int { labels.count }

  /// Adds one image's code.
  package mutating func add(_ code: some Collection<Float>, label: UInt8) {
    precondition(code.count == latents, "a code of \(latents) latents")
    for (column, value) in code.enumerated() where value != 0 {
      columns.append(UInt32(column))
      values.append(value)
    }
    starts.append(values.count)
    labels.append(label)
  }
}

/// A linear probe: multinomial logistic regression from a code to a label.
///
/// With standardised codes x_j = (z_j - mean_j) / sd_j (0 where sd_j is 0; both from the training
/// codes) it minimises
///
///     mean over i of -ln softmax(x_i W + b)_(y_i) + l2 / 2 ||W||^2
///
/// by Adam over shuffled mini-batches, the rate falling to zero. Codes stay sparse throughout: with
/// V = W / sd, x W = z V - mean V. The same codes give the same bits on one platform.
package struct LinearProbe: Equatable, Sendable {
  package let classes: Int
  private let latents: Int
  // V, rows padded to whole vectors, and what is added to z V: b - mean V.
  private let weights: [SIMD8<Float>]
  private let offset: [SIMD8<Float>]

  /// Wide codes take larger steps: each touches all weights, however sparse the codes.
  private static func batchSize(latents: Int) -> Int { latents > 4096 ? 1024 : 256 }
  private static let epochs = 20
  /// Small sets need more passes than large ones.
  private static let leastSteps = 1500

  /// Fits the probe; `classes` is one more than the largest label.
  package init(
    training codes: LabelledCodes, l2: Float = 1e-4, rate: Float = 0.1, seed: UInt64 = 1,
    progress: (_ done: Int, _ total: Int) -> Void = { _, _ in }
  ) {
    precondition(codes.count > 0, "a probe learns from codes")
    classes = Int(codes.labels.max() ?? 0) + 1
    latents = codes.latents
    let (mean, inverse) = Self.standardisation(codes)
    var fit = Fit(latents: latents, classes: classes, mean: mean, inverse: inverse, l2: l2)
    let batch = min(Self.batchSize(latents: latents), codes.count)
    let perEpoch = (codes.count + batch - 1) / batch
    let epochs = max(Self.epochs, (Self.leastSteps + perEpoch - 1) / perEpoch)
    let total = epochs * perEpoch
    var step = 0
    for epoch in 0..<epochs {
      var generator = SplitMix64(seed: seed, stream: UInt64(epoch))
      let order = generator.shuffledIndices(count: codes.count)
      for start in stride(from: 0, to: codes.count, by: batch) {
        let rows = order[start..<min(start + batch, codes.count)]
        fit.step(codes, rows: rows, rate: rate * (1 - Float(step) / Float(total)), step: step + 1)
        step += 1
        progress(step, total)
      }
    }
    weights = fit.scaledWeights
    offset = fit.offset
  }

  /// The label with the largest probability; of equals the lowest.
  package func predict(_ codes: LabelledCodes, row: Int) -> UInt8 {
    var logits = offset
    accumulateLogits(codes, row: row, weights: weights, into: &logits)
    var best = 0
    for c in 1..<max(1, classes) where value(logits, c) > value(logits, best) { best = c }
    return UInt8(best)
  }

  /// How many of the codes have their label predicted.
  package func hits(on codes: LabelledCodes) -> Int {
    precondition(codes.latents == latents, "codes of \(latents) latents")
    return (0..<codes.count).count { predict(codes, row: $0) == codes.labels[$0] }
  }

  /// The share of `labels` that always saying the most frequent one of `training` gets right: what
  /// a probe must beat.
  package static func majorityAccuracy(training: [UInt8], on labels: [UInt8]) -> Double {
    var counts = [Int](repeating: 0, count: 256)
    for label in training { counts[Int(label)] += 1 }
    let most = counts.firstIndex(of: counts.max() ?? 0) ?? 0
    return Double(labels.count { Int($0) == most }) / Double(labels.count)
  }

  /// Mean and 1 / standard deviation of each latent, 0 where it does not vary.
  private static func standardisation(_ codes: LabelledCodes) -> ([Float], [Float]) {
    var sums = [Double](repeating: 0, count: codes.latents)
    var squares = sums
    for (column, value) in zip(codes.columns, codes.values) {
      sums[Int(column)] += Double(value)
      squares[Int(column)] += Double(value) * Double(value)
    }
    let count = Double(codes.count)
    let means = sums.map { $0 / count }
    let inverses = zip(means, squares).map { mean, square -> Float in
      let variance = square / count - mean * mean
      // What is left of a constant by rounding is no variance.
      return variance > 1e-10 * square / count ? Float(1 / variance.squareRoot()) : 0
    }
    return (means.map { Float($0) }, inverses)
  }
}

/// logits += z_row V
private func accumulateLogits(
  _ codes: LabelledCodes, row: Int, weights: [SIMD8<Float>], into logits: inout [SIMD8<Float>]
) {
  let width = logits.count
  weights.withUnsafeBufferPointer { weights in
    logits.withUnsafeMutableBufferPointer { logits in
      codes.columns.withUnsafeBufferPointer { columns in
        codes.values.withUnsafeBufferPointer { values in
          for entry in codes.starts[row]..<codes.starts[row + 1] {
            let (first, value) = (Int(columns[entry]) &* width, values[entry])
            for k in 0..<width { logits[k] += value * weights[first &+ k] }
          }
        }
      }
    }
  }
}

private func value(_ vectors: [SIMD8<Float>], _ index: Int) -> Float {
  vectors[index / 8][index % 8]
}

/// The parameters W and b, their gradients and Adam's moments.
private struct Fit {
  private let latents, classes, width: Int
  private let mean, inverse: [Float]
  private let l2: Float
  // Row j < latents is W's, the last one is b; each of `width` vectors.
  private var parameters, gradients, first, second: [SIMD8<Float>]
  private(set) var scaledWeights: [SIMD8<Float>]
  private(set) var offset: [SIMD8<Float>]

  init(latents: Int, classes: Int, mean: [Float], inverse: [Float], l2: Float) {
    self.latents = latents
    self.classes = classes
    self.mean = mean
    self.inverse = inverse
    self.l2 = l2
    width = (classes + 7) / 8
    parameters = Array(repeating: .zero, count: (latents + 1) * width)
    gradients = parameters
    first = parameters
    second = parameters
    scaledWeights = Array(repeating: .zero, count: latents * width)
    offset = Array(repeating: .zero, count: width)
  }

  mutating func step(_ codes: LabelledCodes, rows: ArraySlice<UInt32>, rate: Float, step: Int) {
    for i in gradients.indices { gradients[i] = .zero }
    var logits = offset
    for row in rows {
      for k in 0..<width { logits[k] = offset[k] }
      accumulateLogits(codes, row: Int(row), weights: scaledWeights, into: &logits)
      softmaxMinusLabel(&logits, label: Int(codes.labels[Int(row)]))
      addOuterProduct(codes, row: Int(row), logits)
    }
    let (beta1, beta2, epsilon) = (Float(0.9), Float(0.999), Float(1e-8))
    let stepSize = rate / (1 - pow(beta1, Float(step)))
    let momentScale = 1 / (1 - pow(beta2, Float(step))).squareRoot()
    let share = 1 / Float(rows.count)
    for latent in 0...latents {
      for k in 0..<width {
        let i = latent * width + k
        var gradient = gradients[i]
        if latent < latents {
          // The gradient by W of z V - mean V, from those by V and by b.
          gradient = inverse[latent] * (gradient - mean[latent] * gradients[latents * width + k])
        }
        gradient *= share
        if latent < latents { gradient += l2 * parameters[i] }
        first[i] = beta1 * first[i] + (1 - beta1) * gradient
        second[i] = beta2 * second[i] + (1 - beta2) * gradient * gradient
        let root = second[i].squareRoot() * momentScale + epsilon
        parameters[i] -= stepSize * first[i] / root
      }
    }
    rescale()
  }

  /// V and b - mean V from W and b.
  private mutating func rescale() {
    for k in 0..<width { offset[k] = parameters[latents * width + k] }
    for latent in 0..<latents {
      for k in 0..<width {
        let i = latent * width + k
        scaledWeights[i] = inverse[latent] * parameters[i]
        offset[k] -= mean[latent] * scaledWeights[i]
      }
    }
  }

  /// The gradient of the loss by the logits, in their place.
  private func softmaxMinusLabel(_ logits: inout [SIMD8<Float>], label: Int) {
    var largest = -Float.infinity
    for c in 0..<classes { largest = max(largest, value(logits, c)) }
    var sum: Float = 0
    for c in 0..<classes {
      let exponential = exp(value(logits, c) - largest)
      logits[c / 8][c % 8] = exponential
      sum += exponential
    }
    for k in 0..<width { logits[k] /= sum }
    // The lanes that only fill the last vector stay without a gradient.
    for c in classes..<8 * width { logits[c / 8][c % 8] = 0 }
    logits[label / 8][label % 8] -= 1
  }

  private mutating func addOuterProduct(
    _ codes: LabelledCodes, row: Int, _ delta: [SIMD8<Float>]
  ) {
    let (width, last) = (width, latents * width)
    gradients.withUnsafeMutableBufferPointer { gradients in
      delta.withUnsafeBufferPointer { delta in
        codes.columns.withUnsafeBufferPointer { columns in
          codes.values.withUnsafeBufferPointer { values in
            for entry in codes.starts[row]..<codes.starts[row + 1] {
              let (first, value) = (Int(columns[entry]) &* width, values[entry])
              for k in 0..<width { gradients[first &+ k] += value * delta[k] }
            }
            for k in 0..<width { gradients[last &+ k] += delta[k] }
          }
        }
      }
    }
  }
}
