import Foundation
import Imaging
import TestSupport
import Testing

struct ImageFileTests {
  static func reason(_ body: () throws -> Image) -> String {
    do {
      let image = try body()
      return "no error, \(image.width)x\(image.height)"
    } catch let error as FileError {
      return error.description
    } catch {
      return "another error: \(error)"
    }
  }

  // MARK: PNG

  @Test(arguments: [1, 2, 4, 8])
  func greyOfAnyDepthFillsTheRange(depth: Int) throws {
    // Pixels 0 and the largest value, then black to the row's end.
    let rows: [[UInt8]] =
      depth == 8 ? [[0, 255]] : [[UInt8(((1 << depth) - 1) << (8 - 2 * depth))]]
    let bytes = PNGBuilder(width: 2, height: 1, bitDepth: depth).file(rows: rows)
    let image = try ImageFile.decode(bytes, path: "a.png")
    #expect(image == Image(width: 2, height: 1, channels: 1, samples: [0, 255]))
  }

  @Test func sixteenBitsAreScaledNotCut() throws {
    // 0x00FF = 255 is 0.99 of 257, so it rounds to 1; its upper byte alone would be 0.
    let rows: [[UInt8]] = [[0x00, 0xFF, 0xFF, 0xFF, 0x80, 0x80]]
    let bytes = PNGBuilder(width: 3, height: 1, bitDepth: 16).file(rows: rows)
    #expect(try ImageFile.decode(bytes, path: "a.png").samples == [1, 255, 128])
  }

  @Test func alphaIsDropped() throws {
    let grey = PNGBuilder(width: 2, height: 1, colourType: 4).file(rows: [[7, 0, 9, 128]])
    #expect(
      try ImageFile.decode(grey, path: "")
        == Image(width: 2, height: 1, channels: 1, samples: [7, 9]))
    let colour = PNGBuilder(width: 1, height: 2, colourType: 6)
      .file(rows: [[1, 2, 3, 0], [4, 5, 6, 255]])
    #expect(
      try ImageFile.decode(colour, path: "")
        == Image(width: 1, height: 2, channels: 3, samples: [1, 2, 3, 4, 5, 6]))
  }

  /// Some cameras leave those numbers of a scan 0 that mean something in a progressive file alone.
  @Test func zeroesInAScansHeaderAreNoDamage() throws {
    var bytes = JPEGFixtures.rgb
    let scan = try #require(
      (0..<bytes.count - 1).first { bytes[$0] == 0xFF && bytes[$0 + 1] == 0xDA })
    // Behind the marker, the length, and the components: 0, 63, 0.
    let place = scan + 5 + 2 * Int(bytes[scan + 4])
    #expect(Array(bytes[place..<place + 3]) == [0, 63, 0])
    bytes[place + 1] = 0
    #expect(
      try ImageFile.decode(bytes, path: "") == ImageFile.decode(JPEGFixtures.rgb, path: ""))
  }

  @Test func paletteBecomesRGBWithAndWithoutTransparency() throws {
    var builder = PNGBuilder(width: 2, height: 1, bitDepth: 4, colourType: 3)
    builder.palette = [1, 2, 3, 40, 50, 60]
    let expected = Image(width: 2, height: 1, channels: 3, samples: [40, 50, 60, 1, 2, 3])
    #expect(try ImageFile.decode(builder.file(rows: [[0x10]]), path: "") == expected)
    builder.transparency = [0, 128]
    #expect(try ImageFile.decode(builder.file(rows: [[0x10]]), path: "") == expected)
  }

  @Test func interlacedIsPutInOrder() throws {
    // 2x2 by Adam7: pass 1 holds (0,0), pass 6 (1,0), pass 7 the second row.
    var builder = PNGBuilder(width: 2, height: 2)
    builder.isInterlaced = true
    let bytes = builder.file(data: [0, 10, 0, 20, 0, 30, 40])
    #expect(try ImageFile.decode(bytes, path: "").samples == [10, 20, 30, 40])
  }

  @Test func writtenFileReadsBackAndIsAlwaysTheSame() throws {
    let folder = try TemporaryFolder()
    for channels in [1, 3] {
      let samples = (0..<13 * 7 * channels).map { UInt8(truncatingIfNeeded: $0 &* 37) }
      let image = Image(width: 13, height: 7, channels: channels, samples: samples)
      try ImageFile.writePNG(image, to: folder.file("a.png"))
      try ImageFile.writePNG(image, to: folder.file("b.png"))
      #expect(try ImageFile.read(folder.file("a.png")) == image)
      let a = try InputFile.bytes(of: folder.file("a.png"), maximum: 1 << 20)
      #expect(try a == InputFile.bytes(of: folder.file("b.png"), maximum: 1 << 20))
    }
    #expect(folder.names == ["a.png", "b.png"])
  }

  @Test func hugePromisesAreRefusedBeforeAllocation() {
    var builder = PNGBuilder(width: 1 << 15, height: (1 << 13) + 1)
    #expect(
      Self.reason { try ImageFile.decode(builder.file(rows: [[0]]), path: "big.png") }
        == "big.png: PNG: 32768x8193 is more than 268435456 pixels")
    builder.height = 1 << 13
    let bytes = builder.file(rows: [[0]])
    #expect(
      Self.reason { try ImageFile.decode(bytes, path: "bomb.png") }
        == "bomb.png: PNG: 32768x8192 pixels cannot come from \(bytes.count) bytes")
  }

  @Test func damagedPNGIsNamedInTheCodecsWords() throws {
    let bytes = PNGBuilder(width: 2, height: 1).file(rows: [[1, 2]])
    #expect(
      Self.reason { try ImageFile.decode(Array(bytes.dropLast(20)), path: "x.png") }
        == "x.png: PNG: the file ends early")
    var flipped = bytes
    flipped[17] ^= 1
    #expect(
      Self.reason { try ImageFile.decode(flipped, path: "x.png") } == "x.png: PNG: IHDR: CRC error")
    let short = PNGBuilder(width: 2, height: 2).file(rows: [[1, 2]])
    #expect(Self.reason { try ImageFile.decode(short, path: "x.png") }.contains("Not enough"))
  }

  // MARK: JPEG

  @Test func greyJPEGStaysGrey() throws {
    let image = try ImageFile.decode(JPEGFixtures.grey, path: "a.jpg")
    #expect((image.width, image.height, image.channels) == (16, 8, 1))
    for (index, sample) in image.samples.enumerated() {
      #expect(abs(Int(sample) - index % 16 * 16) <= 6)
    }
  }

  /// Every block of a JPEG takes a bit at least.
  @Test(arguments: [JPEGFixtures.grey, JPEGFixtures.rgb, JPEGFixtures.progressive])
  func jpegThatPromisesTooMuch(bytes: [UInt8]) throws {
    let frames = bytes.indices.dropLast(9).filter {
      bytes[$0] == 0xFF && [0xC0, 0xC2].contains(bytes[$0 + 1])
    }
    var damaged = bytes
    let frame = try #require(frames.first)
    damaged.replaceSubrange(frame + 5..<frame + 9, with: [0x40, 0, 0x40, 0])
    let reason = Self.reason { try ImageFile.decode(damaged, path: "a.jpg") }
    #expect(reason == "a.jpg: JPEG: 16384x16384 pixels cannot come from \(bytes.count) bytes")
  }

  @Test(arguments: [JPEGFixtures.rgb, JPEGFixtures.progressive])
  func colourJPEGIsRGB(bytes: [UInt8]) throws {
    let image = try ImageFile.decode(bytes, path: "a.jpg")
    #expect((image.width, image.height, image.channels) == (16, 8, 3))
    for index in 0..<128 {
      let pixel = image.samples[3 * index..<3 * index + 3].map { Int($0) }
      for (found, expected) in zip(pixel, [index % 16 * 16, index / 16 * 32, 200]) {
        #expect(abs(found - expected) <= 12)
      }
    }
  }

  @Test func cmykIsAnError() {
    #expect(
      Self.reason { try ImageFile.decode(JPEGFixtures.cmyk, path: "c.jpg") }
        == "c.jpg: JPEG: CMYK colours (4 components) are not read")
  }

  @Test func truncatedJPEGIsAnErrorAndNotPaintedOver() {
    let bytes = Array(JPEGFixtures.rgb.dropLast(20))
    let reason = Self.reason { try ImageFile.decode(bytes, path: "t.jpg") }
    #expect(reason == "t.jpg: JPEG: Premature end of JPEG file")
  }

  // MARK: Files

  @Test func contentDecidesNotTheName() throws {
    let folder = try TemporaryFolder()
    let path = folder.file("really-a-jpeg.png")
    try AtomicFile.write(JPEGFixtures.grey, to: path)
    #expect(try ImageFile.format(of: path) == .jpeg)
    #expect(try ImageFile.read(path).width == 16)
  }

  @Test func readErrorsNameThePath() throws {
    let folder = try TemporaryFolder()
    let absent = folder.file("absent.png")
    #expect(
      Self.reason { try ImageFile.read(absent) }
        == "\(absent): cannot open: No such file or directory")
    #expect(
      Self.reason { try ImageFile.read(folder.path) }
        == "\(folder.path): cannot open: it is a folder")
    let text = folder.file("text.png")
    try AtomicFile.write(Array("hello".utf8), to: text)
    #expect(
      Self.reason { try ImageFile.read(text) } == "\(text): neither a PNG nor a JPEG image")
    try AtomicFile.write([], to: text)
    #expect(
      Self.reason { try ImageFile.read(text) } == "\(text): neither a PNG nor a JPEG image")
  }

  @Test func writeErrorsNameThePathAndLeaveNothing() throws {
    let folder = try TemporaryFolder()
    let image = Image(width: 1, height: 1, channels: 1, samples: [0])
    for path in [folder.file("absent/a.png"), folder.path, "/dev/null"] {
      let error = #expect(throws: FileError.self) { try ImageFile.writePNG(image, to: path) }
      #expect(error?.description.hasPrefix("\(path): cannot write: ") == true)
    }
    #expect(folder.names.isEmpty)
  }

  @Test func uncommittedFileLeavesWhatWasThere() throws {
    let folder = try TemporaryFolder()
    let path = folder.file("a")
    try AtomicFile.write([1, 2, 3], to: path)
    do {
      let file = try AtomicFile(path: path)
      try file.write([9])
      #expect(folder.names.count == 2)
    }
    #expect(folder.names == ["a"])
    #expect(try InputFile.bytes(of: path, maximum: 3) == [1, 2, 3])
    let file = try AtomicFile(path: path)
    try file.write([9, 9, 9, 9])
    try file.rewriteStart([8])
    try file.write([7])
    try file.commit()
    #expect(try InputFile.bytes(of: path, maximum: 5) == [8, 9, 9, 9, 7])
    #expect(throws: FileError.self) { try InputFile.bytes(of: path, maximum: 4) }
  }

  // MARK: Damage

  /// Whatever the bytes, the result is an image or an error; never a crash.
  @Test func damagedInputsNeverCrash() throws {
    var palette = PNGBuilder(width: 5, height: 3, bitDepth: 2, colourType: 3)
    palette.palette = [0, 0, 0, 255, 255, 255, 9, 9, 9, 8, 8, 8]
    let seeds = [
      PNGBuilder(width: 4, height: 3).file(
        rows: [[1, 2, 3, 4], [5, 6, 7, 8], [9, 10, 11, 12]]),
      palette.file(rows: [[0x1B, 0x40], [0xE4, 0x80], [0, 0]]),
      JPEGFixtures.grey, JPEGFixtures.rgb, JPEGFixtures.progressive, JPEGFixtures.cmyk,
    ]
    var errors = 0
    var images = 0
    func attempt(_ bytes: [UInt8]) {
      do {
        let image = try ImageFile.decode(bytes, path: "fuzz")
        #expect(image.samples.count == image.width * image.height * image.channels)
        images += 1
      } catch {
        #expect(error is FileError)
        errors += 1
      }
    }
    for seed in seeds {
      for length in 0..<seed.count { attempt(Array(seed[..<length])) }
      for byte in seed.indices {
        for bit in 0..<8 {
          var damaged = seed
          damaged[byte] ^= 1 << bit
          attempt(damaged)
        }
      }
    }
    // Both happen: the loop does more than refuse everything.
    #expect(errors > 1000)
    #expect(images > 100)
  }
}
