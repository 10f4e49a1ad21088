import Foundation
import RandomNumbers

/// Where the pixels of one square crop lie in the image it is cut from.
///
/// With (i, j) the offset of a pixel from the middle of the crop, the place is
/// centre + matrix (i, j) + displacement(pixel).
struct CropGeometry {
  /// Pixels in a row and in a column.
  let size: Int
  /// The image's pixel that is at the middle of the crop; whole or half.
  let centreX, centreY: Float
  /// Rows of the matrix, from offsets in the crop to offsets in the image.
  let xx, xy, yx, yy: Float
  let field: ElasticField?
  /// Whether every place is a pixel, so that nothing is interpolated.
  let isExact: Bool

  /// Draws the options' changes; those that are left out draw nothing.
  init(
    size: Int, originX: Int, originY: Int, options: Augmentation, random: inout SplitMix64
  ) {
    self.size = size
    centreX = Float(originX) + Float(size - 1) / 2
    centreY = Float(originY) + Float(size - 1) / 2
    var (xx, xy, yx, yy): (Float, Float, Float, Float) = (1, 0, 0, 1)
    if options.flips {
      let bits = random.nextIndex(below: 4)
      if bits & 1 != 0 { xx = -1 }
      if bits & 2 != 0 { yy = -1 }
    }
    if options.quarterTurns {
      for _ in 0..<random.nextIndex(below: 4) { (xx, xy, yx, yy) = (-yx, -yy, xx, xy) }
    }
    var isExact = true
    if options.rotation > 0 {
      let angle = random.nextUniform(-options.rotation, options.rotation) * .pi / 180
      let (cosine, sine) = (cos(angle), sin(angle))
      (xx, xy, yx, yy) = (
        cosine * xx - sine * yx, cosine * xy - sine * yy, sine * xx + cosine * yx,
        sine * xy + cosine * yy
      )
      isExact = false
    }
    if options.scale > 1 {
      let limit = log(options.scale)
      let factor = exp(random.nextUniform(-limit, limit))
      (xx, xy, yx, yy) = (xx / factor, xy / factor, yx / factor, yy / factor)
      isExact = false
    }
    if options.elasticAmplitude > 0, random.nextUniform() < options.elasticShare {
      field = ElasticField(
        size: size, amplitude: options.elasticAmplitude, spacing: options.elasticSpacing,
        random: &random)
      isExact = false
    } else {
      field = nil
    }
    (self.xx, self.xy, self.yx, self.yy) = (xx, xy, yx, yy)
    self.isExact = isExact
  }

  /// The places of row `row`, `size` each.
  func places(
    ofRow row: Int, x: UnsafeMutablePointer<Float>, y: UnsafeMutablePointer<Float>
  ) {
    let middle = Float(size - 1) / 2
    let down = Float(row) - middle
    let (startX, startY) = (centreX + xy * down, centreY + yy * down)
    for column in 0..<size {
      let right = Float(column) - middle
      x[column] = startX + xx * right
      y[column] = startY + yx * right
    }
    field?.add(toRow: row, x: x, y: y)
  }
}

/// A smooth random displacement of the pixels of a square: normal at the nodes of a coarse grid,
/// Catmull-Rom between them.
struct ElasticField {
  private let size: Int
  private let spacing: Float
  /// Nodes in a row and in a column, one before the first pixel's and two after the last's.
  private let nodes: Int
  /// x and y displacement of each node, interleaved.
  private let values: [Float]
  /// For each pixel of a row or column: the first of its four nodes.
  private let first: [Int]
  /// For each pixel: the weights of its four nodes.
  private let weights: [SIMD4<Float>]

  init(size: Int, amplitude: Float, spacing: Float, random: inout SplitMix64) {
    precondition(spacing >= 1, "nodes are at least a pixel apart")
    self.size = size
    self.spacing = spacing
    let nodes = Int(Float(size - 1) / spacing) + 4
    self.nodes = nodes
    values = (0..<2 * nodes * nodes).map { _ in Float(random.nextNormal()) * amplitude }
    first = (0..<size).map { Int(Float($0) / spacing) }
    weights = (0..<size).map { pixel in
      let place = Float(pixel) / spacing
      return catmullRom(place - place.rounded(.down))
    }
  }

  func add(
    toRow row: Int, x: UnsafeMutablePointer<Float>, y: UnsafeMutablePointer<Float>
  ) {
    let down = weights[row]
    let top = first[row] * 2 * nodes
    withUnsafeTemporaryAllocation(of: Float.self, capacity: 2 * nodes) { line in
      for i in 0..<2 * nodes {
        line[i] =
          down[0] * values[top + i] + down[1] * values[top + 2 * nodes + i] + down[2]
          * values[top + 4 * nodes + i] + down[3] * values[top + 6 * nodes + i]
      }
      weights.withUnsafeBufferPointer { weights in
        for column in 0..<size {
          let across = weights[column]
          let left = 2 * first[column]
          x[column] +=
            across[0] * line[left] + across[1] * line[left + 2] + across[2] * line[left + 4]
            + across[3] * line[left + 6]
          y[column] +=
            across[0] * line[left + 1] + across[1] * line[left + 3] + across[2] * line[left + 5]
            + across[3] * line[left + 7]
        }
      }
    }
  }
}
