import OpenCLRuntime

/// One way to tile the products that convolutions are on GPUs: the macros of `Kernels/tile_gpu.cl`.
///
/// The order of a convolution's sums does not depend on it, so that the device may have a say in the
/// choice. That of a gradient's bands does.
struct ConvolutionTile: Hashable {
  /// Pixels, or taps of a gradient, and channels of a work-group.
  let rows, columns: Int
  let registerRows, registerColumns: Int

  /// Work-items of a work-group in the direction of the columns and of the rows.
  var local: (columns: Int, rows: Int) { (columns / registerColumns, rows / registerRows) }

  var definitions: [String: Int] {
    [
      "TILE_M": rows, "TILE_N": columns, "TILE_K": 16, "RM": registerRows, "RN": registerColumns,
    ]
  }

  private init(_ rows: Int, _ columns: Int, _ registerRows: Int, _ registerColumns: Int) {
    (self.rows, self.columns) = (rows, columns)
    (self.registerRows, self.registerColumns) = (registerRows, registerColumns)
  }

  /// Work-groups that a product of this shape makes.
  func groups(rows: Int, columns: Int) -> Int {
    ((rows + self.rows - 1) / self.rows) * ((columns + self.columns - 1) / self.columns)
  }

  /// For a convolution: the largest tile that keeps the device busy.
  static func forward(
    positions: Int, phases: Int, channels: Int, on device: DeviceDescription
  ) -> ConvolutionTile {
    let tiles: [ConvolutionTile] =
      if channels <= 16 {
        [.init(128, 16, 8, 4), .init(64, 16, 4, 4), .init(32, 16, 2, 4)]
      } else if channels <= 32 {
        [.init(128, 32, 8, 4), .init(64, 32, 4, 4), .init(32, 32, 2, 4)]
      } else {
        [.init(128, 64, 8, 8), .init(64, 64, 8, 4), .init(32, 64, 4, 4), .init(32, 32, 2, 4)]
      }
    return tiles.first {
      $0.groups(rows: positions, columns: channels) * phases >= 2 * device.computeUnits
    } ?? tiles[tiles.count - 1]
  }

  /// For a gradient, whose bands keep any device busy.
  static func gradient(channels: Int) -> ConvolutionTile {
    channels <= 16
      ? .init(64, 16, 4, 4) : channels <= 32 ? .init(64, 32, 8, 4) : .init(64, 64, 8, 4)
  }
}
