import Datasets
import Imaging
import TestSupport
import Testing

struct IDXTests {
  /// Two images of 3x2 pixels.
  static let images: [UInt8] =
    [0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 2, 0, 0, 0, 3] + (1...12).map { UInt8($0) }
  static let labels: [UInt8] = [0, 0, 8, 1, 0, 0, 0, 2, 7, 5]

  private let folder: TemporaryFolder

  init() throws { folder = try TemporaryFolder() }

  @Test(arguments: [false, true])
  func readsImagesAndLabelsPlainAndPacked(isPacked: Bool) throws {
    let pack = { (bytes: [UInt8]) in isPacked ? Gzip.pack(bytes) : bytes }
    // The names say nothing.
    let images = try folder.write(pack(Self.images), to: "images")
    let labels = try folder.write(pack(Self.labels), to: "labels")
    let set = try IDX.readImages(images, labels: labels)
    #expect(
      set
        == ImageSet(
          count: 2, width: 3, height: 2, channels: 1, pixels: Array(1...12), labels: [7, 5]))
    #expect(set.featureCount == 6)
    #expect(
      set.image(at: 1) == Image(width: 3, height: 2, channels: 1, samples: [7, 8, 9, 10, 11, 12]))
  }

  @Test func readsColourOfRankFour() throws {
    let header: [UInt8] = [0, 0, 8, 4, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3]
    let path = try folder.write(header + [1, 2, 3, 4, 5, 6], to: "c.idx")
    let set = try IDX.readImages(path)
    #expect((set.width, set.height, set.channels) == (2, 1, 3))
    #expect(set.pixels == [1, 2, 3, 4, 5, 6])
    var two = header
    two[19] = 2
    let twoPath = try folder.write(two + [1, 2, 3, 4], to: "two.idx")
    #expect(
      message { try IDX.readImages(twoPath) }
        == "\(twoPath): byte 16: 2 channels, only 1 and 3 are read")
  }

  @Test(arguments: ["a.idx", "a.idx.gz"])
  func writtenFilesReadBack(name: String) throws {
    for channels in [1, 3] {
      let pixels = (0..<4 * 5 * 2 * channels).map { UInt8($0) }
      let set = ImageSet(
        count: 4, width: 5, height: 2, channels: channels, pixels: pixels, labels: [3, 2, 1, 0])
      try IDX.writeImages(set, to: folder.file(name))
      try IDX.writeLabels([3, 2, 1, 0], to: folder.file("l" + name))
      #expect(
        try IDX.readImages(folder.file(name), labels: folder.file("l" + name)) == set)
    }
    #expect(try bytes(of: folder.file(name)).starts(with: name.hasSuffix("gz") ? [31, 139] : [0]))
  }

  @Test func contentOfManyBuffersIsWhole() throws {
    let pixels = (0..<1_000_000).map { UInt8(truncatingIfNeeded: $0 &* $0 >> 7) }
    let set = ImageSet(count: 100, width: 100, height: 100, channels: 1, pixels: pixels)
    for name in ["big.idx", "big.idx.gz"] {
      try IDX.writeImages(set, to: folder.file(name))
      #expect(try IDX.readImages(folder.file(name)) == set)
    }
  }

  @Test func joinedGzipMembersAreOneContent() throws {
    let joined = Gzip.pack(Array(Self.images[..<20])) + Gzip.pack(Array(Self.images[20...]))
    #expect(try IDX.readImages(folder.write(joined, to: "a")).pixels == Array(1...12))
  }

  // MARK: Errors

  @Test func everyHeaderErrorNamesItsByte() throws {
    func changed(_ index: Int, _ value: UInt8) -> [UInt8] {
      var bytes = Self.images
      bytes[index] = value
      return bytes
    }
    let cases: [([UInt8], String)] = [
      ([], "byte 0: the file ends within the IDX header"),
      ([0, 0, 8], "byte 3: the file ends within the IDX header"),
      (Array(Self.images[..<10]), "byte 10: the file ends within the IDX header"),
      (
        changed(0, 0x89),
        "byte 0: not an IDX file: it starts with 89 00 instead of 00 00"
      ),
      (changed(2, 0x0D), "byte 2: element type 0d, only 08 (unsigned byte) is read"),
      (Self.labels, "byte 3: rank 1, images have rank 3 or 4"),
      (changed(7, 0), "byte 4: dimension 0 is 0"),
      (changed(11, 0), "byte 8: dimension 1 is 0"),
      (changed(15, 0), "byte 12: dimension 2 is 0"),
    ]
    for (bytes, expected) in cases {
      let path = try folder.write(bytes, to: "bad.idx")
      #expect(message { try IDX.readImages(path) } == "\(path): \(expected)")
    }
    let path = try folder.write(Self.images, to: "images.idx")
    #expect(
      message { try IDX.readLabels(path) } == "\(path): byte 3: rank 3, labels have rank 1")
  }

  @Test func truncatedAndOversizedAreErrors() throws {
    let short = Array(Self.images.dropLast())
    let long = Self.images + [0]
    let promise = "the header promises 2x2x3 = 12 bytes after byte 16"
    let plain = try folder.write(short, to: "short")
    #expect(message { try IDX.readImages(plain) } == "\(plain): byte 27: truncated: \(promise)")
    let packed = try folder.write(Gzip.pack(short), to: "short.gz")
    #expect(message { try IDX.readImages(packed) } == "\(packed): byte 27: truncated: \(promise)")
    for bytes in [long, Gzip.pack(long)] {
      let path = try folder.write(bytes, to: "long")
      #expect(
        message { try IDX.readImages(path) }
          == "\(path): byte 28: bytes follow the 2x2x3 that the header promises")
    }
  }

  @Test func promisesBeyondTheFileAreRefusedBeforeAllocation() throws {
    var bytes = Self.images
    bytes.replaceSubrange(4..<16, with: [UInt8](repeating: 255, count: 12))
    for packed in [bytes, Gzip.pack(bytes)] {
      let path = try folder.write(packed, to: "huge")
      #expect(
        message { try IDX.readImages(path) }.contains("more than a file of this size can hold"))
    }
    // 2^31 pixels do not overflow, but no gzip of 50 bytes holds them.
    bytes.replaceSubrange(4..<16, with: [0, 0, 128, 0, 0, 0, 1, 0, 0, 0, 1, 0])
    let path = try folder.write(Gzip.pack(bytes), to: "huge")
    #expect(
      message { try IDX.readImages(path) }.contains("more than a file of this size can hold"))
  }

  @Test func damagedGzipIsNamed() throws {
    let packed = Gzip.pack(Self.images)
    let cut = try folder.write(Array(packed.dropLast(4)), to: "cut.gz")
    #expect(
      message { try IDX.readImages(cut) }
        == "\(cut): byte \(packed.count - 4): the gzip stream is truncated")
    var wrongSum = packed
    wrongSum[packed.count - 8] ^= 1
    let sum = try folder.write(wrongSum, to: "sum.gz")
    #expect(message { try IDX.readImages(sum) }.contains("damaged: incorrect data check"))
    let tail = try folder.write(packed + [1, 2, 3], to: "tail.gz")
    #expect(
      message { try IDX.readImages(tail) }
        == "\(tail): byte \(packed.count): bytes follow the gzip stream")
  }

  @Test func countsOfImagesAndLabelsMustAgree() throws {
    let images = try folder.write(Self.images, to: "i")
    let labels = try folder.write([0, 0, 8, 1, 0, 0, 0, 1, 7], to: "l")
    #expect(
      message { try IDX.readImages(images, labels: labels) }
        == "\(labels): byte 4: 1 labels, but \(images) holds 2 images")
  }

  /// Whatever the bytes, the result is a set or an error; never a crash.
  @Test func damagedInputsNeverCrash() throws {
    let path = folder.file("fuzz")
    var (good, bad) = (0, 0)
    func attempt(_ bytes: [UInt8]) throws {
      try AtomicFile.write(bytes, to: path)
      do {
        let set = try IDX.readImages(path)
        #expect(set.pixels.count == set.count * set.featureCount)
        good += 1
      } catch {
        #expect(error is FileError)
        bad += 1
      }
    }
    for seed in [Self.images, Gzip.pack(Self.images)] {
      for length in seed.indices { try attempt(Array(seed[..<length])) }
      for byte in seed.indices {
        for bit in 0..<8 {
          var damaged = seed
          damaged[byte] ^= 1 << bit
          try attempt(damaged)
        }
      }
    }
    #expect(good > 50)
    #expect(bad > 100)
  }
}
