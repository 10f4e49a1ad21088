/// How an image too large for a network at once is cut into tiles, so that the tiles' results put
/// together are those of the whole image.
///
/// The image is padded at its right and bottom by mirroring, up to sides that are multiples of
/// `alignment`, the product of the network's pooling factors. Tiles cover the padded image once.
/// What a network sees for a tile reaches beyond it by the halo, but not beyond the padded image:
/// there it finds the same edge as it would in the whole image. All edges are multiples of
/// `alignment`, so that each tile's pooling windows are those of the whole image; tiles, and what
/// the network sees for them, begin at multiples of twice that, at even places of every resolution,
/// on which the bits of convolutions may depend (`ConvolutionOperations`). Where tiles are seen from
/// other sides as well, they end there too: mirrored, an end is a beginning.
package struct TilePlan: Equatable, Sendable {
  /// Pixels `x ..< x + width`, `y ..< y + height`.
  package struct Rectangle: Hashable, Sendable {
    package let x, y, width, height: Int

    package init(x: Int, y: Int, width: Int, height: Int) {
      self.x = x
      self.y = y
      self.width = width
      self.height = height
    }

    package var columns: Range<Int> { x..<x + width }
    package var rows: Range<Int> { y..<y + height }
  }

  package struct Tile: Hashable, Sendable {
    /// The pixels of the image whose result this tile gives.
    package let core: Rectangle
    /// What the network sees: of the padded image, with the halo.
    package let source: Rectangle
    /// The core's first pixel, within the source.
    package var offset: (x: Int, y: Int) { (core.x - source.x, core.y - source.y) }
  }

  /// Tiles side by side over the whole width.
  package struct Band: Equatable, Sendable {
    /// The rows of the image whose result the band gives.
    package let rows: Range<Int>
    /// The rows of the padded image that its tiles see.
    package let sourceRows: Range<Int>
    /// The rows of the image itself that are needed for these. Neither end is above that of the
    /// band before, so that an image can be read from its top to its bottom.
    package let imageRows: Range<Int>
    /// From left to right.
    package let tiles: [Tile]
  }

  package let width, height: Int
  /// Multiples of `alignment`, or of `2 * alignment` where tiles are turned.
  package let paddedWidth, paddedHeight: Int
  package let alignment: Int
  /// Multiples of `2 * alignment`; tiles are not below what was asked for, or as large as the image.
  package let tileSize, halo: Int
  /// From top to bottom.
  package let bands: [Band]

  /// - Parameters:
  ///   - tileSize: pixels in a row and in a column of a tile, without its halo; rounded up to a
  ///     multiple of `2 * alignment`. More than the image has are the whole image.
  ///   - halo: how far beyond a pixel the network looks for its result; rounded up likewise.
  ///   - areTurned: whether what the network sees for a tile is also turned or mirrored.
  package init(
    width: Int, height: Int, tileSize: Int, halo: Int, alignment: Int, areTurned: Bool = false
  ) {
    precondition(width > 0 && height > 0 && tileSize > 0, "images and tiles have pixels")
    precondition(halo >= 0 && alignment > 0, "a halo is not negative, an alignment is positive")
    func aligned(_ length: Int, to step: Int) -> Int { (length + step - 1) / step * step }
    let step = areTurned ? 2 * alignment : alignment
    let (paddedWidth, paddedHeight) = (aligned(width, to: step), aligned(height, to: step))
    // A tile larger than the image is the image, and may be of a size with which nothing is counted.
    let tileSize = aligned(min(tileSize, max(width, height)), to: 2 * alignment)
    let halo = aligned(halo, to: 2 * alignment)
    func source(_ start: Int, of length: Int) -> Range<Int> {
      max(0, start - halo)..<min(length, min(length, start + tileSize) + halo)
    }
    var bands: [Band] = []
    for y in stride(from: 0, to: height, by: tileSize) {
      let rows = y..<min(height, y + tileSize)
      let sourceRows = source(y, of: paddedHeight)
      var tiles: [Tile] = []
      for x in stride(from: 0, to: width, by: tileSize) {
        let columns = source(x, of: paddedWidth)
        tiles.append(
          Tile(
            core: Rectangle(
              x: x, y: y, width: min(width - x, tileSize), height: rows.count),
            source: Rectangle(
              x: columns.lowerBound, y: sourceRows.lowerBound, width: columns.count,
              height: sourceRows.count)))
      }
      var first = min(sourceRows.lowerBound, height - 1)
      var last = min(sourceRows.upperBound, height) - 1
      for row in sourceRows where row >= height {
        first = min(first, reflected(row, count: height))
        last = max(last, reflected(row, count: height))
      }
      bands.append(
        Band(
          rows: rows, sourceRows: sourceRows, imageRows: first..<last + 1, tiles: tiles))
    }
    self.width = width
    self.height = height
    self.paddedWidth = paddedWidth
    self.paddedHeight = paddedHeight
    self.alignment = alignment
    self.tileSize = tileSize
    self.halo = halo
    self.bands = bands
  }

  package var tileCount: Int { bands.reduce(0) { $0 + $1.tiles.count } }
}

extension TilePlan {
  /// What the network sees of the padded image, such as a tile's source, `[height, width, channels]`:
  /// pixels of the image, mirrored where the padded image goes on beyond it.
  ///
  /// - Parameters:
  ///   - rows: the image's rows from `firstRow` on, with all that `source` needs.
  ///   - target: `source.height * source.width * channels` samples.
  package func copySource<Sample>(
    _ source: Rectangle, from rows: UnsafeBufferPointer<Sample>, firstRow: Int, channels: Int,
    into target: UnsafeMutableBufferPointer<Sample>
  ) {
    precondition(
      target.count == source.width * source.height * channels, "the target is not the source")
    let inside = max(0, min(source.columns.upperBound, width) - source.x)
    for y in source.rows {
      let row = (reflected(y, count: height) - firstRow) * width * channels
      precondition(row >= 0 && row + width * channels <= rows.count, "row \(y) is missing")
      let line = (y - source.y) * source.width * channels
      let start = row + source.x * channels
      for i in 0..<inside * channels { target[line + i] = rows[start + i] }
      for x in inside..<source.width {
        let pixel = row + reflected(source.x + x, count: width) * channels
        for c in 0..<channels { target[line + x * channels + c] = rows[pixel + c] }
      }
    }
  }

  /// Puts a tile's result, `[height, width, channels]` of its source, where it belongs.
  ///
  /// - Parameters:
  ///   - result: as the network gave it, with the halo.
  ///   - rows: the rows of the whole result from `firstRow` on.
  package func copyCore<Sample>(
    of tile: Tile, from result: UnsafeBufferPointer<Sample>, channels: Int,
    into rows: UnsafeMutableBufferPointer<Sample>, firstRow: Int
  ) {
    let (core, source, offset) = (tile.core, tile.source, tile.offset)
    precondition(
      result.count == source.width * source.height * channels, "the result is not the source's")
    for y in 0..<core.height {
      let from = ((offset.y + y) * source.width + offset.x) * channels
      let to = ((core.y - firstRow + y) * width + core.x) * channels
      precondition(to >= 0 && to + core.width * channels <= rows.count, "row \(y) is missing")
      for i in 0..<core.width * channels { rows[to + i] = result[from + i] }
    }
  }
}
