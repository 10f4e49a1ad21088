import Imaging
import Testing

struct MontageTests {
  private static func pixel(_ level: UInt8) -> Image {
    Image(width: 1, height: 1, channels: 1, samples: [level])
  }

  @Test func tilesLieInRowsWithSpacingAround() {
    let montage = Montage.tiles(
      [Self.pixel(1), Self.pixel(2), Self.pixel(3)], columns: 2, spacing: 1, background: 9)
    #expect((montage.width, montage.height, montage.channels) == (5, 5, 1))
    #expect(
      montage.samples == [
        9, 9, 9, 9, 9,
        9, 1, 9, 2, 9,
        9, 9, 9, 9, 9,
        9, 3, 9, 9, 9,
        9, 9, 9, 9, 9,
      ])
  }

  @Test func oneColourImageMakesTheMontageColour() {
    let red = Image(width: 1, height: 1, channels: 3, samples: [255, 0, 0])
    let montage = Montage.tiles([Self.pixel(7), red], columns: 4, spacing: 0, background: 0)
    #expect(
      montage == Image(width: 2, height: 1, channels: 3, samples: [7, 7, 7, 255, 0, 0]))
  }

  @Test func reconstructionsLieBelowTheirInputs() {
    let inputs = [1, 2, 3].map { Self.pixel($0) }
    let reconstructions = [11, 12, 13].map { Self.pixel($0) }
    let montage = Montage.inputsOverReconstructions(
      inputs: inputs, reconstructions: reconstructions, perRow: 2, factor: 1, background: 0)
    #expect(
      montage.samples == [
        0, 0, 0, 0, 0,
        0, 1, 0, 2, 0,
        0, 0, 0, 0, 0,
        0, 11, 0, 12, 0,
        0, 0, 0, 0, 0,
        0, 3, 0, 0, 0,
        0, 0, 0, 0, 0,
        0, 13, 0, 0, 0,
        0, 0, 0, 0, 0,
      ])
    let large = Montage.inputsOverReconstructions(
      inputs: inputs, reconstructions: reconstructions, perRow: 2, factor: 3, background: 0)
    #expect(large == montage.enlarged(by: 3))
  }

  @Test func enlargedRepeatsPixelsBothWays() {
    let image = Image(width: 2, height: 1, channels: 3, samples: [1, 2, 3, 4, 5, 6])
    let row: [UInt8] = [1, 2, 3, 1, 2, 3, 4, 5, 6, 4, 5, 6]
    #expect(
      image.enlarged(by: 2) == Image(width: 4, height: 2, channels: 3, samples: row + row))
  }
}
