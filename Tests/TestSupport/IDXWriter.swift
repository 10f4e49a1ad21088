import Datasets
import Imaging

/// Files for the reader to read.
extension IDX {
  /// Writes the images as IDX, rank 3 if grey and 4 if RGB, whole or not at all; as gzip where the
  /// path ends in `.gz`.
  package static func writeImages(_ set: ImageSet, to path: String) throws {
    var sizes = [set.count, set.height, set.width]
    if set.channels > 1 { sizes.append(set.channels) }
    try write(set.pixels, sizes: sizes, to: path)
  }

  /// Writes labels as IDX of rank 1, whole or not at all; as gzip where the path ends in `.gz`.
  package static func writeLabels(_ labels: [UInt8], to path: String) throws {
    try write(labels, sizes: [labels.count], to: path)
  }

  private static func write(_ elements: [UInt8], sizes: [Int], to path: String) throws {
    var header: [UInt8] = [0, 0, 0x08, UInt8(sizes.count)]
    for size in sizes {
      guard let size = UInt32(exactly: size) else {
        throw FileError(path: path, reason: "IDX has no room for a size of \(size)")
      }
      header += withUnsafeBytes(of: size.bigEndian) { Array($0) }
    }
    if path.hasSuffix(".gz") {
      try AtomicFile.write(Gzip.pack(header + elements), to: path)
    } else {
      let file = try AtomicFile(path: path)
      try file.write(header)
      try file.write(elements)
      try file.commit()
    }
  }
}
