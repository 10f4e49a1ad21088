import Foundation
import Imaging
import TestSupport
import Testing

struct OverlayTests {
  static let classes = [
    LabelClass(name: "background", colour: nil),
    LabelClass(name: "nucleus", colour: Colour(213, 94, 0)),
    LabelClass(name: "membrane", colour: Colour(0, 114, 178)),
  ]

  static func pixel(_ image: Image, _ x: Int, _ y: Int) -> Colour {
    let i = (y * image.width + x) * 3
    return Colour(image.samples[i], image.samples[i + 1], image.samples[i + 2])
  }

  @Test func outlinesLieOnBothSidesAndTheRestIsTinted() {
    let image = Image(width: 8, height: 8, channels: 1, samples: .init(repeating: 100, count: 64))
    var labels = Image(width: 8, height: 8, channels: 1, samples: .init(repeating: 0, count: 64))
    for y in 2..<7 {
      for x in 2..<7 { labels.samples[y * 8 + x] = 1 }
    }
    labels.samples[63] = 9
    let drawn = LabelOverlay.outlined(image, labels: labels, classes: Self.classes, tint: 0.25)
    let orange = Colour(213, 94, 0)
    // Outside, on the line outside, on the line inside, within.
    #expect(Self.pixel(drawn, 0, 4) == Colour(grey: 100))
    #expect(Self.pixel(drawn, 1, 4) == orange)
    #expect(Self.pixel(drawn, 2, 4) == orange)
    #expect(Self.pixel(drawn, 4, 4) == Colour(grey: 100).mixed(with: orange, share: 0.25))
    #expect(Self.pixel(drawn, 6, 4) == orange)
    #expect(Self.pixel(drawn, 7, 4) == orange)
    #expect(Self.pixel(drawn, 4, 1) == orange)
    #expect(Self.pixel(drawn, 4, 0) == Colour(grey: 100))
    // An unlabelled pixel and the background beside it have no colour.
    #expect(Self.pixel(drawn, 7, 7) == Colour(grey: 100))
    #expect(Self.pixel(drawn, 0, 0) == Colour(grey: 100))
    // Two coloured classes keep their own side.
    let halves = Image(width: 4, height: 1, channels: 1, samples: [1, 1, 2, 2])
    let four = Image(width: 4, height: 1, channels: 3, samples: .init(repeating: 0, count: 12))
    let sides = LabelOverlay.outlined(four, labels: halves, classes: Self.classes)
    #expect(Self.pixel(sides, 1, 0) == orange)
    #expect(Self.pixel(sides, 2, 0) == Colour(0, 114, 178))
  }

  @Test func legendsNameEveryColourAndBreakLines() {
    let wide = LabelOverlay.legend(Self.classes, width: 600)
    let narrow = LabelOverlay.legend(Self.classes, width: 150)
    #expect(wide.width == 600)
    #expect(narrow.width == 150)
    #expect(narrow.height > wide.height)
    for legend in [wide, narrow] {
      for entry in Self.classes {
        guard let colour = entry.colour else { continue }
        let count = (0..<legend.height * legend.width).count {
          Self.pixel(legend, $0 % legend.width, $0 / legend.width) == colour
        }
        #expect(count == 14 * 14)
      }
    }
    let picture = LabelOverlay.picture(
      Image(width: 600, height: 4, channels: 1, samples: .init(repeating: 7, count: 2400)),
      labels: Image(width: 600, height: 4, channels: 1, samples: .init(repeating: 0, count: 2400)),
      classes: Self.classes)
    #expect(picture.height == 4 + wide.height)
    #expect(Self.pixel(picture, 599, 3) == Colour(grey: 7))
  }

  /// CIE L* of the map rises in even steps.
  @Test func theSequentialMapIsEven() {
    func lightness(_ colour: Colour) -> Double {
      let linear = [colour.red, colour.green, colour.blue].map { sample in
        let value = Double(sample) / 255
        return value <= 0.04045 ? value / 12.92 : pow((value + 0.055) / 1.055, 2.4)
      }
      return 116 * cbrt(0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]) - 16
    }
    for i in 0..<20 {
      let step =
        lightness(.sequential(Double(i + 1) / 20)) - lightness(.sequential(Double(i) / 20))
      #expect(abs(step - 79.0 / 20) < 1, "\(i): \(step)")
    }
    #expect(Colour.sequential(-3) == .sequential(0))
    #expect(Colour.sequential(3) == .sequential(1))
    #expect(Colour.sequential(.nan) == Colour(grey: 128))
  }

  @Test func probabilitiesBecomeColours() {
    let map = ProbabilityMap.coloured(
      Raster(width: 5, height: 1, channels: 1, samples: [0, 1, 7, -7, .nan]))
    #expect(Self.pixel(map, 0, 0) == .sequential(0))
    #expect(Self.pixel(map, 1, 0) == .sequential(1))
    #expect(Self.pixel(map, 2, 0) == .sequential(1))
    #expect(Self.pixel(map, 3, 0) == .sequential(0))
    #expect(Self.pixel(map, 4, 0) == Colour(grey: 128))
    for width in [1, 100, 300, 900] {
      let legend = ProbabilityMap.legend(width: width, label: "probability of nucleus")
      #expect(legend.width >= width)
    }
  }

  @Test func comparisonHasItsPanelsSideBySide() {
    let image = Image(
      width: 100, height: 50, channels: 1, samples: .init(repeating: 9, count: 5000))
    let labels = Image(
      width: 100, height: 50, channels: 1, samples: .init(repeating: 0, count: 5000))
    let probability = Raster<Float>(
      width: 100, height: 50, channels: 1, samples: .init(repeating: 0.5, count: 5000))
    let picture = Panels.comparison(
      image: image, truth: labels, prediction: labels, classes: Self.classes,
      probability: probability)
    // Enlarged threefold.
    #expect(picture.width == 4 * 300 + 5 * 12)
    let y = 12 + 22 + 75
    for panel in 0..<3 { #expect(Self.pixel(picture, 12 + 312 * panel, y) == Colour(grey: 9)) }
    #expect(
      Self.pixel(picture, 12 + 312 * 3, y)
        == ProbabilityMap.coloured(
          Raster(width: 1, height: 1, channels: 1, samples: [0.5])
        ).samples.withUnsafeBufferPointer {
          Colour($0[0], $0[1], $0[2])
        })
    let fewer = Panels.comparison(image: image, prediction: labels, classes: Self.classes)
    #expect(fewer.width == 2 * 300 + 3 * 12)
  }

  @Test func previewsAreMeansBetweenBlackAndWhite() throws {
    let folder = try TemporaryFolder()
    let path = folder.file("a.tif")
    let image = Raster<UInt16>(
      width: 5, height: 4, channels: 1,
      samples: [
        0, 200, 400, 600, 9, 0, 200, 400, 600, 9, 1000, 1000, 100, 100, 9, 1000, 1000, 100, 104, 9,
      ])
    try RowWriter.write(image, to: path)
    let reader = try ImageReader(path: path)
    // Means 100, 500, 1000 and 101 between 100 and 500.
    #expect(
      try reader.preview(reducedBy: 2, black: 100, white: 500)
        == Image(width: 2, height: 2, channels: 1, samples: [0, 255, 255, 1]))
    #expect(
      try reader.preview(reducedBy: 1, black: 0, white: 255)
        == reader.image().displayed(black: 0, white: 255))
    #expect(try reader.preview(reducedBy: 100, black: 0, white: 10000).samples.count == 1)
    let values = Raster<Float>(width: 4, height: 1, channels: 1, samples: [-1, 1.5, 9, .nan])
    #expect(values.displayed(black: 1, white: 2).samples == [0, 128, 255, 0])
  }
}
