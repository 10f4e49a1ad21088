import Foundation
import Segmentation
import TestSupport
import Testing

/// `sparrow segment pretrain` and `train`, killed or stopped and gone on with.
@Suite struct SegmentResumeTests {
  private func draw(_ folder: TemporaryFolder) async throws {
    for (name, seed) in [("cells", "3"), ("unlabelled", "4")] {
      let outcome = try await Tool.run(
        "segment", "draw", "--count", "2", "--size", "64", "--seed", seed, "--output",
        folder.file(name))
      try #require(outcome.status == 0, "\(outcome.errors)")
      // Drawn images are named alike; a name of its own makes each an image of its own.
      guard name == "unlabelled" else { continue }
      let images = folder.file("unlabelled/images")
      for file in try FileManager.default.contentsOfDirectory(atPath: images) {
        try FileManager.default.moveItem(
          atPath: "\(images)/\(file)", toPath: "\(images)/other-\(file)")
      }
    }
  }

  private func arguments(
    _ verb: String, _ folder: TemporaryFolder, _ run: String, learnsUnlabelled: Bool = false
  ) -> [String] {
    [
      "segment", verb, "--images", folder.file("cells/images"), "--output", folder.file(run),
      "--preset", "small", "--crop", "32", "--batch", "2", "--steps", "25", "--device",
      "reference", "--checkpoint-every", "2steps",
    ]
      + (verb == "train"
        ? ["--labels", folder.file("cells/labels")]
        : ["--code", "jumprelu", "--target-l0", "4"])
      + (learnsUnlabelled
        ? ["--unlabelled", folder.file("unlabelled/images"), "--confidence", "0.5"] : [])
  }

  private func figures(_ run: String) throws -> [[Substring]] {
    try text(of: run + "/metrics.csv").split(separator: "\n").map {
      Array($0.split(separator: ",").dropLast())
    }
  }

  @Test(arguments: [("pretrain", false), ("train", false), ("train", true)])
  func interruptedRunsEndWithTheSameBits(
    verb: String, learnsUnlabelled: Bool
  ) async throws {
    let folder = try TemporaryFolder()
    try await draw(folder)
    let whole = try await Tool.run(
      arguments(verb, folder, "whole", learnsUnlabelled: learnsUnlabelled))
    try #require(whole.status == 0, "\(whole.errors)")
    let run = folder.file("run")
    let resume = ["segment", verb, "--resume", run, "--device", "reference"]
    func wrapper(_ signal: String, _ seconds: Double) -> [String] {
      Wrapper.afterCheckpoint(of: run, "sleep \(seconds); kill -\(signal) $p")
    }
    let killed = try await Tool.run(
      arguments(verb, folder, "run", learnsUnlabelled: learnsUnlabelled),
      through: wrapper("KILL", 0.05))
    #expect(killed.status == 137, "\(killed.errors)")
    let stopped = try await Tool.run(resume, through: wrapper("INT", 0.25))
    if stopped.status != 0 {
      #expect(stopped.status == 130, "\(stopped.errors)")
      let line = stopped.errorLines.last ?? ""
      // After its last step a run has nothing left to save, and just ends.
      if !line.hasPrefix("step 25/25 ") {
        #expect(line.hasPrefix("Stopped by SIGINT after step "), "\(line)")
        #expect(line.contains("'sparrow segment \(verb) --resume \(run)' goes on"), "\(line)")
      }
    }
    let last = try await Tool.run(resume)
    #expect(last.status == 0, "\(last.errors)")
    #expect(
      try fingerprint(of: run + "/model.safetensors")
        == fingerprint(of: folder.file("whole/model.safetensors")))
    #expect(try figures(run) == figures(folder.file("whole")))
    #expect(!folder.names.contains("run/checkpoint.previous.safetensors"))
    let again = try await Tool.run(resume)
    #expect(again.output == "Finished: \(run) has all of its steps; nothing is left to do\n")
  }

  /// Stopped by it or going on without it, and stopped before anything was saved.
  @Test(arguments: ["pretrain", "train"])
  func aDeviceThatFails(verb: String) async throws {
    let folder = try TemporaryFolder()
    try await draw(folder)
    func run(_ name: String, failing call: Int, _ more: String...) async throws -> Tool.Outcome {
      var arguments = arguments(verb, folder, name) + more
      let flag = try #require(arguments.firstIndex(of: "--device"))
      arguments.removeSubrange(flag...flag + 1)
      return try await Tool.run(arguments, environment: ["SPARROW_FAIL_CALL": "\(call):-5"])
    }
    let whole = try await run("whole", failing: 1_000_000_000, "--verify-every", "10")
    try #require(whole.status == 0, "\(whole.errors)")
    guard whole.isOnDevice else { return }
    #expect(
      whole.errorLines.contains {
        $0.hasPrefix("Verified: 2 steps done again on the reference, all within their bounds")
      }, "\(whole.errors)")
    let stopped = try await run("run", failing: 12_000)
    let line = stopped.errorLines.last ?? ""
    #expect(stopped.status == 1)
    #expect(line.hasPrefix("Error: the device failed: cl"), "\(line)")
    #expect(
      line.contains("; 'sparrow segment \(verb) --resume \(folder.file("run"))' goes on"), "\(line)"
    )
    let last = try await Tool.run(["segment", verb, "--resume", folder.file("run")])
    #expect(last.status == 0, "\(last.errors)")
    #expect(
      try fingerprint(of: folder.file("run/model.safetensors"))
        == fingerprint(of: folder.file("whole/model.safetensors")))
    #expect(try figures(folder.file("run")) == figures(folder.file("whole")))

    for (name, call, place) in [("late", 12_000, "after step "), ("early", 400, "from the start")] {
      let other = try await run(name, failing: call, "--on-device-failure", "reference")
      #expect(other.status == 0, "\(other.errors)")
      #expect(
        other.errorLines.contains {
          $0.hasPrefix("Warning: the device failed: cl") && $0.contains("; going on \(place)")
        }, "\(other.errors)")
      #expect(try figures(folder.file(name)).count == figures(folder.file("whole")).count)
    }
    let early = try await run("nothing", failing: 400)
    #expect(early.status == 1 && early.errors.contains("--resume") == false, "\(early.errors)")
  }

  /// As of an autoencoder's run.
  @Test(arguments: RunPlace.all)
  func aRunThatGoesOnElsewhereSaysSo(place: RunPlace) async throws {
    let folder = try TemporaryFolder()
    try await draw(folder)
    func moved<Settings>(_ verb: String, _ type: Settings.Type) async throws -> Tool.Outcome
    where Settings: ConvolutionalSettings {
      let run = folder.file(verb)
      let first = try await Tool.run(arguments(verb, folder, verb) + ["--steps", "2"])
      try #require(first.status == 0, "\(first.errors)")
      unlink(run + "/model.safetensors")
      let path = run + "/checkpoint.safetensors"
      var checkpoint = try ConvolutionalCheckpoint<Settings>(path: path)
      place.move(&checkpoint.description.device, &checkpoint.description.program)
      try checkpoint.contents().write(to: path)
      return try await Tool.onReference("segment", verb, "--resume", run)
    }
    place.expectNote(in: try await moved("pretrain", PretrainingSettings.self))
    place.expectNote(in: try await moved("train", SegmentationSettings.self))
  }

  @Test func badResumes() async throws {
    let folder = try TemporaryFolder()
    for verb in ["pretrain", "train"] {
      expectFailure(
        try await Tool.onReference("segment", verb, "--resume", folder.file("absent")),
        "no such run to resume")
      expectFailure(
        try await Tool.onReference("segment", verb, "--resume", folder.path),
        "holds no checkpoint to resume from")
      expectFailure(
        try await Tool.onReference("segment", verb, "--resume", folder.path, "--batch", "3"),
        status: 64, "leave out --batch")
      if verb == "train" {
        expectFailure(
          try await Tool.onReference(
            "segment", verb, "--confidence", "0.5", "--output", folder.path), status: 64,
          "--confidence is of --unlabelled")
        expectFailure(
          try await Tool.onReference(
            "segment", verb, "--unlabelled", "x", "--confidence", "1.5", "--output", folder.path),
          status: 64, "--confidence 1.5 is not within 0 and 1")
      }
      expectFailure(
        try await Tool.onReference("segment", verb, "--output", folder.path), status: 64,
        "Missing expected argument '--images <images>'")
    }
    // A run of another kind.
    let run = folder.file("run")
    let outcome = try await Tool.onReference(
      "train", "--data", "glyphs:100", "--batch", "50", "--epochs", "1", "--output", run)
    try #require(outcome.status == 0, "\(outcome.errors)")
    expectFailure(
      try await Tool.onReference("segment", "pretrain", "--resume", run),
      "\(run)/checkpoint.safetensors: of the format \"checkpoint 1\", not a checkpoint of pretraining",
      "'sparrow train --resume' goes on from it")
    unlink(run + "/metrics.csv")
    expectFailure(
      try await Tool.onReference("segment", "train", "--resume", run),
      "\(run)/checkpoint.safetensors: of the format \"checkpoint 1\", not a checkpoint of a")
  }

  @Test func imagesThatHaveChangedAreAnError() async throws {
    let folder = try TemporaryFolder()
    try await draw(folder)
    let outcome = try await Tool.run(arguments("pretrain", folder, "run") + ["--steps", "3"])
    try #require(outcome.status == 0, "\(outcome.errors)")
    unlink(folder.file("run/reconstructions.png"))
    let other = try await Tool.run(
      "segment", "draw", "--count", "2", "--size", "64", "--seed", "4", "--output",
      folder.file("others"))
    try #require(other.status == 0, "\(other.errors)")
    expectFailureOfContent(
      try await Tool.onReference(
        "segment", "pretrain", "--resume", folder.file("run"), "--images",
        folder.file("others/images")))
    let last = try await Tool.onReference("segment", "pretrain", "--resume", folder.file("run"))
    #expect(last.status == 0, "\(last.errors)")
  }

  private func expectFailureOfContent(_ outcome: Tool.Outcome) {
    #expect(outcome.status == 1)
    #expect(
      outcome.errorLines.last?.contains("not the images that the run was trained on") == true,
      "\(outcome.errors)")
  }
}
