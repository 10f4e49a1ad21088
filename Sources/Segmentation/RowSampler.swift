/// Reads an image at places between its pixels, mirrored beyond its edges.
struct RowSampler<Sample> {
  let samples: UnsafeBufferPointer<Sample>
  let width, height, channels: Int

  /// Whether `count` places lie so that no neighbour has to be mirrored.
  private func isInside(_ places: UnsafePointer<Float>, count: Int, length: Int) -> Bool {
    var low = places[0]
    var high = places[0]
    for i in 1..<max(1, count) {
      low = min(low, places[i])
      high = max(high, places[i])
    }
    return low >= 0 && high < Float(length - 1)
  }

  /// The pixels nearest to the places (x, y).
  func nearest(
    _ x: UnsafePointer<Float>, _ y: UnsafePointer<Float>, count: Int,
    into target: UnsafeMutablePointer<Sample>
  ) {
    let inside =
      isInside(x, count: count, length: width)
      && isInside(y, count: count, length: height)
    if inside {
      // Nothing is negative, so that cutting off is rounding down.
      for i in 0..<count {
        let source = (Int(y[i] + 0.5) * width + Int(x[i] + 0.5)) * channels
        for c in 0..<channels { target[i * channels + c] = samples[source + c] }
      }
      return
    }
    for i in 0..<count {
      let column = reflected(Int((x[i] + 0.5).rounded(.down)), count: width)
      let row = reflected(Int((y[i] + 0.5).rounded(.down)), count: height)
      let source = (row * width + column) * channels
      for c in 0..<channels { target[i * channels + c] = samples[source + c] }
    }
  }
}

extension RowSampler where Sample == Float {
  /// Interpolated between the four pixels around each place (x, y).
  func bilinear(
    _ x: UnsafePointer<Float>, _ y: UnsafePointer<Float>, count: Int,
    into target: UnsafeMutablePointer<Float>
  ) {
    if isInside(x, count: count, length: width),
      isInside(y, count: count, length: height)
    {
      for i in 0..<count {
        let (column, row) = (Int(x[i]), Int(y[i]))
        let (right, down) = (x[i] - Float(column), y[i] - Float(row))
        let top = (row * width + column) * channels
        let bottom = top + width * channels
        for c in 0..<channels {
          let above = samples[top + c] + right * (samples[top + channels + c] - samples[top + c])
          let below =
            samples[bottom + c]
            + right * (samples[bottom + channels + c] - samples[bottom + c])
          target[i * channels + c] = above + down * (below - above)
        }
      }
      return
    }
    for i in 0..<count {
      let (left, top) = (x[i].rounded(.down), y[i].rounded(.down))
      let (right, down) = (x[i] - left, y[i] - top)
      let columns = (
        reflected(Int(left), count: width) * channels,
        reflected(Int(left) + 1, count: width) * channels
      )
      let rows = (
        reflected(Int(top), count: height) * width * channels,
        reflected(Int(top) + 1, count: height) * width * channels
      )
      for c in 0..<channels {
        let first = samples[rows.0 + columns.0 + c]
        let second = samples[rows.1 + columns.0 + c]
        let above = first + right * (samples[rows.0 + columns.1 + c] - first)
        let below = second + right * (samples[rows.1 + columns.1 + c] - second)
        target[i * channels + c] = above + down * (below - above)
      }
    }
  }
}
