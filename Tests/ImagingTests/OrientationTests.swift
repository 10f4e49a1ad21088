import Imaging
import TestSupport
import Testing

/// Images that are stored turned, or mirrored, are read as they are looked at.
struct OrientationTests {
  /// What the samples 0 to 5, in two rows of three, are looked at as, by the words of TIFF 6.0: for
  /// `rightTop`, the first row is the right-hand side, and the first column the top.
  private static let upright: [(Orientation, width: Int, samples: [UInt8])] = [
    (.topLeft, 3, [0, 1, 2, 3, 4, 5]), (.topRight, 3, [2, 1, 0, 5, 4, 3]),
    (.bottomRight, 3, [5, 4, 3, 2, 1, 0]), (.bottomLeft, 3, [3, 4, 5, 0, 1, 2]),
    (.leftTop, 2, [0, 3, 1, 4, 2, 5]), (.rightTop, 2, [3, 0, 4, 1, 5, 2]),
    (.rightBottom, 2, [5, 2, 4, 1, 3, 0]), (.leftBottom, 2, [2, 5, 1, 4, 0, 3]),
  ]

  /// An Exif block with one tag before the orientation.
  private static func exif(_ value: UInt8, isBig: Bool = false) -> [UInt8] {
    func short(_ value: UInt16) -> [UInt8] {
      withUnsafeBytes(of: isBig ? value.bigEndian : value.littleEndian) { Array($0) }
    }
    func long(_ value: UInt32) -> [UInt8] {
      withUnsafeBytes(of: isBig ? value.bigEndian : value.littleEndian) { Array($0) }
    }
    let start = Array((isBig ? "MM" : "II").utf8) + short(42) + long(8) + short(2)
    let width = short(256) + short(4) + long(1) + long(3)
    return start + width + short(274) + short(3) + long(1) + short(UInt16(value)) + short(0)
      + long(0)
  }

  /// As a whole, in one row after the other, and upwards.
  private func check(
    _ bytes: [UInt8], _ name: String, width: Int, _ samples: [UInt8]
  ) throws {
    let folder = try TemporaryFolder()
    let reader = try ImageReader(path: folder.write(bytes, to: name))
    #expect(reader.width == width && reader.height == 6 / width)
    for rows in [0..<reader.height] + (0..<reader.height).map({ $0..<$0 + 1 })
      + (0..<reader.height).reversed().map({ $0..<reader.height })
    {
      #expect(
        try reader.rows(rows, as: UInt8.self).samples
          == Array(samples[rows.lowerBound * width..<rows.upperBound * width]), "\(name) \(rows)")
    }
  }

  @Test(arguments: upright) func imagesAreUpright(
    orientation: Orientation, width: Int, samples: [UInt8]
  ) throws {
    let tag = UInt8(orientation.rawValue)
    try check(
      PagedTIFF.bytes([[0, 1, 2, 3, 4, 5]], width: 3, height: 2, orientation: Int(tag)), "a.tif",
      width: width, samples)
    var builder = PNGBuilder(width: 3, height: 2)
    builder.exif = Self.exif(tag, isBig: true)
    let png = builder.file(rows: [[0, 1, 2], [3, 4, 5]])
    try check(png, "a.png", width: width, samples)
    let image = try ImageFile.decode(png, path: "a.png")
    #expect(image.width == width && image.samples == samples)
    builder.isInterlaced = true
    // Adam7 of three columns and two rows: (0, 0); (2, 0); (1, 0); the second row.
    try check(
      builder.file(data: [0, 0, 0, 2, 0, 1, 0, 3, 4, 5]), "a.png", width: width, samples)

    // Of three bytes a pixel, and not of a size whose sides are alike.
    let stored = try ImageFile.decode(JPEGFixtures.rgb, path: "a.jpg")
    let block = Array("Exif".utf8) + [0, 0] + Self.exif(tag)
    let jpeg =
      JPEGFixtures.rgb.prefix(2) + [0xFF, 0xE1, 0, UInt8(block.count + 2)] + block
      + JPEGFixtures.rgb.dropFirst(2)
    let turned = try ImageFile.decode(Array(jpeg), path: "a.jpg")
    #expect(turned.width == (width == 3 ? 16 : 8) && turned.height == (width == 3 ? 8 : 16))
    func pixel(_ image: Image, _ x: Int, _ y: Int) -> [UInt8] {
      Array(image.samples[(y * image.width + x) * 3..<(y * image.width + x + 1) * 3])
    }
    // The corners, as they are among the six.
    let (right, bottom) = (turned.width - 1, turned.height - 1)
    let corners = [(0, 0), (right, 0), (0, bottom), (right, bottom)]
    let places = [0, width - 1, 6 - width, 5]
    for ((x, y), place) in zip(corners, places) {
      let (column, row) = (samples[place] % 3 == 0 ? 0 : 15, samples[place] < 3 ? 0 : 7)
      #expect(pixel(turned, x, y) == pixel(stored, column, row))
    }
  }

  /// The block is read before what it lies in is given back, wherever it says so in whatever room.
  @Test func farDirectoriesAreRead() throws {
    let stored = try ImageFile.decode(JPEGFixtures.rgb, path: "a.jpg")
    func segment(_ content: [UInt8]) -> [UInt8] {
      [0xFF, 0xE1, UInt8((content.count + 2) >> 8), UInt8((content.count + 2) & 255)] + content
    }
    let near = Self.exif(3)
    for padding in [0, 1000, 60_000] {
      let place = UInt32(8 + padding)
      let block =
        near[..<4] + withUnsafeBytes(of: place.littleEndian) { Array($0) }
        + [UInt8](repeating: 0xAA, count: padding) + near[8...]
      let other = segment(
        Array("http://ns.adobe.com/xap/1.0/".utf8) + [UInt8](repeating: 7, count: 40_000))
      for count in [0, 20] {
        let jpeg =
          JPEGFixtures.rgb.prefix(2) + (0..<count).flatMap { _ in other }
          + segment(Array("Exif".utf8) + [0, 0] + block) + JPEGFixtures.rgb.dropFirst(2)
        let turned = try ImageFile.decode(Array(jpeg), path: "a.jpg")
        let pixels = stride(from: 0, to: stored.samples.count, by: 3)
          .map { Array(stored.samples[$0..<$0 + 3]) }
        #expect(turned.samples == pixels.reversed().flatMap { $0 }, "\(padding), \(count)")
      }
    }
  }

  /// What no program wrote says nothing, at whatever byte it ends.
  @Test func damagedBlocksSayNothing() {
    for isBig in [false, true] {
      let whole = Self.exif(6, isBig: isBig)
      #expect(Orientation(exif: whole) == .rightTop)
      #expect(Orientation(exif: Array("Exif".utf8) + [0, 0] + whole) == .rightTop)
      for count in 0..<whole.count - 6 { #expect(Orientation(exif: whole.prefix(count)) == nil) }
    }
    for value: UInt8 in [0, 9, 255] { #expect(Orientation(exif: Self.exif(value)) == nil) }
    var elsewhere = Self.exif(6)
    elsewhere.replaceSubrange(4..<8, with: [255, 255, 255, 255])
    #expect(Orientation(exif: elsewhere) == nil)
  }

  /// What is held as a whole is not believed of a file that cannot hold it.
  @Test func promisesAreHeldAgainstTheFile() throws {
    let folder = try TemporaryFolder()
    let path = try folder.write(
      PagedTIFF.bytes(
        [[UInt8](repeating: 1, count: 6)], width: 3, height: 2, orientation: 6,
        tags: [256: 16384, 257: 16384, 278: 1]), to: "a.tif")
    #expect {
      _ = try ImageReader(path: path)
    } throws: {
      ($0 as? FileError)?.reason.contains("cannot come from a file") == true
    }
  }

  /// A channel that is not called alpha may hold what matters.
  @Test func onlyAlphaIsDropped() throws {
    let folder = try TemporaryFolder()
    func reader(_ channels: Int, extra: Int?) throws -> ImageReader {
      var tags = [262: 2, 277: channels]
      if let extra { tags[338] = extra }
      let samples = (0..<2 * channels).map { UInt8($0) }
      return try ImageReader(
        path: folder.write(
          PagedTIFF.bytes([samples], width: 2, height: 1, tags: tags), to: "a.tif"))
    }
    #expect(try !reader(3, extra: nil).hasAlpha)
    for alpha in [1, 2] {
      let image = try reader(4, extra: alpha)
      #expect(try image.hasAlpha && image.image(as: UInt8.self).samples == [0, 1, 2, 4, 5, 6])
    }
    for (channels, extra) in [(4, 0), (4, nil), (5, 1)] {
      #expect {
        _ = try reader(channels, extra: extra)
      } throws: {
        ($0 as? FileError)?.reason == "TIFF: \(channels) channels are neither grey nor RGB"
      }
    }
    var builder = PNGBuilder(width: 1, height: 1, colourType: 6)
    let path = folder.file("a.png")
    try folder.write(builder.file(rows: [[1, 2, 3, 4]]), to: "a.png")
    #expect(try ImageReader(path: path).hasAlpha)
    builder.colourType = 2
    try folder.write(builder.file(rows: [[1, 2, 3]]), to: "a.png")
    #expect(try !ImageReader(path: path).hasAlpha)
  }

  /// Samples behind the page's, which only other programs know of, are not passed over.
  @Test func imagesBehindThePageAreAnError() throws {
    let folder = try TemporaryFolder()
    func reason(_ bytes: [UInt8]) throws -> String? {
      let path = try folder.write(bytes, to: "a.tif")
      do {
        _ = try ImageReader(path: path)
        return nil
      } catch {
        return (error as? FileError)?.reason
      }
    }
    let samples: [UInt8] = [0, 1, 2, 3, 4, 5]
    func stack(_ description: String, behind: Int) -> [UInt8] {
      PagedTIFF.bytes(
        [samples], width: 3, height: 2, description: description,
        behind: [UInt8](repeating: 7, count: behind))
    }
    let imageJ = "ImageJ=1.54f\nimages=100\nslices=100\n"
    #expect(try reason(stack(imageJ, behind: 600))?.contains("more images than the one") == true)
    #expect(
      try reason(stack(#"{"shape": [3, 2, 3], "truncated": true}"#, behind: 12))?
        .contains("more images than the one") == true)
    // It writes so of single images as well.
    #expect(try reason(stack(#"{"shape": [2, 3], "truncated": true}"#, behind: 600)) == nil)
    #expect(try reason(stack(#"{"shape": [1, 2, 3], "truncated": true}"#, behind: 600)) == nil)
    #expect(try reason(stack(#"{"shape": [3, 2, 3]}"#, behind: 600)) == nil)
    // Taken out of a stack, with its description.
    #expect(try reason(stack(imageJ, behind: 0)) == nil)
    #expect(try reason(stack("ImageJ=1.54f\n", behind: 600)) == nil)
    #expect(try reason(stack("images=3\n", behind: 600)) == nil)
    #expect(
      try reason(PagedTIFF.bytes([samples], width: 3, height: 2, tags: [32997: 3]))?
        .contains("a volume of 3 slices") == true)
  }
}
