import Foundation
import Imaging
import Networks
import RandomNumbers
import TestSupport
import Testing
import Training

private func temporaryPath() -> String {
  FileManager.default.temporaryDirectory.appendingPathComponent(
    "sparrow-\(UUID().uuidString).safetensors"
  ).path
}

private func model() -> ModelFile {
  let configuration = configuration()
  return ModelFile(
    description: ModelDescription(
      training: configuration, normalisation: .unit, imageWidth: 8, imageHeight: 8,
      imageChannels: 1, epochsDone: 3, data: "bars"),
    parameters: configuration.network.initialParameters(seed: 9))
}

@Suite struct ModelFileTests {
  @Test func whatIsWrittenIsRead() throws {
    let path = temporaryPath()
    defer { try? FileManager.default.removeItem(atPath: path) }
    let written = model()
    try written.write(to: path)
    let read = try ModelFile(path: path)
    #expect(read.description == written.description)
    #expect(read.parameters == written.parameters)
  }

  @Test func equalModelsAreEqualFiles() throws {
    let (first, second) = (temporaryPath(), temporaryPath())
    defer { for path in [first, second] { try? FileManager.default.removeItem(atPath: path) } }
    try model().write(to: first)
    try model().write(to: second)
    #expect(
      try Data(contentsOf: URL(fileURLWithPath: first))
        == Data(contentsOf: URL(fileURLWithPath: second)))
  }

  private func modelBytes() throws -> Data {
    let path = temporaryPath()
    defer { try? FileManager.default.removeItem(atPath: path) }
    try model().write(to: path)
    return try Data(contentsOf: URL(fileURLWithPath: path))
  }

  /// Of truncations: all of the shortest, and some of the others.
  private func lengths(upTo count: Int) -> [Int] {
    Array(0..<64) + stride(from: 64, to: count, by: 97)
  }

  /// Every truncation is refused; no flipped bit crashes, and none in the header is overlooked
  /// unless it leaves a valid file.
  @Test func damagedFilesAreRefused() throws {
    let bytes = try modelBytes()
    for length in lengths(upTo: bytes.count) {
      #expect(throws: FileError.self) { _ = try Safetensors(bytes.prefix(length), path: "x") }
    }
    #expect(throws: FileError.self) { _ = try Safetensors(bytes + [0], path: "x") }
    var generator = SplitMix64(seed: 1)
    for _ in 0..<2000 {
      var damaged = bytes
      damaged[Int(generator.nextIndex(below: 2000))] ^= 1 << UInt8(generator.nextIndex(below: 8))
      _ = try? Safetensors(damaged, path: "x")
    }
  }

  /// At every place it may end early after its size was asked.
  @Test func aFileCutShortWhileItIsReadIsRefused() throws {
    let bytes = try modelBytes()
    for length in lengths(upTo: bytes.count) {
      var rest = bytes.prefix(length)
      let error = #expect(throws: FileError.self) {
        _ = try Safetensors(size: bytes.count, path: "x") { buffer in
          let count = min(buffer.count, rest.count)
          rest.copyBytes(to: buffer, count: count)
          rest = rest.dropFirst(count)
          return count
        }
      }
      #expect("\(try #require(error))".contains("changed while it was read"))
    }
  }

  @Test(arguments: [
    #"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}}"#,
    #"{"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}}"#,
    #"{"a":{"dtype":"F32","shape":[4611686018427387904,4],"data_offsets":[0,16]}}"#,
    #"{"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}"#,
    #"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"b":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}"#,
    #"{"a":{"dtype":"F64","shape":[1],"data_offsets":[0,8]}}"#,
    #"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0]}}"#,
    #"{"a":1}"#, #"[]"#, #"{"#, "",
  ])
  func inconsistentHeadersAreRefused(header: String) {
    var bytes = Data()
    withUnsafeBytes(of: UInt64(header.utf8.count).littleEndian) { bytes.append(contentsOf: $0) }
    bytes += Data(header.utf8) + Data(count: 8)
    #expect(throws: FileError.self) { _ = try Safetensors(bytes, path: "x") }
  }

  /// A tensor without elements begins where the next one does, whatever their names.
  @Test func emptyTensorsAreRead() throws {
    for name in ["a", "m", "z"] {
      let folder = try TemporaryFolder()
      let entries = [
        Safetensors.Entry(name: name, shape: [0, 3], values: []),
        Safetensors.Entry(name: "n", shape: [2], values: [1, 2]),
        Safetensors.Entry(name: "\(name)2", shape: [0], values: []),
      ]
      try Safetensors(metadata: [:], entries: entries).write(to: folder.file("x"))
      let read = try Safetensors(path: folder.file("x"))
      #expect(read[name]?.shape == [0, 3] && read["\(name)2"]?.shape == [0], "\(name)")
      #expect(read["n"]?.elements == .f32([1, 2]))
    }
  }

  @Test func anotherProgramsSafetensorsIsNotAModel() throws {
    let path = temporaryPath()
    defer { try? FileManager.default.removeItem(atPath: path) }
    try Safetensors(
      metadata: ["format": "pt"],
      entries: [Safetensors.Entry(name: "weight", shape: [2, 1], values: [1, 2])]
    ).write(to: path)
    let error = #expect(throws: FileError.self) { _ = try ModelFile(path: path) }
    #expect("\(try #require(error))".contains("not a model of Sparrow's"))
  }

  @Test func aModelOfTheWrongShapeIsRefused() throws {
    let path = temporaryPath()
    defer { try? FileManager.default.removeItem(atPath: path) }
    var wrong = model()
    wrong.description.imageWidth = 9
    try wrong.write(to: path)
    #expect(throws: FileError.self) { _ = try ModelFile(path: path) }
  }
}

@Suite struct RunFolderTests {
  @Test func aFolderWithARunIsLeftAlone() throws {
    let path = temporaryPath()
    defer { try? FileManager.default.removeItem(atPath: path) }
    let folder = RunFolder(path: path)
    try folder.refuseExistingRun()
    try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    try folder.refuseExistingRun()
    try folder.append(
      EpochMetrics(
        epoch: 1, loss: 0.5, reconstruction: 0.4375, beta: 0.125, mse: 0.25, l0: 3, dead: 2,
        seconds: 1.5, samplesPerSecond: 10))
    let text = try String(contentsOfFile: folder.metrics, encoding: .utf8)
    #expect(text == RunFolder.metricsHeader + "1,0.5,0.25,3.0,1.5,10,0.4375,0.125,2\n")
    #expect(throws: FileError.self) { try folder.refuseExistingRun() }
  }
}
