/// Several images of one size side by side in one.
package enum Montage {
  /// Images in rows of `columns`, from the left and the top, `spacing` pixels of grey level
  /// `background` between them and around them all. Unused places at the end stay background.
  /// RGB where any of the images is.
  package static func tiles(
    _ images: [Image], columns: Int, spacing: Int = 1, background: UInt8 = 255
  ) -> Image {
    precondition(columns >= 1 && spacing >= 0, "at least one column, no negative spacing")
    guard let first = images.first else { preconditionFailure("a montage needs an image") }
    let columns = min(columns, images.count)
    let rows = (images.count + columns - 1) / columns
    let channels = images.contains { $0.channels == 3 } ? 3 : 1
    let width = columns * (first.width + spacing) + spacing
    let height = rows * (first.height + spacing) + spacing
    var samples = [UInt8](repeating: background, count: width * height * channels)
    for (index, image) in images.enumerated() {
      precondition(
        image.width == first.width && image.height == first.height,
        "the images of a montage have one size")
      let source = channels == 3 ? image.expandedToRGB() : image
      let left = spacing + index % columns * (first.width + spacing)
      let top = spacing + index / columns * (first.height + spacing)
      let rowBytes = first.width * channels
      for y in 0..<first.height {
        let target = ((top + y) * width + left) * channels
        samples.replaceSubrange(
          target..<target + rowBytes, with: source.samples[y * rowBytes..<(y + 1) * rowBytes])
      }
    }
    return Image(width: width, height: height, channels: channels, samples: samples)
  }

  /// Pairs of rows: up to `perRow` inputs, and below each its reconstruction. Every pixel becomes
  /// a square of `factor` pixels, since glyphs of 28x28 are too small to judge.
  package static func inputsOverReconstructions(
    inputs: [Image], reconstructions: [Image], perRow: Int = 16, factor: Int = 2,
    background: UInt8 = 255
  ) -> Image {
    precondition(inputs.count == reconstructions.count, "one reconstruction for each input")
    precondition(perRow >= 1, "at least one image in a row")
    guard let first = inputs.first else { preconditionFailure("a montage needs an image") }
    let columns = min(perRow, inputs.count)
    let blank = Image(
      width: first.width, height: first.height, channels: 1,
      samples: [UInt8](repeating: background, count: first.width * first.height))
    var ordered: [Image] = []
    for start in stride(from: 0, to: inputs.count, by: columns) {
      let range = start..<min(start + columns, inputs.count)
      let padding = Array(repeating: blank, count: columns - range.count)
      ordered += inputs[range] + padding + reconstructions[range] + padding
    }
    return tiles(ordered, columns: columns, background: background).enlarged(by: factor)
  }
}
