/// One way to tile the products that convolutions are on GPUs: the macros of `Kernels/tile_gpu.cl`.
///
/// The order of a convolution's sums does not depend on it, so that the device may have a say in the
/// choice. That of a gradient's bands does.
package struct ConvolutionTile: Hashable, Sendable {
  /// Pixels, or taps of a gradient, and channels of a work-group.
  let rows, columns: Int
  let registerRows, registerColumns: Int

  /// Terms of a step: the same for all, since sums are filled up with zeros to a multiple of it.
  static let depth = 16

  /// Work-items of a work-group in the direction of the columns and of the rows.
  var local: (columns: Int, rows: Int) { (columns / registerColumns, rows / registerRows) }

  var definitions: [String: Int] {
    [
      "TILE_M": rows, "TILE_N": columns, "TILE_K": Self.depth, "RM": registerRows,
      "RN": registerColumns,
    ]
  }

  /// Stands for the tile among a kernel's forms; below 2^24.
  var form: UInt64 {
    UInt64(rows) | UInt64(columns) << 8 | UInt64(registerRows) << 16 | UInt64(registerColumns) << 20
  }

  private init(_ rows: Int, _ columns: Int, _ registerRows: Int, _ registerColumns: Int) {
    (self.rows, self.columns) = (rows, columns)
    (self.registerRows, self.registerColumns) = (registerRows, registerColumns)
  }

  /// Work-groups that a product of this shape makes.
  func groups(rows: Int, columns: Int) -> Int {
    ((rows + self.rows - 1) / self.rows) * ((columns + self.columns - 1) / self.columns)
  }

  /// For up to 16 channels, up to 32, and more.
  private static let few: [ConvolutionTile] = [
    .init(128, 16, 8, 4), .init(64, 16, 4, 4), .init(32, 16, 2, 4),
  ]
  private static let some: [ConvolutionTile] = [
    .init(128, 32, 8, 4), .init(64, 32, 4, 4), .init(32, 32, 2, 4),
  ]
  private static let many: [ConvolutionTile] = [
    .init(128, 64, 8, 8), .init(64, 64, 8, 4), .init(32, 64, 4, 4), .init(32, 32, 2, 4),
  ]

  /// Every tile of a convolution; each can do every shape.
  package static let all = few + some + many.dropLast()

  /// For a convolution: the largest tile that keeps the device busy.
  static func forward(
    positions: Int, phases: Int, channels: Int, computeUnits: Int
  ) -> ConvolutionTile {
    let tiles = channels <= 16 ? few : channels <= 32 ? some : many
    return tiles.first {
      $0.groups(rows: positions, columns: channels) * phases >= 2 * computeUnits
    } ?? tiles[tiles.count - 1]
  }

  /// For a gradient, whose bands keep any device busy.
  static func gradient(channels: Int) -> ConvolutionTile {
    channels <= 16
      ? .init(64, 16, 4, 4) : channels <= 32 ? .init(64, 32, 8, 4) : .init(64, 64, 8, 4)
  }
}
