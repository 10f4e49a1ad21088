import Foundation

extension Raster where Sample == Float {
  /// An 8-bit image to look at: `black` and below become 0, `white` and above 255, linearly and
  /// rounded between them; NaN becomes 0.
  package func displayed(black: Double, white: Double) -> Image {
    precondition(black < white, "black is darker than white")
    let bytes = samples.map { value in
      let level = (Double(value) - black) / (white - black) * 255
      return level >= 255 ? 255 : level > 0 ? UInt8(level.rounded()) : 0
    }
    return Image(width: width, height: height, channels: channels, samples: bytes)
  }
}

extension ImageReader {
  /// The page as an 8-bit image to look at, every square of `factor` by `factor` pixels as their
  /// mean, read by bands. What is left over at the right and at the bottom is dropped, unless it is
  /// all that there is.
  ///
  /// - Parameters:
  ///   - black: The value that becomes 0, as is what lies below.
  ///   - white: The value that becomes 255, as is what lies above.
  package func preview(reducedBy factor: Int, black: Double, white: Double) throws -> Image {
    precondition(factor >= 1 && black < white, "a factor, and black darker than white")
    let (columns, rows) = (max(1, width / factor), max(1, height / factor))
    guard columns * channels <= (1 << 30) / rows else {
      throw FileError(path: path, reason: "\(columns)x\(rows) is too large to look at")
    }
    let samplesPerRow = width * channels
    var row = [Float](repeating: 0, count: samplesPerRow)
    var sums = [Double](repeating: 0, count: columns * channels)
    var bytes: [UInt8] = []
    bytes.reserveCapacity(rows * columns * channels)
    let (squareWidth, squareHeight) = (min(factor, width), min(factor, height))
    let scale = 255 / (white - black)
    let area = Double(squareWidth * squareHeight)
    for y in 0..<rows {
      for i in sums.indices { sums[i] = 0 }
      for part in 0..<squareHeight {
        let place = y * factor + part
        try row.withUnsafeMutableBufferPointer { try read(place..<place + 1, into: $0) }
        for x in 0..<columns * squareWidth {
          let column = x / squareWidth
          for c in 0..<channels {
            sums[column * channels + c] += Double(row[x * channels + c])
          }
        }
      }
      for sum in sums {
        let level = (sum / area - black) * scale
        bytes.append(level >= 255 ? 255 : level > 0 ? UInt8(level.rounded()) : 0)
      }
    }
    return Image(width: columns, height: rows, channels: channels, samples: bytes)
  }
}
