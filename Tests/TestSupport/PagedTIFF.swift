/// Uncompressed 8-bit grey images as the pages of one TIFF, for tests of what reads several.
package enum PagedTIFF {
  /// - Parameters:
  ///   - pages: of `width * height` samples each, or so many for each of their channels.
  ///   - orientation: their tag 274.
  ///   - description: the first one's tag 270.
  ///   - tags: others, of one number, or in the place of what is written else.
  ///   - behind: what the file ends with, which belongs to no page.
  ///   - kinds: what their tag `NewSubfileType` says: 1 of a smaller copy, 4 of a mask; 0 when nil.
  package static func bytes(
    _ pages: [[UInt8]], width: Int, height: Int, kinds: [Int]? = nil, orientation: Int? = nil,
    description: String? = nil, tags: [Int: Int] = [:], behind: [UInt8] = []
  ) -> [UInt8] {
    func short(_ value: Int) -> [UInt8] { [UInt8(value & 255), UInt8(value >> 8 & 255)] }
    func long(_ value: Int) -> [UInt8] { short(value & 0xffff) + short(value >> 16) }
    func entry(_ tag: Int, _ value: Int, text: Int = 0) -> [UInt8] {
      short(tag) + short(text > 0 ? 2 : 4) + long(max(1, text)) + long(value)
    }
    var file = Array("II".utf8) + short(42) + long(8)
    for (index, samples) in pages.enumerated() {
      precondition(samples.count % (width * height) == 0)
      let words: [UInt8] = index == 0 ? description.map { Array($0.utf8) + [0] } ?? [] : []
      var values = [
        254: kinds?[index] ?? 0, 256: width, 257: height, 258: 8, 259: 1, 262: 1, 273: 0,
        278: height,
        279: samples.count,
      ]
      if let orientation { values[274] = orientation }
      if !words.isEmpty { values[270] = 0 }
      let entries = values.merging(tags) { $1 }.sorted { $0.key < $1.key }
      let data = file.count + 2 + 12 * entries.count + 4
      file += short(entries.count)
      for (tag, value) in entries {
        switch tag {
        case 270: file += entry(tag, data + samples.count, text: words.count)
        case 273: file += entry(tag, data)
        default: file += entry(tag, value)
        }
      }
      let next = data + samples.count + words.count
      file += long(index + 1 < pages.count ? next : 0) + samples + words
    }
    return file + behind
  }
}
