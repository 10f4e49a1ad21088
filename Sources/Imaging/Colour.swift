/// A colour as stored in an image: no gamma is applied.
package struct Colour: Hashable, Sendable {
  package let red, green, blue: UInt8

  package init(_ red: UInt8, _ green: UInt8, _ blue: UInt8) {
    self.red = red
    self.green = green
    self.blue = blue
  }

  package init(grey level: UInt8) { self.init(level, level, level) }

  package static let white = Colour(grey: 255)
  package static let black = Colour(grey: 0)

  /// Colours for the series of a plot, told apart by colour-blind readers as well (after Okabe and
  /// Ito), the strongest first.
  package static let series = [
    Colour(0, 114, 178), Colour(213, 94, 0), Colour(0, 158, 115), Colour(204, 121, 167),
    Colour(230, 159, 0), Colour(86, 180, 233), Colour(90, 90, 90),
  ]

  /// From blue (-1) over white (0) to red (1), even in lightness on both sides; values beyond are
  /// clipped, NaN is white.
  package static func diverging(_ value: Double) -> Colour {
    guard abs(value) > 0 else { return .white }
    let strength = min(1, abs(value))
    let arm = value < 0 ? blues : reds
    let place = strength * Double(arm.count - 1)
    let index = min(Int(place), arm.count - 2)
    return arm[index].mixed(with: arm[index + 1], share: place - Double(index))
  }

  private static let blues = [
    white, Colour(190, 213, 236), Colour(106, 160, 208), Colour(40, 102, 172), Colour(8, 48, 107),
  ]
  private static let reds = [
    white, Colour(248, 201, 180), Colour(234, 130, 100), Colour(196, 48, 50), Colour(103, 0, 20),
  ]

  /// From dark violet (0) over blue and green to light yellow (1), lightness rising evenly and never
  /// falling, so that it reads alike in grey and for the colour-blind. Values beyond are clipped,
  /// NaN is grey.
  package static func sequential(_ value: Double) -> Colour {
    guard !value.isNaN else { return Colour(grey: 128) }
    let place = min(1, max(0, value)) * Double(evenlyLighter.count - 1)
    let index = min(Int(place), evenlyLighter.count - 2)
    return evenlyLighter[index].mixed(with: evenlyLighter[index + 1], share: place - Double(index))
  }

  // CIE L* from 14 to 93 in equal steps, hue in OKLCH from 315 to 105 degrees, chroma 0.13 or what
  // sRGB has room for.
  private static let evenlyLighter = [
    Colour(62, 4, 82), Colour(61, 42, 122), Colour(39, 76, 151), Colour(5, 110, 155),
    Colour(10, 141, 158), Colour(2, 172, 157), Colour(94, 200, 142), Colour(173, 221, 130),
    Colour(247, 239, 131),
  ]

  /// `share` of the other colour and the rest of this one, `share` from 0 to 1.
  package func mixed(with other: Colour, share: Double) -> Colour {
    func mix(_ a: UInt8, _ b: UInt8) -> UInt8 {
      UInt8((Double(a) + (Double(b) - Double(a)) * min(1, max(0, share))).rounded())
    }
    return Colour(mix(red, other.red), mix(green, other.green), mix(blue, other.blue))
  }
}
