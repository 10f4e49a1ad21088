import Compute
import Foundation

extension Oracle {
  /// The probabilities of one position with the relative errors that they may have.
  private struct Probabilities {
    let values, relative: [Double]
    /// ln of the sum of exp(a_c - m), and its absolute error.
    let logarithm, logarithmBound: Double
    let largest: Double

    init(_ a: ArraySlice<Float>) {
      let u = unitRoundoff
      let logits = a.map(Double.init)
      let m = logits.contains { $0.isNaN } ? .nan : logits.max() ?? 0
      let powers = logits.map { exp($0 - m) }
      let sum = powers.reduce(0, +)
      // Of exp(a_c - m) the argument's rounding and 4 u.
      let errors = logits.map { u * (abs($0 - m) + 4) }
      let sumError =
        zip(powers, errors).reduce(0) { $0 + $1.0 * $1.1 } / sum + u * Double(a.count + 1)
      values = powers.map { $0 / sum }
      // OpenCL allows 2.5 ulp for a division.
      relative = errors.map { $0 + sumError + 8 * u }
      logarithm = log(sum)
      logarithmBound = sumError + 8 * u * logarithm
      largest = m
    }
  }

  package static func softmax(_ a: [Float], classes: Int) -> Expectation {
    var result = Expectation(exactly: [])
    for start in stride(from: 0, to: a.count, by: max(classes, 1)) {
      let p = Probabilities(a[start..<start + classes])
      for (value, relative) in zip(p.values, p.relative) {
        result.add(value, value * relative + tiny)
      }
    }
    return result
  }

  package static func segmentationLoss(
    _ a: [Float], labels: [UInt8], classWeights w: [Float], settings: SegmentationLoss
  ) -> (gradient: Expectation, figures: Expectation) {
    let (classes, u) = (w.count, unitRoundoff)
    let rows = labels.indices.map { Probabilities(a[$0 * classes..<($0 + 1) * classes]) }
    let labelled = labels.indices.filter { Int(labels[$0]) < classes }
    let sums = summationBound(labelled.count)

    var (weight, entropy, entropyBound) = (0.0, 0.0, 0.0)
    var (overlaps, totals) = (
      [Double](repeating: 0, count: classes), [Double](repeating: 0, count: classes)
    )
    var (overlapBounds, totalBounds) = (overlaps, overlaps)
    for i in labelled {
      let (own, row) = (Int(labels[i]), rows[i])
      let below = Double(a[i * classes + own]) - row.largest
      let term = Double(w[own]) * (row.logarithm - below)
      weight += Double(w[own])
      entropy += term
      entropyBound +=
        Double(w[own]) * (row.logarithmBound + u * (abs(below) + 2 * row.logarithm))
        + (sums + 2 * u) * abs(term)
      for c in 0..<classes {
        let (p, error) = (row.values[c], row.values[c] * (row.relative[c] + sums) + tiny)
        totals[c] += p
        totalBounds[c] += error
        guard c == own else { continue }
        overlaps[c] += p
        overlapBounds[c] += error
        totals[c] += 1
      }
    }

    let smoothing = Double(settings.smoothing)
    let share = Double(settings.diceWeight) / Double(classes)
    var (dice, diceBound) = (0.0, 0.0)
    var onLabel = Expectation(exactly: [])
    var everywhere = onLabel
    for c in 0..<classes {
      let (total, top) = (totals[c] + smoothing, 2 * overlaps[c] + smoothing)
      // Relative errors of both.
      let totalError = totalBounds[c] / total + 3 * u
      let topError = 2 * overlapBounds[c] / top + 3 * u
      let ratio = top / total
      dice += (1 - ratio) / Double(classes)
      diceBound +=
        (ratio * (totalError + topError) + 8 * u * (1 + ratio)) / Double(classes)
      onLabel.add(-2 * share / total, 2 * abs(share) / total * (totalError + 8 * u))
      everywhere.add(
        share * ratio / total, abs(share) * ratio / total * (2 * totalError + topError + 16 * u))
    }
    let crossEntropy = weight == 0 ? 0 : entropy / weight
    let crossEntropyBound =
      weight == 0 ? 0 : entropyBound / weight + crossEntropy * (sums + 6 * u) + tiny
    let figures = Expectation(
      values: [crossEntropy, dice, Double(labelled.count)],
      bounds: [crossEntropyBound, diceBound, countBound(labelled.count)])

    var gradient = Expectation(exactly: [Double](repeating: 0, count: a.count))
    for i in labelled {
      let (own, row) = (Int(labels[i]), rows[i])
      // d Dice / d p_c, its error and the size of what it is made of.
      let slopes = (0..<classes).map { c in
        (
          value: everywhere.values[c] + (c == own ? onLabel.values[c] : 0),
          bound: everywhere.bounds[c] + (c == own ? onLabel.bounds[c] : 0)
            + 2 * u * (abs(everywhere.values[c]) + (c == own ? abs(onLabel.values[c]) : 0))
        )
      }
      var (mean, meanBound) = (0.0, 0.0)
      for c in 0..<classes {
        let p = row.values[c]
        mean += p * slopes[c].value
        let size = abs(everywhere.values[c]) + (c == own ? abs(onLabel.values[c]) : 0)
        meanBound +=
          p * (slopes[c].bound + (row.relative[c] + gamma(classes + 3)) * size) + tiny * size
      }
      let strength =
        weight == 0 ? 0 : Double(settings.crossEntropyWeight) * Double(w[own]) / weight
      for c in 0..<classes {
        let p = row.values[c]
        let pBound = p * row.relative[c] + tiny
        let excess = p - (c == own ? 1 : 0)
        let level = slopes[c].value - mean
        gradient.values[i * classes + c] = p * level + strength * excess
        gradient.bounds[i * classes + c] =
          p * (slopes[c].bound + meanBound)
          + (pBound + 3 * u * p) * (abs(slopes[c].value) + abs(mean))
          + abs(strength) * (pBound + 2 * u * abs(excess) + (sums + 10 * u) * abs(excess))
          + 2 * u * abs(gradient.values[i * classes + c]) + tiny
      }
    }
    return (gradient, figures)
  }
}
