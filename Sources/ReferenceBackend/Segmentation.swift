import Compute
import Foundation

extension ReferenceBackend {
  package func softmax(_ a: Floats, into p: Floats) throws {
    precondition(a.shape.rank == 2 && p.shape == a.shape, "\(a.shape) into \(p.shape)")
    let classes = a.shape[1]
    let (logits, result) = (a.shared, p.shared)
    parallel(a.shape[0], grain: 256) { rows in
      for i in rows {
        _ = probabilities(of: logits + i * classes, classes, into: result + i * classes)
      }
    }
  }

  package func segmentationLoss(
    _ a: Floats, labels: Bytes, classWeights w: Floats, settings: SegmentationLoss,
    gradient: Floats, figures: Floats
  ) throws {
    let shape = SegmentationShape(
      a, labels: labels, classWeights: w, settings: settings, gradient: gradient,
      figures: figures)
    let classes = shape.classes
    let (logits, label, weight) = (a.pointer, labels.pointer, w.pointer)
    let p = gradient.pointer
    var (entropy, totalWeight, labelled) = (0.0, 0.0, 0)
    var overlap = [Double](repeating: 0, count: classes)
    var total = overlap
    for i in 0..<shape.positions {
      let own = Int(label[i])
      let chosen = own < classes ? logits[i * classes + own] : 0
      // The gradient may be where the logits are.
      let (largest, sum) = probabilities(
        of: logits + i * classes, classes, into: p + i * classes)
      guard own < classes else { continue }
      labelled += 1
      totalWeight += Double(weight[own])
      entropy += Double(weight[own]) * Double(log(sum) - (chosen - largest))
      overlap[own] += Double(p[i * classes + own])
      total[own] += 1
      for c in 0..<classes { total[c] += Double(p[i * classes + c]) }
    }

    let smoothing = Double(settings.smoothing)
    let ratios = (0..<classes).map { (2 * overlap[$0] + smoothing) / (total[$0] + smoothing) }
    figures.pointer[0] = totalWeight == 0 ? 0 : Float(entropy / totalWeight)
    figures.pointer[1] = Float(1 - ratios.reduce(0, +) / Double(classes))
    figures.pointer[2] = Float(labelled)

    // d loss / d p_ic = onLabel_c t_ic + everywhere_c, of the Dice alone.
    let share = Double(settings.diceWeight) / Double(classes)
    let onLabel = (0..<classes).map { Float(-2 * share / (total[$0] + smoothing)) }
    let everywhere = (0..<classes).map { Float(share * ratios[$0] / (total[$0] + smoothing)) }
    let entropyShare =
      totalWeight == 0 ? 0 : Float(Double(settings.crossEntropyWeight) / totalWeight)
    let (result, target, weights) = (gradient.shared, labels.shared, w.shared)
    parallel(shape.positions, grain: 256) { rows in
      for i in rows {
        let row = result + i * classes
        let own = Int(target[i])
        guard own < classes else {
          for c in 0..<classes { row[c] = 0 }
          continue
        }
        var mean = row[own] * onLabel[own]
        for c in 0..<classes { mean += row[c] * everywhere[c] }
        let strength = entropyShare * weights[own]
        for c in 0..<classes {
          let slope = everywhere[c] + (c == own ? onLabel[c] : 0) - mean
          row[c] = row[c] * slope + strength * (row[c] - (c == own ? 1 : 0))
        }
      }
    }
  }
}

/// Writes softmax(a) to p, which may be a.
/// - Returns: the largest of a, and the sum of exp(a_c - largest).
private func probabilities(
  of a: UnsafeMutablePointer<Float>, _ classes: Int, into p: UnsafeMutablePointer<Float>
) -> (largest: Float, sum: Float) {
  var largest = -Float.infinity
  for c in 0..<classes where a[c] > largest { largest = a[c] }
  var sum: Float = 0
  for c in 0..<classes {
    p[c] = exp(a[c] - largest)
    sum += p[c]
  }
  for c in 0..<classes { p[c] /= sum }
  return (largest, sum)
}
