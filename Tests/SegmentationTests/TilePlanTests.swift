import RandomNumbers
import Segmentation
import Testing

struct TilePlanTests {
  struct Setting: CustomTestStringConvertible {
    let width, height, tileSize, halo, alignment: Int
    var areTurned = false
    /// What the sides of the padded image are multiples of.
    var step: Int { areTurned ? 2 * alignment : alignment }
    var plan: TilePlan {
      TilePlan(
        width: width, height: height, tileSize: tileSize, halo: halo, alignment: alignment,
        areTurned: areTurned)
    }
    var testDescription: String {
      "\(width)x\(height), tiles \(tileSize), halo \(halo), alignment \(alignment)"
        + (areTurned ? ", turned" : "")
    }
  }

  static let settings: [Setting] = {
    var random = SplitMix64(seed: 12)
    var settings = [
      Setting(width: 1, height: 1, tileSize: 1, halo: 0, alignment: 1),
      Setting(width: 1, height: 1, tileSize: 64, halo: 5, alignment: 16),
      Setting(width: 33, height: 17, tileSize: 16, halo: 0, alignment: 16),
      Setting(width: 512, height: 512, tileSize: 512, halo: 96, alignment: 16),
      Setting(width: 3, height: 500, tileSize: 32, halo: 20, alignment: 32),
    ]
    for _ in 0..<200 {
      settings.append(
        Setting(
          width: 1 + Int(random.nextIndex(below: 300)),
          height: 1 + Int(random.nextIndex(below: 300)),
          tileSize: 1 + Int(random.nextIndex(below: 90)),
          halo: Int(random.nextIndex(below: 50)),
          alignment: [1, 2, 3, 8, 16][Int(random.nextIndex(below: 5))],
          areTurned: settings.count.isMultiple(of: 2)))
    }
    return settings
  }()

  @Test(arguments: settings) func everyPixelOnceWithItsHaloAndAligned(_ setting: Setting) {
    let plan = setting.plan
    let (width, height) = (setting.width, setting.height)
    var covered = [Int](repeating: 0, count: width * height)
    for band in plan.bands {
      for tile in band.tiles {
        let (core, source) = (tile.core, tile.source)
        for y in core.rows {
          for x in core.columns { covered[y * width + x] += 1 }
        }
        // On the grid, so that pooling windows are those of the whole image.
        for edge in [source.x, source.y, source.width, source.height] {
          #expect(edge % setting.step == 0)
        }
        // At even places of the lowest resolution.
        for start in [core.x, core.y, source.x, source.y] {
          #expect(start % (2 * setting.alignment) == 0)
        }
        #expect(source.width > 0 && source.height > 0)
        // The halo is complete or ends where the padded image does.
        #expect(source.x == 0 || core.x - source.x >= setting.halo)
        #expect(source.y == 0 || core.y - source.y >= setting.halo)
        #expect(
          source.columns.upperBound == plan.paddedWidth
            || source.columns.upperBound - core.columns.upperBound >= setting.halo)
        #expect(
          source.rows.upperBound == plan.paddedHeight
            || source.rows.upperBound - core.rows.upperBound >= setting.halo)
        #expect(source.x >= 0 && source.columns.upperBound <= plan.paddedWidth)
        #expect(source.y >= 0 && source.rows.upperBound <= plan.paddedHeight)
        #expect(band.rows == core.rows && band.sourceRows == source.rows)
      }
    }
    #expect(covered.allSatisfy { $0 == 1 })
    #expect((0..<setting.step).contains(plan.paddedWidth - width))
    #expect(plan.paddedHeight % setting.step == 0)
    #expect(plan.tileCount == plan.bands.count * plan.bands[0].tiles.count)
    for (upper, lower) in zip(plan.bands, plan.bands.dropFirst()) {
      #expect(upper.rows.upperBound == lower.rows.lowerBound)
      #expect(upper.imageRows.lowerBound <= lower.imageRows.lowerBound)
      #expect(upper.imageRows.upperBound <= lower.imageRows.upperBound)
    }
    #expect(plan.bands.last?.rows.upperBound == height)
  }

  @Test func aTileLargerThanTheImageIsTheImage() {
    func plan(_ tileSize: Int) -> TilePlan {
      TilePlan(width: 33, height: 17, tileSize: tileSize, halo: 8, alignment: 4)
    }
    for size in [34, 4096, Int.max - 1, .max] { #expect(plan(size) == plan(33)) }
    #expect(plan(.max).tileCount == 1)
  }

  /// A sum over a window as wide as the halo and pooling windows, in tiles from rows as they stream
  /// by and in the whole padded image: the same numbers.
  @Test(arguments: settings.prefix(40)) func tilesGiveTheWholeImagesResult(_ setting: Setting) {
    let plan = setting.plan
    var random = SplitMix64(seed: 3)
    let (width, height, channels) = (setting.width, setting.height, 2)
    let image = (0..<width * height * channels).map { _ in Int(random.nextIndex(below: 1000)) }

    /// Zero outside of the source, as a convolution pads; then the place within two pooling windows.
    func network(_ input: [Int], width: Int, height: Int) -> [Int] {
      let reach = setting.halo
      var output = [Int](repeating: 0, count: input.count)
      for y in 0..<height {
        for x in 0..<width {
          let pixel = (y * width + x) * channels
          for d in [-reach, 0, reach] {
            if (0..<width).contains(x + d) { output[pixel] += input[pixel + d * channels] }
            if (0..<height).contains(y + d) {
              output[pixel + 1] += 3 * input[pixel + 1 + d * width * channels]
            }
          }
          output[pixel] += 7 * (x % (2 * setting.alignment)) + 11 * (y % (2 * setting.alignment))
        }
      }
      return output
    }

    func source(_ tile: TilePlan.Tile, _ rows: [Int], firstRow: Int) -> [Int] {
      var input = [Int](
        repeating: -1, count: tile.source.width * tile.source.height * channels)
      input.withUnsafeMutableBufferPointer { target in
        rows.withUnsafeBufferPointer {
          plan.copySource(
            tile.source, from: $0, firstRow: firstRow, channels: channels, into: target)
        }
      }
      return input
    }

    let wholePlan = TilePlan(
      width: width, height: height, tileSize: max(width, height), halo: 0,
      alignment: setting.alignment, areTurned: setting.areTurned)
    let whole = wholePlan.bands[0].tiles[0]
    #expect(wholePlan.tileCount == 1)
    let padded = source(whole, image, firstRow: 0)
    for y in 0..<plan.paddedHeight {
      for x in 0..<plan.paddedWidth {
        let pixel = reflected(y, count: height) * width + reflected(x, count: width)
        #expect(padded[(y * plan.paddedWidth + x) * channels + 1] == image[pixel * channels + 1])
      }
    }
    let expected = network(padded, width: plan.paddedWidth, height: plan.paddedHeight)

    var result = [Int](repeating: -1, count: image.count)
    for band in plan.bands {
      // Only the rows that the band says it needs.
      let rows = Array(
        image[
          band.imageRows.lowerBound * width * channels..<band.imageRows.upperBound * width
            * channels])
      for tile in band.tiles {
        let input = source(tile, rows, firstRow: band.imageRows.lowerBound)
        let output = network(input, width: tile.source.width, height: tile.source.height)
        result.withUnsafeMutableBufferPointer { target in
          output.withUnsafeBufferPointer {
            plan.copyCore(of: tile, from: $0, channels: channels, into: target, firstRow: 0)
          }
        }
      }
    }
    for y in 0..<height {
      let row = y * width * channels..<(y + 1) * width * channels
      let start = y * plan.paddedWidth * channels
      #expect(Array(result[row]) == Array(expected[start..<start + width * channels]))
    }
  }

  @Test func reflectionRepeatsNoEdge() {
    #expect((-5...8).map { reflected($0, count: 4) } == [1, 2, 3, 2, 1, 0, 1, 2, 3, 2, 1, 0, 1, 2])
    #expect((-3...3).allSatisfy { reflected($0, count: 1) == 0 })
  }
}
