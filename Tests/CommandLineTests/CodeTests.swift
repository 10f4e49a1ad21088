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
    // There is one checkpoint, and nothing to take in its place.
    let checkpoint = try bytes(of: folder.file("s/checkpoint.safetensors"))
    for damaged in [Array(checkpoint.dropLast(9)), Array(checkpoint.dropLast()) + [1]] {
      _ = try folder.write(damaged, to: "s/checkpoint.safetensors")
      expectFailure(try await Tool.run(command), "s/checkpoint.safetensors: ")
    }
  }

  private func longSweep(_ folder: TemporaryFolder, _ name: String) -> [String] {
    [
      "sweep", "--data", "glyphs:300", "--latents", "30", "--code", "topk", "--values", "2,4",
      "--epochs", "40", "--batch", "50", "--output", folder.file(name), "--device", "reference",
      "--checkpoint-every", "4steps",
    ]
  }

  private func expectSameEnd(
    _ first: String, _ second: String, in folder: TemporaryFolder,
    sourceLocation: SourceLocation = #_sourceLocation
  ) throws {
    for name in ["topk-2/model.safetensors", "topk-4/model.safetensors", "sweep.csv", "sweep.png"] {
      #expect(
        try fingerprint(of: folder.file("\(first)/\(name)"))
          == fingerprint(of: folder.file("\(second)/\(name)")), "\(name)",
        sourceLocation: sourceLocation)
    }
    #expect(
      try figures(folder.file("\(first)/topk-4")) == figures(folder.file("\(second)/topk-4")),
      sourceLocation: sourceLocation)
  }

  @Test func aSweepIsStoppedKilledAndGoesOnWithTheSameBits() async throws {
    let folder = try TemporaryFolder()
    let whole = try await Tool.run(longSweep(folder, "whole"))
    try #require(whole.status == 0, "\(whole.errors)")
    for (name, status) in [("INT", 130), ("TERM", 143), ("KILL", 137)] {
      let run = folder.file(name)
      let stopped = try await Tool.run(
        longSweep(folder, name),
        through: Wrapper.afterCheckpoint(
          of: run, named: "checkpoint.previous", "kill -\(name) $p"))
      try #require(stopped.status == Int32(status), "\(stopped.errors)")
      #expect(!folder.names.contains("\(name)/sweep.csv"))
      if name != "KILL" {
        #expect(stopped.errors.contains("Stopped by SIG\(name) after "))
        #expect(stopped.errors.contains("Saved; the same command goes on from the last checkpoint"))
        #expect(!folder.names.contains("\(name)/run.lock"))
        let checkpoint = try SweepCheckpoint(path: run + "/checkpoint.safetensors")
        #expect(try figures(run + "/topk-2").count == checkpoint.runs[0].epochsDone + 1)
      }
      let last = try await Tool.run(longSweep(folder, name))
      #expect(last.status == 0, "\(last.errors)")
      #expect(last.errors.contains("Continuing after "))
      try expectSameEnd(name, "whole", in: folder)
      #expect(last.output == whole.output.replacing(folder.file("whole"), with: run))
    }
  }

  /// Its state is there whatever was wished, so that its results are written again and no more.
  @Test func aFinishedSweepThatWasNotSavedIsFinished() async throws {
    let folder = try TemporaryFolder()
    let command = [
      "sweep", "--data", "glyphs:100", "--latents", "20", "--code", "topk", "--values", "2,4",
      "--epochs", "2", "--batch", "50", "--output", folder.file("s"), "--device", "reference",
      "--checkpoint-every", "off",
    ]
    let first = try await Tool.run(command)
    try #require(first.status == 0, "\(first.errors)")
    let again = try await Tool.run(command)
    #expect(again.errors.contains("Continuing after epoch 2 of 2"))
    #expect(again.output == first.output)
    // What stands in the way of a result is noticed before any training.
    _ = try folder.makeFolder("blocked/topk-4/model.safetensors")
    _ = try folder.write(
      bytes(of: folder.file("s/checkpoint.safetensors")), to: "blocked/checkpoint.safetensors")
    let blocked = try await Tool.run(
      command.map { $0 == folder.file("s") ? folder.file("blocked") : $0 })
    #expect(blocked.status == 1)
    #expect(
      blocked.errorLines.last?.contains("topk-4/model.safetensors: cannot write: it is a folder")
        == true, "\(blocked.errors)")
    var close = command
    close[6] = "l1"
    close[8] = "2,2.0000001"
    expectFailure(try await Tool.run(close), status: 64, "--values has the same value twice")
  }

  /// The newest checkpoint is damaged, and the one before it is good.
  @Test func aSweepGoesOnFromThePreviousCheckpoint() async throws {
    let folder = try TemporaryFolder()
    let whole = try await Tool.run(longSweep(folder, "whole"))
    try #require(whole.status == 0, "\(whole.errors)")
    let stopped = try await Tool.run(
      longSweep(folder, "s"),
      through: Wrapper.afterCheckpoint(
        of: folder.file("s"), named: "checkpoint.previous", "kill -INT $p"))
    try #require(stopped.status == 130, "\(stopped.errors)")
    let checkpoint = try bytes(of: folder.file("s/checkpoint.safetensors"))
    _ = try folder.write(Array(checkpoint.dropLast(99)), to: "s/checkpoint.safetensors")
    let last = try await Tool.run(longSweep(folder, "s"))
    #expect(last.status == 0, "\(last.errors)")
    #expect(last.errors.contains("the previous checkpoint is good and is taken"))
    try expectSameEnd("s", "whole", in: folder)
  }

  /// A device that fails while it trains: the sweep goes on on the reference where that is wished.
  @Test func aSweepOutlivesItsDevice() async throws {
    guard try await Tool.run("evaluate", "--model", Scratch.model, "--data", "glyphs:300").isOnPoCL
    else { return }
    let folder = try TemporaryFolder()
    func sweep(_ name: String, _ more: String...) async throws -> Tool.Outcome {
      let arguments = longSweep(folder, name).filter { !["--device", "reference"].contains($0) }
      return try await Tool.run(
        arguments + more, environment: ["SPARROW_FAIL_CALL": "6000"])
    }
    expectFailure(
      try await sweep("stops"), "the device failed: ",
      "; the same command goes on from the last checkpoint; --device reference works without")
    let last = try await Tool.run(longSweep(folder, "stops"))
    #expect(last.status == 0, "\(last.errors)")
    #expect(last.errors.contains("Note: this run was on "))
    let outcome = try await sweep("goes-on", "--on-device-failure", "reference")
    #expect(outcome.status == 0, "\(outcome.errors)")
    #expect(outcome.errors.contains("going on after "))
    #expect(folder.names.contains("goes-on/sweep.png"))
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
      !folder.names.contains { $0.hasSuffix("model.safetensors") || $0.contains("sweep.csv") },
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
    #expect(names.contains("s/checkpoint.safetensors"))
    for name in [
      ".checkpoint.safetensors.ABCD1234.tmp", ".sweep.csv.ABCD1234.tmp",
      ".checkpoint.safetensors.ABCD1234.old.tmp", "topk-2/.model.safetensors.ABCD1234.tmp",
    ] { try folder.write([1], to: "s/\(name)") }
    let others = [".mine.tmp", "state-1-mine.safetensors"]
    for name in others { try folder.write([1], to: "s/\(name)") }
    #expect(try await sweep("s").output == first.output)
    #expect(folder.names == (names + others.map { "s/\($0)" }).sorted())
    // One that was killed before its first checkpoint had its name.
    _ = try folder.makeFolder("early")
    try folder.write([1], to: "early/.checkpoint.safetensors.ABCD1234.tmp")
    try folder.write([1], to: "early/run.lock")
    let early = try await sweep("early")
    #expect(early.status == 0, "\(early.errors)")
    #expect(!folder.names.contains { $0.hasPrefix("early/.") })
    _ = try folder.makeFolder("old")
    try folder.write([1], to: "old/sweep.json")
    expectFailure(try await sweep("old"), "holds a sweep of an older version of Sparrow")
    _ = try folder.makeFolder("other")
    try folder.write([1], to: "other/mine")
    expectFailure(try await sweep("other"), "\(folder.file("other")): exists and holds no sweep")
    #expect(folder.names.filter { $0.hasPrefix("other/") } == ["other/mine"])
  }

  /// Before its checkpoint is read, which the other may be about to write.
  @Test func aSweepThatAnotherProcessWritesIsRefused() async throws {
    let folder = try TemporaryFolder()
    try folder.write("none", to: "checkpoint.safetensors")
    let lock = try RunLock(folder: folder.path)
    let outcome = try await Tool.onReference(
      "sweep", "--data", "glyphs:100", "--latents", "20", "--code", "topk", "--values", "2,4",
      "--epochs", "2", "--batch", "50", "--output", folder.path)
    withExtendedLifetime(lock) {}
    expectFailure(outcome, "\(folder.path): another process (", ") is writing this run")
  }
}
