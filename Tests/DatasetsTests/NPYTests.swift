import Datasets
import Foundation
import Imaging
import TestSupport
import Testing

struct NPYTests {
  private let folder: TemporaryFolder

  init() throws { folder = try TemporaryFolder() }

  private func file(version: UInt8, _ header: String, _ data: [UInt8]) -> [UInt8] {
    let count = header.utf8.count
    let length: [UInt8] =
      version == 1 ? [UInt8(count & 255), UInt8(count >> 8)] : [UInt8(count & 255), 0, 0, 0]
    return [0x93] + Array("NUMPY".utf8) + [version, 0] + length + Array(header.utf8) + data
  }

  @Test func rowsWrittenInPiecesReadBack() throws {
    let path = folder.file("a.npy")
    let writer = try NPYWriter(path: path, element: Float.self, rowShape: [2])
    for row in 0..<1000 { try writer.append([Float(row), Float(row) + 0.5]) }
    // Not there until it is whole.
    #expect(!FileManager.default.fileExists(atPath: path))
    try writer.close()
    let array = try NPY.read(Float.self, from: path)
    #expect(array.shape == [1000, 2])
    #expect(array.values[1998...1999] == [999, 999.5])
    #expect(folder.names == ["a.npy"])
    // The elements start at a multiple of 64 bytes.
    #expect(try (bytes(of: path).count - 8000) % 64 == 0)
  }

  @Test func theBytesAreThoseOfTheFormat() throws {
    let path = folder.file("a.npy")
    let writer = try NPYWriter(path: path, element: UInt8.self, rowShape: [])
    try writer.append([1, 2, 3])
    try writer.close()
    let header = "{'descr': '|u1', 'fortran_order': False, 'shape': (3,), }"
    let padded = header + String(repeating: " ", count: 128 - 10 - header.utf8.count - 1) + "\n"
    #expect(try bytes(of: path) == file(version: 1, padded, [1, 2, 3]))
  }

  @Test func readsBothVersionsAndNumPysSpellings() throws {
    let cases: [(UInt8, String)] = [
      (1, "{'descr': '<i8', 'fortran_order': False, 'shape': (1, 2), }   \n"),
      (2, "{\"shape\":(1,2),\"fortran_order\":False,\"descr\":\"<i8\"}"),
    ]
    for (version, header) in cases {
      let data: [UInt8] = [1, 0, 0, 0, 0, 0, 0, 0] + [UInt8](repeating: 255, count: 8)
      let path = try folder.write(file(version: version, header, data), to: "i.npy")
      #expect(
        try NPY.read(Int64.self, from: path) == NPYArray(shape: [1, 2], values: [1, -1]))
      #expect(
        try NPY.readHeader(path)
          == NPY.Header(elementDescription: "<i8", isFortranOrder: false, shape: [1, 2]))
    }
    let scalar = file(version: 1, "{'descr': '|u1', 'fortran_order': False, 'shape': ()}", [7])
    #expect(
      try NPY.read(UInt8.self, from: folder.write(scalar, to: "s"))
        == NPYArray(shape: [], values: [7]))
    let empty = file(version: 1, "{'descr': '|u1', 'fortran_order': True, 'shape': (0,)}", [])
    #expect(
      try NPY.read(UInt8.self, from: folder.write(empty, to: "e"))
        == NPYArray(shape: [0], values: []))
  }

  @Test func errorsSayWhatIsWrong() throws {
    let good = "{'descr': '|u1', 'fortran_order': False, 'shape': (2,), }"
    let cases: [([UInt8], String)] = [
      ([], "byte 0: not an NPY file"),
      (Array("not an npy file".utf8), "byte 0: not an NPY file"),
      (file(version: 3, good, [1, 2]), "byte 6: NPY version 3.0, only 1.0 and 2.0 are read"),
      (
        file(version: 1, good.replacingOccurrences(of: "|u1", with: "<f8"), [1, 2]),
        "byte 67: element type '<f8', expected '|u1'"
      ),
      (
        file(version: 1, "{'descr': '|u1', 'fortran_order': True, 'shape': (1, 1)}", [1]),
        "byte 66: the array is in Fortran's order, only C's order is read"
      ),
      (
        file(version: 1, good, [1]),
        "byte 68: truncated: the header promises 2 bytes after byte 67"
      ),
      (file(version: 1, good, [1, 2, 3]), "byte 69: bytes follow the 2 elements"),
      (
        file(version: 1, good.replacingOccurrences(of: "(2,)", with: "(-2,)"), [1, 2]),
        "byte 61: the header is not the dictionary that NumPy writes"
      ),
      (
        file(
          version: 1,
          good.replacingOccurrences(of: "(2,)", with: "(4294967296,4294967296,4294967296)"), []),
        "elements, more than the file can hold"
      ),
      (Array(file(version: 1, good, [])[..<30]), "byte 30: the header is truncated"),
    ]
    for (bytes, expected) in cases {
      let path = try folder.write(bytes, to: "bad.npy")
      let found = message { try NPY.read(UInt8.self, from: path) }
      #expect(found.hasPrefix("\(path): "))
      #expect(found.contains(expected), "\(found)")
    }
  }

  @Test func abandonedWriterLeavesNothing() throws {
    do {
      let writer = try NPYWriter(
        path: folder.file("a.npy"), element: Int64.self, rowShape: [1])
      try writer.append([1])
    }
    #expect(folder.names.isEmpty)
    #expect(throws: FileError.self) {
      try NPYWriter(path: folder.file("absent/a.npy"), element: UInt8.self, rowShape: [1])
    }
  }

  @Test func damagedInputsNeverCrash() throws {
    let seed = file(
      version: 1, "{'descr': '|u1', 'fortran_order': False, 'shape': (2,), }\n", [1, 2])
    let path = folder.file("fuzz")
    var good = 0
    func attempt(_ bytes: [UInt8]) throws {
      try AtomicFile.write(bytes, to: path)
      do {
        let array = try NPY.read(UInt8.self, from: path)
        #expect(array.shape.reduce(1, *) == array.values.count)
        good += 1
      } catch {
        #expect(error is FileError)
      }
    }
    for length in seed.indices { try attempt(Array(seed[..<length])) }
    for byte in seed.indices {
      for bit in 0..<8 {
        var damaged = seed
        damaged[byte] ^= 1 << bit
        try attempt(damaged)
      }
    }
    #expect(good >= 16)
  }
}
