import Foundation

/// Probabilities as colours, by `Colour.sequential`.
package enum ProbabilityMap {
  /// Every value, of one channel, as a pixel: 0 and below dark violet, 1 and above light yellow,
  /// NaN grey.
  package static func coloured(_ probabilities: Raster<Float>) -> Image {
    precondition(probabilities.channels == 1, "one probability for each pixel")
    let steps = 1023
    let colours = (0...steps).map { Colour.sequential(Double($0) / Double(steps)) }
    var samples: [UInt8] = []
    samples.reserveCapacity(probabilities.samples.count * 3)
    for value in probabilities.samples {
      let colour =
        value.isNaN
        ? Colour.sequential(.nan)
        : colours[Int((min(1, max(0, value)) * Float(steps)).rounded())]
      samples.append(colour.red)
      samples.append(colour.green)
      samples.append(colour.blue)
    }
    return Image(
      width: probabilities.width, height: probabilities.height, channels: 3, samples: samples)
  }

  /// A bar of all colours with ticks from 0 to 1, and what they are the probability of; as wide as
  /// asked for, but no narrower than its numbers need.
  package static func legend(width: Int, label: String = "", scale: Int = 2) -> Image {
    let gap = 4 * scale
    let digit = BitmapFont.width(of: "0") * scale
    let width = max(
      width, 9 * digit + 2 * gap, BitmapFont.width(of: label) * scale + 2 * gap)
    let bar = Canvas.Area(
      x: gap + digit, y: gap, width: width - 2 * (gap + digit), height: 6 * scale)
    let lines = label.isEmpty ? 1 : 2
    let numbers = bar.bottom + 3 * scale
    var canvas = Canvas(
      width: width, height: numbers + lines * (BitmapFont.height * scale + scale) + gap)
    for x in 0..<bar.width {
      let value = Double(x) / Double(max(1, bar.width - 1))
      canvas.fill(
        Canvas.Area(x: bar.x + x, y: bar.y, width: 1, height: bar.height),
        Colour.sequential(value))
    }
    let ink = Colour(grey: 40)
    canvas.frame(bar, Colour(grey: 90))
    // Numbers where there is room: quarters, halves or the ends.
    let room = bar.width / (BitmapFont.width(of: "0.75") * scale + gap)
    let parts = room >= 5 ? 4 : room >= 3 ? 2 : 1
    for index in 0...parts {
      let value = Double(index) / Double(parts)
      let x = bar.x + Int((value * Double(bar.width - 1)).rounded())
      canvas.fill(
        Canvas.Area(x: x - (index == parts ? 1 : 0), y: bar.bottom, width: 2, height: 2 * scale),
        ink)
      let number = String(format: "%g", value)
      canvas.text(
        number, x: x - BitmapFont.width(of: number) * scale / 2, y: numbers, scale: scale, ink)
    }
    canvas.text(
      label, x: (width - BitmapFont.width(of: label) * scale) / 2,
      y: numbers + (BitmapFont.height + 1) * scale, scale: scale, ink)
    return canvas.image
  }

  /// The map with its legend below.
  package static func picture(_ probabilities: Raster<Float>, label: String = "") -> Image {
    Panels.stacked([
      coloured(probabilities), legend(width: probabilities.width, label: label),
    ])
  }
}
