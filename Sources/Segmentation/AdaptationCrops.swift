/// Where an image's own statistics of normalisation are measured: in crops of the size that the
/// network was trained with, spread evenly over the image, as many as lie beside each other but in
/// a row and in a column at most three, and one more for each 2048 pixels. They depend on the image's
/// size alone, so that what is predicted does not depend on tiles.
package struct AdaptationCrops {
  /// Of each crop, in pixels; multiples of the alignment. Where they reach beyond a small image, it
  /// goes on mirrored.
  package let cropWidth, cropHeight: Int
  /// The first columns and rows of the crops, from left to right and from top to bottom.
  package let columns, rows: [Int]

  var count: Int { columns.count * rows.count }

  /// - Parameters:
  ///   - side: of the crops that the network was trained with.
  ///   - alignment: what the network takes multiples of.
  package init(width: Int, height: Int, side: Int, alignment: Int) {
    func size(_ length: Int) -> Int {
      min(side, (length + alignment - 1) / alignment * alignment)
    }
    func starts(_ length: Int, _ size: Int) -> [Int] {
      let count = max(1, min(length / size, 3 + length / 2048))
      return (0..<count).map { max(0, ((2 * $0 + 1) * length - count * size) / (2 * count)) }
    }
    (cropWidth, cropHeight) = (size(width), size(height))
    columns = starts(width, cropWidth)
    rows = starts(height, cropHeight)
  }
}
