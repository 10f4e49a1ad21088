/// Uncompressed 8-bit grey images as the pages of one TIFF, for tests of what reads several.
package enum PagedTIFF {
  /// - Parameters:
  ///   - pages: of `width * height` samples each.
  ///   - kinds: what their tag `NewSubfileType` says: 1 of a smaller copy, 4 of a mask; 0 when nil.
  package static func bytes(
    _ pages: [[UInt8]], width: Int, height: Int, kinds: [Int]? = nil
  ) -> [UInt8] {
    func short(_ value: Int) -> [UInt8] { [UInt8(value & 255), UInt8(value >> 8 & 255)] }
    func long(_ value: Int) -> [UInt8] { short(value & 0xffff) + short(value >> 16) }
    func entry(_ tag: Int, _ value: Int) -> [UInt8] {
      short(tag) + short(4) + long(1) + long(value)
    }
    var file = Array("II".utf8) + short(42) + long(8)
    for (index, samples) in pages.enumerated() {
      precondition(samples.count == width * height)
      let entries: [(tag: Int, value: Int)] = [
        (254, kinds?[index] ?? 0), (256, width), (257, height), (258, 8), (259, 1), (262, 1),
        (273, 0), (278, height),
        (279, samples.count),
      ]
      let data = file.count + 2 + 12 * entries.count + 4
      file += short(entries.count)
      for (tag, value) in entries { file += entry(tag, tag == 273 ? data : value) }
      file += long(index + 1 < pages.count ? data + samples.count : 0) + samples
    }
    return file
  }
}
