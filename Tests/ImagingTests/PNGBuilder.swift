/// Builds PNG files of any colour type and bit depth from their raw rows, by the letter of the PNG
/// specification and without libpng: stored deflate blocks, no filter.
struct PNGBuilder {
  var width: Int
  var height: Int
  var bitDepth = 8
  /// 0 grey, 2 RGB, 3 palette, 4 grey and alpha, 6 RGB and alpha.
  var colourType = 0
  var palette: [UInt8] = []
  var transparency: [UInt8] = []
  var isInterlaced = false
  /// The chunk eXIf.
  var exif: [UInt8] = []

  /// `data`: the rows with their leading filter bytes.
  func file(data: [UInt8]) -> [UInt8] {
    var bytes: [UInt8] = [0x89, 0x50, 0x4E, 0x47, 0x0D, 0x0A, 0x1A, 0x0A]
    let header =
      big(width) + big(height)
      + [UInt8(bitDepth), UInt8(colourType), 0, 0, isInterlaced ? 1 : 0]
    bytes += chunk("IHDR", header)
    if !palette.isEmpty { bytes += chunk("PLTE", palette) }
    if !transparency.isEmpty { bytes += chunk("tRNS", transparency) }
    if !exif.isEmpty { bytes += chunk("eXIf", exif) }
    return bytes + chunk("IDAT", Self.stored(data)) + chunk("IEND", [])
  }

  /// Rows without filter bytes.
  func file(rows: [[UInt8]]) -> [UInt8] { file(data: rows.flatMap { [0] + $0 }) }

  private func chunk(_ name: String, _ body: [UInt8]) -> [UInt8] {
    let checked = Array(name.utf8) + body
    return big(body.count) + checked + big(Int(Self.crc32(checked)))
  }

  private func big(_ value: Int) -> [UInt8] {
    withUnsafeBytes(of: UInt32(value).bigEndian) { Array($0) }
  }

  /// zlib's format with one stored block.
  private static func stored(_ data: [UInt8]) -> [UInt8] {
    let length = [UInt8(data.count & 0xFF), UInt8(data.count >> 8)]
    var (a, b) = (UInt32(1), UInt32(0))
    for byte in data {
      a = (a + UInt32(byte)) % 65521
      b = (b + a) % 65521
    }
    let adler = withUnsafeBytes(of: (b << 16 | a).bigEndian) { Array($0) }
    return [0x78, 0x01, 0x01] + length + length.map { ~$0 } + data + adler
  }

  private static func crc32(_ bytes: [UInt8]) -> UInt32 {
    ~bytes.reduce(~0) { crc, byte in
      (0..<8).reduce(crc ^ UInt32(byte)) { value, _ in
        value & 1 == 1 ? value >> 1 ^ 0xEDB8_8320 : value >> 1
      }
    }
  }
}
