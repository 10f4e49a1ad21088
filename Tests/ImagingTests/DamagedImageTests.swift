import Foundation
import Imaging
import TestSupport
import Testing

/// Damaged files end in one error that names the path or in an image; never in a crash, a hang, or
/// pixels that are not in the file.
struct DamagedImageTests {
  static let seeds = [
    "grey8-none.tif", "grey8-packbits.tif", "grey16-lzw.tif", "grey16-none-bigtiff.tif",
    "grey32-deflate-predictor.tif", "white8-deflate.tif", "grey8-tiles-lzw.tif",
    "grey32-tiles-bigtiff.tif", "rgb8-lzw-predictor.tif", "rgb16-tiles-deflate.tif",
    "rgba8-deflate.tif", "rgb8-planar-deflate.tif", "rgb16-planar-tiles.tif", "palette8-none.tif",
    "rgb8-jpeg-ycbcr.tif", "grey8-jpeg.tif", "pages.tif", "grey16.png", "rgb16.png",
  ]

  /// Reads every row of every page, where they are not too many.
  static func readAll(_ path: String) throws -> [Float] {
    let reader = try ImageReader(path: path)
    var samples: [Float] = []
    for page in 0..<reader.pageCount {
      try reader.turn(to: page)
      let rows = max(1, min(reader.height, (1 << 20) / (reader.width * reader.channels)))
      // A header that promises a billion rows is believed row by row only.
      var start = 0
      while start < min(reader.height, 4 * rows) {
        let end = min(reader.height, start + rows)
        guard reader.width * reader.channels <= 1 << 22 else { break }
        samples += try reader.rows(start..<end).samples
        start = end
      }
    }
    return samples
  }

  enum Outcome: Equatable {
    case same, other, error
  }

  /// - Returns: what came of the file at `path`.
  static func attempt(_ path: String, intact: [Float]) throws -> Outcome {
    do {
      let samples = try readAll(path)
      return samples == intact ? .same : .other
    } catch let error as FileError {
      let text = error.description
      #expect(text.hasPrefix("\(path): "))
      #expect(text.utf8.allSatisfy { $0 >= 32 && $0 < 127 }, "\(text)")
      return .error
    }
  }

  @Test(arguments: seeds)
  func truncatedAnywhereIsAnErrorOrWhole(name: String) throws {
    let folder = try TemporaryFolder()
    let bytes = try InputFile.bytes(of: Fixtures.path(name), maximum: 1 << 20)
    let intact = try Self.readAll(Fixtures.path(name))
    let path = folder.file("a")
    try Data(bytes).write(to: URL(fileURLWithPath: path))
    var errors = 0
    // From the end, so that the one file only has to be cut.
    for length in (0..<bytes.count).reversed() {
      try #require(truncate(path, length) == 0)
      let outcome = try Self.attempt(path, intact: intact)
      // Tags that only describe, and the zeros that end a list of pages, may be missed.
      #expect(outcome != .other, "\(name) cut to \(length) of \(bytes.count) bytes")
      if outcome == .error { errors += 1 }
    }
    #expect(errors > bytes.count * 9 / 10)
  }

  @Test(arguments: seeds)
  func flippedBitsNeverCrash(name: String) throws {
    let folder = try TemporaryFolder()
    let bytes = try InputFile.bytes(of: Fixtures.path(name), maximum: 1 << 20)
    let intact = try Self.readAll(Fixtures.path(name))
    let path = folder.file("a")
    try Data(bytes).write(to: URL(fileURLWithPath: path))
    let file = try #require(FileHandle(forUpdatingAtPath: path))
    func put(_ byte: UInt8, at place: Int) throws {
      try file.seek(toOffset: UInt64(place))
      try file.write(contentsOf: Data([byte]))
    }
    var outcomes: [Outcome] = []
    var state: UInt64 = 0x5EED
    func random(below count: Int) -> Int {
      state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
      return Int(state >> 33) % count
    }
    for round in 0..<400 {
      var places: Set<Int> = []
      // Half of them in the tags, which are few: at the start here, or at the end.
      for _ in 0...random(below: 3) {
        let place =
          switch round % 4 {
          case 0: random(below: min(300, bytes.count))
          case 1: bytes.count - 1 - random(below: min(300, bytes.count))
          default: random(below: bytes.count)
          }
        places.insert(place)
        try put(bytes[place] ^ 1 << UInt8(random(below: 8)), at: place)
      }
      outcomes.append(try Self.attempt(path, intact: intact))
      for place in places { try put(bytes[place], at: place) }
    }
    // The loop does more than refuse everything or read what is intact.
    #expect(outcomes.count { $0 == .error } > 20)
    // Everything in a PNG is checked, nothing in a TIFF but some streams.
    #expect(name.hasSuffix(".png") || outcomes.count { $0 != .error } > 5)
  }

  /// Checked streams notice every flip in what they hold.
  @Test func damagedDeflateIsNoticedInEveryBand() throws {
    let folder = try TemporaryFolder()
    let path = folder.file("a.tif")
    let image = Fixtures.image(UInt8.self, width: 5000, height: 300)
    try RowWriter.write(image, to: path)
    var bytes = try InputFile.bytes(of: path, maximum: 1 << 24)
    bytes[bytes.count / 2] ^= 0x10
    try Data(bytes).write(to: URL(fileURLWithPath: path))
    let reader = try ImageReader(path: path)
    var errors = 0
    for start in stride(from: 0, to: 300, by: 50) {
      do {
        let band = try reader.rows(start..<start + 50, as: UInt8.self)
        #expect(band.samples == Array(image.samples[start * 5000..<(start + 50) * 5000]))
      } catch is FileError {
        errors += 1
      }
    }
    #expect((1...4).contains(errors))
  }

  /// Sizes that lie are refused before anything is allocated for them.
  @Test func hugePromises() throws {
    let folder = try TemporaryFolder()
    let path = folder.file("a.tif")
    let big: UInt32 = 0xFFFF_FFFF
    func reason(
      width: UInt32, height: UInt32, rows: UInt32? = nil, tile: UInt32? = nil, bits: UInt32 = 8
    ) throws -> String {
      var tags: [(UInt16, UInt32)] = [
        (256, width), (257, height), (258, bits), (259, 8), (262, 1), (277, 1),
      ]
      if let tile {
        tags += [(322, tile), (323, tile), (324, 8), (325, 16)]
      } else {
        tags += [(273, 8), (278, rows ?? height), (279, 16)]
      }
      tags.sort { $0.0 < $1.0 }
      var bytes: [UInt8] = [0x49, 0x49, 0x2A, 0, 24, 0, 0, 0] + [UInt8](repeating: 0, count: 16)
      func add<Value: FixedWidthInteger>(_ value: Value) {
        withUnsafeBytes(of: value.littleEndian) { bytes += $0 }
      }
      add(UInt16(tags.count))
      for (tag, value) in tags {
        add(tag)
        add(UInt16(4))
        add(UInt32(1))
        add(value)
      }
      add(UInt32(0))
      try Data(bytes).write(to: URL(fileURLWithPath: path))
      return failure {
        let reader = try ImageReader(path: path)
        _ = try reader.rows(0..<1)
      }
    }
    for (width, height, tile) in [
      (big, big, nil), (big, 1, nil), (1 << 20, big, nil), (big, big, 1 << 30),
      (big, big, 0xFFFF_FFF0), (100, 100, 1 << 17), (16, 16, 0), (0, 5, nil), (5, 0, nil),
    ] as [(UInt32, UInt32, UInt32?)] {
      let text = try reason(width: width, height: height, tile: tile)
      #expect(text.hasPrefix("\(path): TIFF: "), "\(text)")
    }
    // A tile of 256 MiB that deflate cannot make of so few bytes.
    #expect(
      try reason(width: 1 << 14, height: 1 << 14, tile: 1 << 14).contains(
        "tiles of 268435456 bytes cannot come from a file of"))
    // And so many small ones side by side, which are read together.
    #expect(
      try reason(width: 1 << 22, height: 16, tile: 16).contains(
        "a row of tiles of 67108864 bytes cannot come from a file of"))
    #expect(try reason(width: 5, height: 5, bits: 0xFFFF_FFFF).hasPrefix("\(path): TIFF: "))
    // Strips that would be unpacked row by row are held against the file as well.
    #expect(try reason(width: 1 << 16, height: 1 << 16).contains("cannot come from a file of"))
  }

  /// A reader that met damage still reads what is whole.
  @Test func errorsDoNotStick() throws {
    let folder = try TemporaryFolder()
    let path = folder.file("a.tif")
    let bytes = try InputFile.bytes(of: Fixtures.path("large-strip-deflate.tif"), maximum: 1 << 20)
    var damaged = bytes
    for i in 16000..<16010 { damaged[i] = 0xFF }
    try Data(damaged).write(to: URL(fileURLWithPath: path))
    let reader = try ImageReader(path: path)
    for _ in 0..<2 {
      #expect(failure { _ = try reader.rows(2800..<2900) }.hasPrefix("\(path): TIFF: "))
      #expect(try reader.rows(10..<11, as: UInt8.self).samples[..<3] == [14, 15, 0])
    }
  }
}
