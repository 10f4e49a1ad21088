import Foundation
import TestSupport
import Testing
import Training

@Suite struct CodeTests {
  private static let start = ["train", "--data", "glyphs:300", "--output", "x"]

  @Test(arguments: [
    (["--code", "topk:0"], "K must be at least 1"),
    (["--code", "topk:65"], "keeps more than the 64 latents"),
    (["--code", "topk"], "--code topk needs its K"),
    (["--code", "topk:many"], "is not one of relu"),
    (["--code", "soft"], "is not one of relu"),
    (["--code", "topk:8", "--target-l0", "9"], "differ"),
    (["--code", "topk", "--target-l0", "8.5"], "a whole number"),
    (["--code", "jumprelu", "--target-l0", "65"], "cannot be met: the code has 64 latents"),
    (["--code", "jumprelu", "--target-l0", "0"], "--target-l0 must be a positive number"),
    (["--code", "l1", "--target-l0", "-1"], "--target-l0 must be a positive number"),
    (["--target-l0", "8"], "which relu has not"),
    (["--beta", "-1"], "--beta must not be negative"),
    (["--alpha", "-0.5"], "--alpha must not be negative"),
    (["--contractive", "-2"], "--contractive must not be negative"),
    (["--beta", "nan"], "--beta must not be negative"),
    (["--latents", "0"], "--latents must be at least 1"),
    (["--latents", "9", "--layers", "784-9-784"], "exclude each other"),
    (["--layers", "784-64"], "an odd number of widths"),
    (["--layers", "9-3-9"], "must begin and end with the 784 values"),
    (["--arithmetic", "sparse"], "--arithmetic sparse needs --latents"),
    (["--start", "data"], "--start is of dictionaries"),
    (["--anneal-from", "9"], "of codes with a K"),
    (["--momentum", "0.9"], "--momentum is of --optimizer sgd"),
    (["--average", "1"], "--average must be from 0 to below 1"),
    (["--warmup", "99"], "longer than the run"),
  ])
  func wrongCodes(arguments: [String], words: String) async throws {
    let folder = try TemporaryFolder()
    var command = Self.start
    command[4] = folder.file("run")
    let outcome = try await Tool.run(command + arguments + ["--device", "reference"])
    #expect(outcome.status == 64)
    #expect(outcome.output == "")
    #expect(outcome.errorLines.last?.contains(words) == true, "\(outcome.errors)")
    #expect(folder.names == [])
  }

  /// A model restores its own code; another one asked for is an error.
  @Test func aModelKeepsItsCode() async throws {
    let folder = try TemporaryFolder()
    let trained = try await Tool.onReference(
      "train", "--data", "glyphs:300", "--epochs", "2", "--batch", "50", "--code", "topk:5",
      "--output", folder.file("run"))
    try #require(trained.status == 0, "\(trained.errors)")
    let model = folder.file("run/model.safetensors")
    let right = try await Tool.onReference(
      "evaluate", "--model", model, "--data", "glyphs:300", "--code", "topk:5", "--json")
    #expect(right.status == 0)
    let report = try JSONDecoder().decode(Report.self, from: Data(right.output.utf8))
    #expect(report.l0 <= 5 && report.latents == 64)
    let wrong = try await Tool.onReference(
      "evaluate", "--model", model, "--data", "glyphs:300", "--code", "relu")
    expectFailure(wrong, "the model was saved with the code topk:5, and --code is relu")
  }

  private struct Report: Decodable {
    let l0: Double
    let latents: Int
  }

  @Test func aSweepLeavesATableAndGoesOn() async throws {
    let folder = try TemporaryFolder()
    let command = [
      "sweep", "--data", "glyphs:300", "--latents", "30", "--code", "topk", "--values", "2,4",
      "--epochs", "2", "--batch", "50", "--output", folder.file("s"), "--device", "reference",
    ]
    let first = try await Tool.run(command)
    try #require(first.status == 0, "\(first.errors)")
    let rows = try text(of: folder.file("s/sweep.csv")).split(separator: "\n")
    #expect(rows.first == "topk,l0,fvu,mse,dead,latents" && rows.count == 3)
    for name in ["s/sweep.png", "s/topk-2/model.safetensors", "s/topk-4/metrics.csv"] {
      #expect(folder.names.contains(name))
    }
    // Done already: the same command finds everything trained.
    let second = try await Tool.run(command)
    #expect(second.status == 0)
    #expect(second.errors.contains("Continuing after epoch 2 of 2"))
    #expect(second.output == first.output)
    var other = command
    other[8] = "2,5"
    expectFailure(try await Tool.run(other), "holds another sweep")
    let ledger = try text(of: folder.file("s/sweep.json"))
    for damaged in [
      String(ledger.dropLast(9)), ledger.replacing("\"epochsDone\":2", with: "\"epochsDone\":1"),
    ] {
      _ = try folder.write(damaged, to: "s/sweep.json")
      expectFailure(
        try await Tool.run(command), "s/sweep.json: cannot be read as what a sweep has done")
    }
  }

  /// Images of the user's own have the same name whatever they show.
  @Test func aSweepGoesOnWithItsOwnImagesAlone() async throws {
    let folder = try TemporaryFolder()
    let images = try folder.write(idx([40, 6, 5]), to: "images")
    func sweep() async throws -> Tool.Outcome {
      try await Tool.onReference(
        "sweep", "--data", "idx:\(images)", "--latents", "20", "--code", "topk", "--values", "2,4",
        "--epochs", "2", "--batch", "8", "--output", folder.file("s"))
    }
    let first = try await sweep()
    try #require(first.status == 0, "\(first.errors)")
    _ = try folder.write(Array(idx([40, 6, 5]).dropLast()) + [1], to: "images")
    expectFailure(
      try await sweep(),
      "idx:\(images): not the images that the sweep in \(folder.file("s")) was trained on")
    _ = try folder.write(idx([40, 6, 5]), to: "images")
    #expect(try await sweep().output == first.output)
    // A ledger of before there was the sum.
    let ledger = try text(of: folder.file("s/sweep.json"))
    let sum = try #require(ledger.firstMatch(of: /"content":"[0-9a-f]{64}",/))
    _ = try folder.write(ledger.replacing(sum.0, with: ""), to: "s/sweep.json")
    #expect(try await sweep().output == first.output)
  }

  /// The one step's loss is finite, its update is not.
  @Test func aSweepThatDivergesWritesNoModel() async throws {
    let folder = try TemporaryFolder()
    let outcome = try await Tool.onReference(
      "sweep", "--data", "glyphs:64", "--latents", "20", "--code", "topk", "--values", "2,4",
      "--epochs", "1", "--batch", "64", "--learning-rate", "1e38", "--output", folder.file("s"))
    expectFailure(
      outcome, "topk 2: training diverged", "not finite in epoch 1; no model is written")
    #expect(outcome.output == "")
    #expect(
      !folder.names.contains { $0.hasSuffix(".safetensors") || $0.contains("sweep.csv") },
      "\(folder.names)")
  }

  /// Of images that are all alike no share of variance can be told.
  @Test func aSweepNamesThePictureWhereThereIsOne() async throws {
    let folder = try TemporaryFolder()
    let images = try folder.write(
      Array(idx([40, 6, 5], elements: 0)) + [UInt8](repeating: 100, count: 1200), to: "images")
    let outcome = try await Tool.onReference(
      "sweep", "--data", "idx:\(images)", "--latents", "20", "--code", "topk", "--values", "2",
      "--epochs", "1", "--batch", "8", "--output", folder.file("s"))
    try #require(outcome.status == 0, "\(outcome.errors)")
    #expect(outcome.output.hasSuffix("\nWritten: \(folder.file("s")), sweep.csv\n"))
    #expect(!folder.names.contains("s/sweep.png"))
  }

  /// What killed sweeps left is removed, what is not theirs is not.
  @Test func aSweepRemovesWhatAnotherLeft() async throws {
    let folder = try TemporaryFolder()
    func sweep(_ name: String) async throws -> Tool.Outcome {
      try await Tool.onReference(
        "sweep", "--data", "glyphs:100", "--latents", "20", "--code", "topk", "--values", "2,4",
        "--epochs", "2", "--batch", "50", "--output", folder.file(name))
    }
    let first = try await sweep("s")
    try #require(first.status == 0, "\(first.errors)")
    let names = folder.names
    #expect(names.contains("s/state-2-1.safetensors"))
    for name in [
      ".state-2-0.safetensors.ABCD1234.tmp", ".sweep.json.ABCD1234.tmp", "state-1-0.safetensors",
      "state-1-1.safetensors", "state-3-0.safetensors",
      "topk-2/.model.safetensors.ABCD1234.tmp",
    ] { try folder.write([1], to: "s/\(name)") }
    let others = [".mine.tmp", "state-1-mine.safetensors"]
    for name in others { try folder.write([1], to: "s/\(name)") }
    #expect(try await sweep("s").output == first.output)
    #expect(folder.names == (names + others.map { "s/\($0)" }).sorted())
    // One that was killed before its ledger had its name.
    _ = try folder.makeFolder("early")
    try folder.write([1], to: "early/.sweep.json.ABCD1234.tmp")
    let early = try await sweep("early")
    #expect(early.status == 0, "\(early.errors)")
    #expect(!folder.names.contains { $0.hasPrefix("early/.") })
    _ = try folder.makeFolder("other")
    try folder.write([1], to: "other/mine")
    expectFailure(try await sweep("other"), "\(folder.file("other")): exists and holds no sweep")
    #expect(folder.names.filter { $0.hasPrefix("other/") } == ["other/mine"])
  }

  /// Before its ledger is read, which the other may be about to write.
  @Test func aSweepThatAnotherProcessWritesIsRefused() async throws {
    let folder = try TemporaryFolder()
    try folder.write("no ledger", to: "sweep.json")
    let lock = try RunLock(folder: folder.path)
    let outcome = try await Tool.onReference(
      "sweep", "--data", "glyphs:100", "--latents", "20", "--code", "topk", "--values", "2,4",
      "--epochs", "2", "--batch", "50", "--output", folder.path)
    withExtendedLifetime(lock) {}
    expectFailure(outcome, "\(folder.path): another process (", ") is writing this run")
  }
}
