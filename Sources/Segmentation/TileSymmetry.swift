/// One of the eight ways to lay a rectangle on itself or on its transpose.
struct TileSymmetry {
  let transposes, mirrorsRows, mirrorsColumns: Bool

  static func views(_ views: PredictionViews) -> [TileSymmetry] {
    (0..<views.rawValue).map {
      TileSymmetry(transposes: $0 & 4 != 0, mirrorsRows: $0 & 2 != 0, mirrorsColumns: $0 & 1 != 0)
    }
  }

  /// From `[height, width, channels]`; with a transposition the result has `width` rows.
  func apply(_ values: [Float], height: Int, width: Int, channels: Int) -> [Float] {
    move(values, height: height, width: width, channels: channels, undoes: false)
  }

  /// The way back: to `[height, width, channels]`.
  func undo(_ values: [Float], height: Int, width: Int, channels: Int) -> [Float] {
    move(values, height: height, width: width, channels: channels, undoes: true)
  }

  private func move(
    _ values: [Float], height: Int, width: Int, channels: Int, undoes: Bool
  ) -> [Float] {
    [Float](unsafeUninitializedCapacity: values.count) { target, initialized in
      values.withUnsafeBufferPointer { values in
        for y in 0..<height {
          let row = mirrorsRows ? height - 1 - y : y
          for x in 0..<width {
            let column = mirrorsColumns ? width - 1 - x : x
            let plain = (y * width + x) * channels
            let turned = (transposes ? column * height + row : row * width + column) * channels
            for c in 0..<channels {
              if undoes {
                target[plain + c] = values[turned + c]
              } else {
                target[turned + c] = values[plain + c]
              }
            }
          }
        }
      }
      initialized = values.count
    }
  }
}
