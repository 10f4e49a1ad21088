/// A rectangle of samples in rows from the top, channels interleaved: sample (x, y, c) is
/// `samples[(y * width + x) * channels + c]`. One channel is grey, three are red, green, blue.
package struct Raster<Sample: Equatable & Sendable>: Equatable, Sendable {
  package let width: Int
  package let height: Int
  /// 1 (grey) or 3 (RGB).
  package let channels: Int
  /// `width * height * channels` samples.
  package var samples: [Sample]

  package init(width: Int, height: Int, channels: Int, samples: [Sample]) {
    precondition(width > 0 && height > 0, "an image has at least one pixel")
    precondition(channels == 1 || channels == 3, "an image is grey or RGB")
    precondition(samples.count == width * height * channels, "samples do not fill the image")
    self.width = width
    self.height = height
    self.channels = channels
    self.samples = samples
  }
}

/// 8-bit samples, 0 is black and 255 is white, as stored: no gamma is applied or removed.
package typealias Image = Raster<UInt8>

extension Raster where Sample == UInt8 {
  /// The same image with three channels; red, green and blue are equal where it was grey.
  package func expandedToRGB() -> Image {
    guard channels == 1 else { return self }
    let count = samples.count
    let expanded = [UInt8](unsafeUninitializedCapacity: 3 * count) { target, initialized in
      samples.withUnsafeBufferPointer { source in
        for i in 0..<count {
          target[3 * i] = source[i]
          target[3 * i + 1] = source[i]
          target[3 * i + 2] = source[i]
        }
      }
      initialized = 3 * count
    }
    return Image(width: width, height: height, channels: 3, samples: expanded)
  }

  /// Every pixel repeated `factor` times in both directions.
  package func enlarged(by factor: Int) -> Image {
    precondition(factor >= 1, "the factor is at least 1")
    guard factor > 1 else { return self }
    var enlarged: [UInt8] = []
    enlarged.reserveCapacity(samples.count * factor * factor)
    for y in 0..<height {
      let rowStart = enlarged.count
      for x in 0..<width {
        let pixel = (y * width + x) * channels
        for _ in 0..<factor {
          for c in 0..<channels { enlarged.append(samples[pixel + c]) }
        }
      }
      let row = Array(enlarged[rowStart...])
      for _ in 1..<factor { enlarged += row }
    }
    return Image(
      width: width * factor, height: height * factor, channels: channels, samples: enlarged)
  }

  /// Every square of `factor` by `factor` pixels as one of their mean; what is left over at the
  /// right and at the bottom belongs to the last one.
  package func reduced(by factor: Int) -> Image {
    precondition(factor >= 1, "the factor is at least 1")
    guard factor > 1 else { return self }
    let (columns, rows) = (max(1, width / factor), max(1, height / factor))
    var reduced = [UInt8](repeating: 0, count: columns * rows * channels)
    for row in 0..<rows {
      let ys = row * factor..<(row == rows - 1 ? height : (row + 1) * factor)
      for column in 0..<columns {
        let xs = column * factor..<(column == columns - 1 ? width : (column + 1) * factor)
        let count = xs.count * ys.count
        for c in 0..<channels {
          var sum = 0
          for y in ys {
            for x in xs { sum += Int(samples[(y * width + x) * channels + c]) }
          }
          reduced[(row * columns + column) * channels + c] = UInt8((sum + count / 2) / count)
        }
      }
    }
    return Image(width: columns, height: rows, channels: channels, samples: reduced)
  }
}
