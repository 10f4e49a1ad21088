import Foundation
import Imaging
import TestSupport
import Testing

struct ImageReaderTests {
  /// The whole image at once, and in uneven bands with a halo, is what the formula says.
  func check<Sample: ImageSample>(_ name: String, _ expected: Raster<Sample>) throws {
    let reader = try ImageReader(path: Fixtures.path(name))
    #expect(reader.sampleType == Sample.sampleType)
    #expect(reader.size == "\(expected.width)x\(expected.height)x\(expected.channels)")
    #expect(reader.pageCount == 1)
    #expect(try reader.image(as: Sample.self) == expected, "\(name)")
    for size in [1, 4, 16] {
      for start in stride(from: 0, to: expected.height, by: size) {
        let rows = max(0, start - 3)..<min(expected.height, start + size + 3)
        let perRow = expected.width * expected.channels
        let part = Array(expected.samples[rows.lowerBound * perRow..<rows.upperBound * perRow])
        #expect(try reader.rows(rows, as: Sample.self).samples == part, "\(name) \(rows)")
      }
    }
  }

  @Test(arguments: ["grey8-none", "grey8-packbits", "grey8-tiles-lzw", "white8-deflate"])
  func grey8(name: String) throws {
    try check("\(name).tif", Fixtures.image(UInt8.self))
  }

  @Test(arguments: [
    "grey16-lzw.tif", "grey16-big-endian.tif", "grey16-none-bigtiff.tif", "white16-none.tif",
    "grey-alpha16-none.tif", "grey16.png",
  ])
  func grey16(name: String) throws {
    try check(name, Fixtures.image(UInt16.self))
  }

  @Test(arguments: ["grey32-deflate-predictor", "grey32-tiles-bigtiff"])
  func greyFloat(name: String) throws {
    try check("\(name).tif", Fixtures.image(Float.self))
  }

  @Test(arguments: ["rgb8-lzw-predictor", "rgb8-planar-deflate", "rgba8-deflate"])
  func rgb8(name: String) throws {
    try check("\(name).tif", Fixtures.image(UInt8.self, channels: 3))
  }

  @Test(arguments: ["rgb16-tiles-deflate.tif", "rgb16-planar-tiles.tif", "rgb16.png", "rgba16.png"])
  func rgb16(name: String) throws {
    try check(name, Fixtures.image(UInt16.self, channels: 3))
  }

  @Test func rgbFloat() throws {
    try check("rgb32-none.tif", Fixtures.image(Float.self, channels: 3))
  }

  @Test func paletteBecomesRGB() throws {
    let index = Fixtures.image(UInt8.self)
    let colours = index.samples.flatMap { [$0, 255 - $0, UInt8(Int($0) * 5 % 256)] }
    try check(
      "palette8-none.tif",
      Image(width: index.width, height: index.height, channels: 3, samples: colours))
  }

  @Test func jpegInTIFF() throws {
    let colour = try ImageReader(path: Fixtures.path("rgb8-jpeg-ycbcr.tif"))
    let grey = try ImageReader(path: Fixtures.path("grey8-jpeg.tif"))
    #expect(colour.size == "48x32x3")
    #expect(grey.size == "48x32x1")
    let (pixels, levels) = (try colour.image(as: UInt8.self), try grey.image(as: UInt8.self))
    var (worst, worstGrey) = (0, 0)
    for y in 0..<32 {
      for x in 0..<48 {
        for (c, value) in [x * 5, y * 7, 128].enumerated() {
          worst = max(worst, abs(Int(pixels.samples[(y * 48 + x) * 3 + c]) - value))
        }
        worstGrey = max(worstGrey, abs(Int(levels.samples[y * 48 + x]) - x * 5))
      }
    }
    // Colours have half the resolution there.
    #expect(worst <= 24)
    #expect(worstGrey <= 4)
  }

  @Test func jpegFile() throws {
    let folder = try TemporaryFolder()
    try AtomicFile.write(JPEGFixtures.rgb, to: folder.file("a"))
    let reader = try ImageReader(path: folder.file("a"))
    #expect(reader.format == .jpeg)
    #expect(reader.sampleType == .uint8)
    let image = try ImageFile.read(folder.file("a"))
    #expect(try reader.rows(3..<7, as: UInt8.self).samples == Array(image.samples[144..<336]))
  }

  @Test func pagesDiffer() throws {
    let reader = try ImageReader(path: Fixtures.path("pages.tif"))
    #expect(reader.pageCount == 3)
    #expect(try reader.image(as: UInt8.self) == Fixtures.image(UInt8.self))
    try reader.turn(to: 2)
    #expect(try reader.image() == Fixtures.image(Float.self, width: 5, height: 40))
    try reader.turn(to: 1)
    let second = Fixtures.image(UInt16.self, channels: 3, width: 18, height: 11)
    #expect(try reader.image(as: UInt16.self) == second)
    #expect(
      try ImageReader(path: Fixtures.path("pages.tif"), page: 1).image(as: UInt16.self) == second)
    #expect(failure { try reader.turn(to: 3) }.hasSuffix("pages.tif: no page 4, it has 3 pages"))
    // As before.
    #expect(try reader.image(as: UInt16.self) == second)
    let png = Fixtures.path("grey16.png")
    #expect(
      failure { _ = try ImageReader(path: png, page: 1) } == "\(png): no page 2, it has 1 page")
  }

  /// One strip larger than 8 MiB goes through rows that are kept, also when going back far.
  @Test func largeStripByRowsForwardsAndBack() throws {
    let reader = try ImageReader(path: Fixtures.path("large-strip-deflate.tif"))
    #expect(reader.size == "3000x2900x1")
    func isRight(_ rows: Range<Int>) throws -> Bool {
      let band = try reader.rows(rows, as: UInt8.self)
      return rows.enumerated().allSatisfy { index, y in
        (0..<3000).allSatisfy { x in
          band.samples[index * 3000 + x] == UInt8((x + 3 * y) & 15)
        }
      }
    }
    for rows in [5..<20, 10..<40, 2000..<2100, 1950..<2200, 2899..<2900, 0..<1, 2890..<2900] {
      #expect(try isRight(rows), "\(rows)")
    }
  }

  /// A PNG of more rows than are kept, read backwards.
  @Test func pngGoesBack() throws {
    let folder = try TemporaryFolder()
    let image = Fixtures.image(UInt16.self, channels: 3, width: 3000, height: 2000)
    try RowWriter.write(image, to: folder.file("a.png"))
    let reader = try ImageReader(path: folder.file("a.png"))
    for rows in [1990..<2000, 1500..<1600, 0..<3, 1999..<2000] {
      #expect(
        try reader.rows(rows, as: UInt16.self).samples
          == Array(image.samples[rows.lowerBound * 9000..<rows.upperBound * 9000]))
    }
  }

  /// A file that is saved again, in place, between being opened and being read: its rows are longer
  /// than what there is memory for.
  @Test(arguments: ["png", "tif"]) func changedWhileRead(kind: String) throws {
    let folder = try TemporaryFolder()
    let path = folder.file("a.\(kind)")
    func write(_ width: Int, over path: String) throws {
      let height = kind == "tif" ? 9 << 20 / width : 8
      let image = Fixtures.image(UInt8.self, channels: 1, width: width, height: height)
      try RowWriter.write(image, to: folder.file("new.\(kind)"))
      let file = try #require(FileHandle(forWritingAtPath: path))
      try file.truncate(atOffset: 0)
      try file.write(contentsOf: Data(contentsOf: URL(fileURLWithPath: folder.file("new.\(kind)"))))
    }
    if kind == "tif" {
      try FileManager.default.copyItem(
        atPath: Fixtures.path("large-strip-deflate.tif"), toPath: path)
    } else {
      #expect(FileManager.default.createFile(atPath: path, contents: nil))
      try write(64, over: path)
    }
    let reader = try ImageReader(path: path)
    let rows = try reader.rows(0..<8, as: UInt8.self).samples
    let other = try ImageReader(path: path)
    // As many as can come of the bytes that there were.
    try write(4000, over: path)
    let error = #expect(throws: FileError.self) { try other.rows(0..<8, as: UInt8.self) }
    #expect(rows.count != 4000 * 8)
    // libtiff keeps what the first reader was told of the page; the pixels are no longer there.
    if kind == "png" { #expect(error?.reason == "the file was changed while it was read") }
  }

  @Test func interlacedPNG() throws {
    let folder = try TemporaryFolder()
    var builder = PNGBuilder(width: 2, height: 2, bitDepth: 16)
    builder.isInterlaced = true
    try AtomicFile.write(
      builder.file(data: [0, 1, 2, 0, 3, 4, 0, 5, 6, 7, 8]), to: folder.file("a.png"))
    let reader = try ImageReader(path: folder.file("a.png"))
    #expect(try reader.image(as: UInt16.self).samples == [0x0102, 0x0304, 0x0506, 0x0708])
    #expect(try reader.rows(1..<2, as: UInt16.self).samples == [0x0506, 0x0708])
  }

  @Test func samplesWidenUnchangedAndAreNeverNarrowed() throws {
    let deep = try ImageReader(path: Fixtures.path("grey16-lzw.tif"))
    let expected = Fixtures.image(UInt16.self).samples.map(Float.init)
    #expect(try deep.image().samples == expected)
    #expect(
      failure { _ = try deep.image(as: UInt8.self) }
        == "\(deep.path): 16-bit samples where 8-bit ones are wanted")
    let shallow = try ImageReader(path: Fixtures.path("grey8-none.tif"))
    let bytes = Fixtures.image(UInt8.self).samples
    #expect(try shallow.image(as: UInt16.self).samples == bytes.map(UInt16.init))
    #expect(try shallow.image().samples == bytes.map(Float.init))
    let float = try ImageReader(path: Fixtures.path("rgb32-none.tif"))
    #expect(
      failure { _ = try float.image(as: UInt16.self) }
        == "\(float.path): 32-bit floating-point samples where 16-bit ones are wanted")
  }

  @Test(arguments: [
    ("int16", "16-bit signed samples are not read"),
    ("uint32", "32-bit unsigned samples are not read"),
    ("float64", "64-bit floating-point samples are not read"),
    ("bilevel", "1-bit unsigned samples are not read"),
    ("cmyk", "CMYK is not read, only grey, RGB and palette"),
    ("channels", "2 channels are neither grey nor RGB"),
    ("white32", "floating-point samples with 0 as white are not read"),
    ("webp", "compression 50001 (WebP) is not read"),
  ])
  func otherKindsAreRefusedByName(name: String, words: String) {
    let path = Fixtures.path("refused-\(name).tif")
    let found = failure { _ = try ImageReader(path: path) }
    #expect(found.hasPrefix("\(path): TIFF: \(words)"), "\(found)")
  }

  @Test func notAnImage() throws {
    let folder = try TemporaryFolder()
    let path = folder.file("a.tif")
    for bytes in [[], Array("II*".utf8), Array("hello, world".utf8)] {
      try AtomicFile.write(bytes, to: path)
      #expect(
        failure { _ = try ImageReader(path: path) }
          == "\(path): neither a TIFF nor a PNG nor a JPEG image")
    }
    try AtomicFile.write([0x49, 0x49, 0x2A, 0, 8, 0, 0, 0], to: path)
    #expect(failure { _ = try ImageReader(path: path) }.hasPrefix("\(path): TIFF: "))
    let absent = folder.file("absent.tif")
    #expect(
      failure { _ = try ImageReader(path: absent) }
        == "\(absent): cannot open: No such file or directory")
  }

  static let fields = URL(fileURLWithPath: #filePath)
    .appendingPathComponent("../../../../shared/data/bbbc039").standardizedFileURL.path
  static let hasFields = FileManager.default.fileExists(atPath: fields)
  static let isRequired = ProcessInfo.processInfo.environment["SPARROW_REQUIRE_DATA"] == "1"

  @Test(.enabled(if: hasFields || isRequired, "no shared/data/bbbc039 beside the package"))
  func fieldsOfNuclei() throws {
    let folder = "\(Self.fields)/test/images"
    let names = try FileManager.default.contentsOfDirectory(atPath: folder).sorted()
    #expect(names.count == 16)
    for name in names {
      let reader = try ImageReader(path: "\(folder)/\(name)")
      #expect(reader.sampleType == .uint16)
      #expect(reader.size == "696x520x1")
      let largest = try reader.image(as: UInt16.self).samples.max() ?? 0
      #expect((200...4095).contains(largest), "\(name): \(largest)")
    }
  }
}
