import Foundation
import Imaging
import TestSupport
import Testing

struct RowWriterTests {
  /// Written in uneven parts, then read back bit for bit.
  func roundTrip<Sample: ImageSample>(_ image: Raster<Sample>, _ name: String, isBig: Bool? = nil)
    throws
  {
    let folder = try TemporaryFolder()
    let path = folder.file(name)
    let writer = try RowWriter(
      path: path, width: image.width, height: image.height, channels: image.channels,
      sampleType: Sample.sampleType, isBig: isBig)
    let perRow = image.width * image.channels
    var (row, step) = (0, 1)
    while row < image.height {
      let end = min(image.height, row + step)
      try writer.write(Array(image.samples[row * perRow..<end * perRow]))
      (row, step) = (end, step % 7 + 1)
    }
    #expect(folder.names != [name])
    try writer.commit()
    #expect(folder.names == [name])
    let reader = try ImageReader(path: path)
    #expect(reader.sampleType == Sample.sampleType)
    #expect(reader.channels == image.channels)
    let found = try reader.image(as: Sample.self)
    #expect(found.width == image.width && found.height == image.height)
    #expect(
      found.samples.withUnsafeBytes { a in image.samples.withUnsafeBytes { a.elementsEqual($0) } })
    // The same rows, the same bytes.
    try RowWriter.write(image, to: folder.file("2-\(name)"))
    if isBig == nil {
      #expect(
        try InputFile.bytes(of: path, maximum: 1 << 30)
          == InputFile.bytes(of: folder.file("2-\(name)"), maximum: 1 << 30))
    }
  }

  @Test(arguments: [1, 3], [nil, false, true])
  func tiff(channels: Int, isBig: Bool?) throws {
    // Wide enough for several strips, and small ones.
    for (width, height) in [(1, 1), (37, 21), (5000, 300)] {
      try roundTrip(
        Fixtures.image(UInt8.self, channels: channels, width: width, height: height), "a.tif",
        isBig: isBig)
      try roundTrip(
        Fixtures.image(UInt16.self, channels: channels, width: width, height: height), "a.tiff",
        isBig: isBig)
      try roundTrip(
        Fixtures.image(Float.self, channels: channels, width: width, height: height), "a.TIF",
        isBig: isBig)
    }
  }

  @Test func floatsKeepEveryBit() throws {
    let values: [Float] = [
      .nan, .signalingNaN, -.nan, .infinity, -.infinity, -0.0, .leastNonzeroMagnitude, 1 / 3,
    ]
    try roundTrip(Raster(width: 4, height: 2, channels: 1, samples: values), "a.tif")
  }

  @Test(arguments: [1, 3])
  func png(channels: Int) throws {
    for (width, height) in [(1, 1), (37, 21), (700, 300)] {
      try roundTrip(
        Fixtures.image(UInt8.self, channels: channels, width: width, height: height), "a.png")
      try roundTrip(
        Fixtures.image(UInt16.self, channels: channels, width: width, height: height), "a.PNG")
    }
  }

  @Test func bigTIFFIsMarked() throws {
    let folder = try TemporaryFolder()
    for (isBig, mark) in [(true, 0x2B), (false, 0x2A)] {
      let writer = try RowWriter(
        path: folder.file("a.tif"), width: 1, height: 1, channels: 1, sampleType: .uint8,
        isBig: isBig)
      try writer.write([UInt8(7)])
      try writer.commit()
      #expect(try InputFile.bytes(of: folder.file("a.tif"), maximum: 1 << 20)[2] == UInt8(mark))
    }
  }

  @Test func sixteenBitPNGScalesInTheOtherReader() throws {
    let folder = try TemporaryFolder()
    let image = Raster<UInt16>(width: 3, height: 1, channels: 1, samples: [255, 65535, 0x8080])
    try RowWriter.write(image, to: folder.file("a.png"))
    #expect(try ImageFile.read(folder.file("a.png")).samples == [1, 255, 128])
  }

  @Test func nothingIsLeftWithoutCommit() throws {
    let folder = try TemporaryFolder()
    for name in ["a.tif", "a.png"] {
      do {
        let writer = try RowWriter(
          path: folder.file(name), width: 2, height: 2, channels: 1, sampleType: .uint8)
        try writer.write([UInt8(1), 2])
        #expect(writer.rowCount == 1)
      }
      #expect(folder.names.isEmpty)
    }
  }

  @Test func errorsNameThePath() throws {
    let folder = try TemporaryFolder()
    func attempt(_ name: String, width: Int = 1, _ type: SampleType = .uint8) -> String {
      failure {
        _ = try RowWriter(
          path: folder.file(name), width: width, height: 1, channels: 1, sampleType: type)
      }
    }
    #expect(
      attempt("a.jpg")
        == "\(folder.file("a.jpg")): cannot write: its name ends in none of .tif, .tiff, .png")
    #expect(attempt("none/a.tif").hasPrefix("\(folder.file("none/a.tif")): cannot write: "))
    #expect(attempt("a.png", .float32).contains("PNG holds no floating-point samples"))
    #expect(attempt("a.tif", width: 1 << 40).contains("pixels are too many"))
    #expect(folder.names.isEmpty)
  }
}
