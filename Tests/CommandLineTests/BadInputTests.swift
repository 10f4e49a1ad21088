import Datasets
import Foundation
import Imaging
import TestSupport
import Testing

/// Bad data and bad models: status 1, one line that names the file and, where one helps, the byte.
@Suite struct BadInputTests {
  private static func big(_ value: UInt32) -> [UInt8] {
    withUnsafeBytes(of: value.bigEndian) { Array($0) }
  }

  @Test(arguments: [
    ("truncated", Array(idx([40, 6, 5]).dropLast(7)), "byte 1209: truncated"),
    ("header", Array(idx([40, 6, 5]).prefix(9)), "byte 9: "),
    ("empty", [], "byte 0: "),
    ("oversized", idx([40, 6, 5]) + [1, 2, 3], "byte 1216: bytes follow"),
    ("magic", [1, 2, 8, 3] + idx([40, 6, 5]).dropFirst(4), "byte 0: not an IDX file"),
    ("type", [0, 0, 13, 3] + idx([40, 6, 5]).dropFirst(4), "byte 2: element type 0d"),
    ("rank", idx([40]), "byte 3: rank 1"),
    ("none", idx([0, 6, 5]), "byte 4: dimension 0 is 0"),
    ("promise", idx([60000, 28, 28], elements: 100), "byte 4: the header promises 60000x28x28"),
    ("overflow", [0, 0, 8, 3] + big(.max) + big(.max) + big(.max), "byte 4: the header promises"),
    ("gzip", Array(Gzip.pack(idx([40, 6, 5])).dropLast(9)), "the gzip stream is truncated"),
  ])
  func badIDX(name: String, content: [UInt8], words: String) async throws {
    let folder = try TemporaryFolder()
    let file = try folder.write(content, to: name)
    let outcome = try await Tool.onReference(
      "train", "--data", "idx:\(file)", "--output", folder.file("run"))
    expectFailure(outcome, "Error: \(file): ", words)
    #expect(folder.names == [name])
  }

  @Test func imagesAndLabelsOfDifferentCounts() async throws {
    let folder = try TemporaryFolder()
    let images = try folder.write(idx([40, 6, 5]), to: "images")
    let labels = try folder.write(idx([39]), to: "labels")
    let outcome = try await Tool.onReference(
      "train", "--data", "idx:\(images),\(labels)", "--output", folder.file("run"))
    expectFailure(outcome, "\(labels): byte 4: 39 labels, but \(images) holds 40 images")
    #expect(folder.names == ["images", "labels"])
  }

  @Test func absentFiles() async throws {
    let folder = try TemporaryFolder()
    for kind in ["idx", "images", "mnist"] {
      let outcome = try await Tool.onReference(
        "train", "--data", "\(kind):\(folder.file("absent"))", "--output", folder.file("run"))
      expectFailure(outcome, "Error: \(folder.file("absent")): ")
    }
    #expect(folder.names == [])
  }

  @Test func foldersWithoutUsableImages() async throws {
    let folder = try TemporaryFolder()
    func failure(_ name: String) async throws -> Tool.Outcome {
      try await Tool.onReference(
        "train", "--data", "images:\(folder.file(name))", "--output", folder.file("run"))
    }
    _ = try folder.makeFolder("empty")
    expectFailure(try await failure("empty"), "\(folder.file("empty")): no PNG or JPEG image")

    _ = try folder.makeFolder("sizes")
    try ImageFile.writePNG(pattern(width: 6, height: 5), to: folder.file("sizes/a.png"))
    try ImageFile.writePNG(pattern(width: 6, height: 7), to: folder.file("sizes/b.png"))
    expectFailure(
      try await failure("sizes"), "\(folder.file("sizes/b.png")): 6x7 pixels, but", "6x5")

    _ = try folder.makeFolder("fake")
    _ = try folder.write("not an image", to: "fake/a.png")
    expectFailure(
      try await failure("fake"), "\(folder.file("fake/a.png")): neither a PNG nor a JPEG image")
    #expect(!folder.names.contains("run"))
  }

  @Test(arguments: [
    ("\\377\\376.png", "cannot open: its name is not UTF-8"), ("broken.png", "cannot open: "),
  ])
  func anImageThatCannotBeOpened(name: String, words: String) async throws {
    let folder = try TemporaryFolder()
    let images = try folder.makeFolder("images")
    try ImageFile.writePNG(pattern(width: 6, height: 5), to: folder.file("images/a.png"))
    let outcome = try await Tool.onReference(
      "train", "--data", "images:\(images)", "--output", folder.file("run"),
      through: [
        "/bin/sh", "-c", "ln -s nowhere \"\(images)/$(printf '\(name)')\"; exec \"$0\" \"$@\"",
      ])
    expectFailure(outcome, "Error: \(images)/", words)
  }

  /// A text could not hold it, and the folder would have another name.
  @Test func aPathThatIsNotUTF8() async throws {
    let folder = try TemporaryFolder()
    let outcome = try await Tool.onReference(
      "train", "--data", "glyphs:50", "--epochs", "1",
      through: [
        "/bin/sh", "-c",
        "exec \"$0\" \"$@\" --output \"$(printf '\(folder.path)/x\\377\\376')\"",
      ])
    expectFailure(outcome, status: 64, "is not valid UTF-8")
    #expect(folder.names == [])
  }

  @Test func aBatchLargerThanTheSet() async throws {
    let folder = try TemporaryFolder()
    for command in [["train", "--output", folder.file("run")], ["bench", "train"]] {
      let outcome = try await Tool.run(
        command + ["--data", "glyphs:300", "--batch", "301", "--device", "reference"])
      #expect(outcome.status == 64)
      #expect(
        outcome.errors.contains("--batch 301 is larger than the set of 300 training images"))
    }
    #expect(folder.names == [])
    // Where none is asked for, one that fits is taken.
    let outcome = try await Tool.onReference(
      "train", "--data", "glyphs:100", "--epochs", "1", "--output", folder.file("run"))
    #expect(outcome.status == 0, "\(outcome.errors)")
    #expect(
      outcome.errorLines.contains(
        "Note: batches of all 100 training images, which are fewer than 256"), "\(outcome.errors)")
  }

  // MARK: Models

  private func evaluate(_ model: String, data: String = "glyphs:300") async throws -> Tool.Outcome {
    try await Tool.onReference("evaluate", "--model", model, "--data", data)
  }

  @Test func damagedModels() async throws {
    let folder = try TemporaryFolder()
    let good = try bytes(of: await Scratch.model)
    func failure(_ content: [UInt8], _ words: String) async throws {
      let file = try folder.write(content, to: "model")
      expectFailure(try await evaluate(file), "Error: \(file): ", words)
    }
    func flipped(_ index: Int) -> [UInt8] {
      var content = good
      content[index] ^= 4
      return content
    }
    try await failure([], "only 0 bytes")
    try await failure(Array(good.prefix(100)), "truncated")
    try await failure(Array(good.dropLast(100)), "truncated: 100 bytes are missing")
    try await failure(good + [0], "1 bytes after the last tensor")
    try await failure(Array("no model at all".utf8), "not a safetensors file")
    // In the header, and in a weight's bits.
    try await failure(flipped(20), "byte 8")
    try await failure(flipped(good.count - 1001), "the checksum differs")
    expectFailure(try await evaluate(folder.file("absent")), "\(folder.file("absent")): ")
    expectFailure(
      try await evaluate(folder.path), "\(folder.path): is a folder without a model.safetensors")
    // A run is as good as its model; one that was stopped has none yet.
    let run = try folder.makeFolder("run")
    _ = try folder.write(good, to: "run/model.safetensors")
    #expect(try await evaluate(run).status == 0)
    try FileManager.default.moveItem(
      atPath: run + "/model.safetensors", toPath: run + "/checkpoint.safetensors")
    expectFailure(try await evaluate(run), "\(run): holds no model yet: the run is not finished")
  }

  @Test func aModelOfAnotherShape() async throws {
    let folder = try TemporaryFolder()
    let images = try folder.write(idx([40, 6, 5]), to: "images")
    let model = try await Scratch.model
    let words = "--data has images of 5x6x1, the model takes 28x28x1"
    expectFailure(try await evaluate(model, data: "idx:\(images)"), words)
    for (verb, output) in [("encode", "x.npy"), ("reconstruct", "x.png")] {
      let outcome = try await Tool.onReference(
        verb, "--model", model, "--data", "idx:\(images)", "--output", folder.file(output))
      expectFailure(outcome, words)
    }
    #expect(folder.names == ["images"])
  }
}
