import Foundation

/// Cells packed without gaps over the whole plane: where their walls and nuclei are.
///
/// A cell is what is nearest to its seed, by the squared distance less the seed's weight (a power
/// diagram); seeds are a jittered hexagonal lattice. Its wall is rounded where walls meet. All is
/// computed from the place, so that any part of the plane can be drawn by itself.
struct CellTissue {
  /// Pixels from one seed to the next, on average.
  let spacing: Float
  let key: UInt32

  /// One cell.
  struct Seed {
    let x, y, weight: Float
    /// How bright the cell is beside others, about -1...1.
    let brightness: Float
    /// Of the nucleus: its middle, the inverse of its half axes, the angle, and how its outline
    /// wavers. The radius is 0 where the cell has none.
    let nucleusX, nucleusY, radius, stretch, cosine, sine, waver, phase: Float
  }

  /// The seeds around a part of the plane.
  struct Seeds {
    let left, top, columns: Int
    let cells: [Seed]
  }

  /// Where a place lies in its cell, in pixels.
  struct Place {
    /// From the wall, inwards.
    let depth: Float
    /// From the nucleus' outline, inwards; negative outside.
    let nucleusDepth: Float
    let brightness: Float
  }

  private var rowHeight: Float { spacing * 0.866 }

  /// The seeds that matter for columns and rows of pixels.
  func seeds(columns: Range<Int>, rows: Range<Int>, margin: Float) -> Seeds {
    let left = Int(((Float(columns.lowerBound) - margin) / spacing).rounded(.down)) - 3
    let right = Int(((Float(columns.upperBound) + margin) / spacing).rounded(.up)) + 3
    let top = Int(((Float(rows.lowerBound) - margin) / rowHeight).rounded(.down)) - 3
    let bottom = Int(((Float(rows.upperBound) + margin) / rowHeight).rounded(.up)) + 3
    var cells: [Seed] = []
    cells.reserveCapacity((right - left + 1) * (bottom - top + 1))
    for row in top...bottom {
      for column in left...right { cells.append(seed(column, row)) }
    }
    return Seeds(left: left, top: top, columns: right - left + 1, cells: cells)
  }

  private func seed(_ column: Int, _ row: Int) -> Seed {
    let shift = hashed(column, row, key: key)
    let shape = hashed(column, row, key: key &+ 1)
    let kind = hashed(column, row, key: key &+ 2)
    let place = hashed(column, row, key: key &+ 3)
    let x = (Float(column) + (row & 1 == 0 ? 0 : 0.5) + 0.56 * (uniform(shift.0) - 0.5)) * spacing
    let y = Float(row) * rowHeight + 0.56 * (uniform(shift.1) - 0.5) * spacing
    let angle = uniform(shape.0) * .pi
    let hasNucleus = uniform(kind.0) > 0.12
    return Seed(
      x: x, y: y, weight: (uniform(kind.1) - 0.5) * 0.22 * spacing * spacing,
      brightness: hashedNormal(column, row, key: key &+ 4),
      nucleusX: x + (uniform(place.0) - 0.5) * 0.16 * spacing,
      nucleusY: y + (uniform(place.1) - 0.5) * 0.16 * spacing,
      radius: hasNucleus ? (0.21 + 0.1 * uniform(shape.1)) * spacing : 0,
      stretch: 1 + 0.35 * uniform(kind.0 &* 2_654_435_761), cosine: cos(angle), sine: sin(angle),
      waver: 0.04 + 0.08 * uniform(kind.1 &* 2_654_435_761),
      phase: uniform(place.0 &* 2_654_435_761) * 2 * .pi)
  }

  /// Where the place (x, y) lies in its cell.
  func place(_ x: Float, _ y: Float, among seeds: Seeds) -> Place {
    let row = Int((y / rowHeight).rounded()) - seeds.top
    let column = Int((x / spacing).rounded()) - seeds.left
    return seeds.cells.withUnsafeBufferPointer { cells in
      var nearest = 0
      var least = Float.infinity
      for j in row - 2...row + 2 {
        for i in column - 2...column + 2 {
          let index = j * seeds.columns + i
          let cell = cells[index]
          let (dx, dy) = (cell.x - x, cell.y - y)
          let distance = dx * dx + dy * dy - cell.weight
          if distance < least {
            least = distance
            nearest = index
          }
        }
      }
      let own = cells[nearest]
      // -ln(sum exp(-s w)) / s of the distances w to the walls, a minimum without corners.
      let sharpness: Float = 0.45
      var sum: Float = 0
      for j in row - 2...row + 2 {
        for i in column - 2...column + 2 where j * seeds.columns + i != nearest {
          let cell = cells[j * seeds.columns + i]
          let (dx, dy) = (cell.x - x, cell.y - y)
          let (ex, ey) = (cell.x - own.x, cell.y - own.y)
          let gap = dx * dx + dy * dy - cell.weight - least
          let between = max(ex * ex + ey * ey, 1).squareRoot()
          // Walls much farther than others add nothing.
          guard gap < 40 * between else { continue }
          sum += exp(-sharpness * gap / (2 * between))
        }
      }
      let depth = max(0, sum > 0 ? -log(sum) / sharpness : 20)
      return Place(
        depth: depth, nucleusDepth: nucleusDepth(x, y, in: own, depth: depth),
        brightness: own.brightness)
    }
  }

  private func nucleusDepth(_ x: Float, _ y: Float, in cell: Seed, depth: Float) -> Float {
    guard cell.radius > 0 else { return -100 }
    let (dx, dy) = (x - cell.nucleusX, y - cell.nucleusY)
    let along = (cell.cosine * dx + cell.sine * dy) / cell.stretch
    let across = (cell.cosine * dy - cell.sine * dx) * cell.stretch
    let distance = (along * along + across * across).squareRoot()
    guard distance < 2 * cell.radius else { return -100 }
    let angle = atan2(across, along)
    let radius =
      cell.radius
      * (1 + cell.waver * (cos(2 * angle + cell.phase) + 0.7 * sin(3 * angle - 2 * cell.phase)))
    // Not through the wall.
    return min(radius - distance, depth - 4)
  }
}
