import Compute

extension ReferenceBackend {
  package func gather(
    _ pixels: Bytes, order: Indices, start: Int, scale: Float, shift: Float, mean: Floats?,
    into x: Floats
  ) throws {
    let shape = GatherShape(pixels, order: order, start: start, mean: mean, into: x)
    let width = shape.width
    let centre = mean?.shared
    let (source, index, target) = (pixels.shared, order.shared, x.shared)
    parallel(shape.batch) { rows in
      for i in rows {
        let row = source + Int(index[start + i]) * width
        let result = target + i * width
        for j in 0..<width { result[j] = scale * Float(row[j]) + shift }
        if let centre {
          for j in 0..<width { result[j] -= centre[j] }
        }
      }
    }
  }
}
