import Foundation
import TestSupport
import Testing
import Training

extension Wrapper {

  static func signal(_ name: String, to run: String, after seconds: Double = 0) -> [String] {
    afterCheckpoint(of: run, "sleep \(seconds); kill -\(name) $p")
  }

  /// Sent when the tool has written a checkpoint itself, after which it listens.
  static func signal(_ name: String, afterANewCheckpointOf run: String) -> [String] {
    let path = "\"\(run)/checkpoint.safetensors\""
    return afterCheckpoint(
      of: run,
      """
      before=$(ls -i \(path))
        while kill -0 $p 2>/dev/null && [ "$(ls -i \(path))" = "$before" ]; do sleep 0.01; done
        kill -\(name) $p
      """)
  }

  /// The tool is started with signals that it ignores.
  static func ignoring(_ names: String) -> [String] {
    ["/bin/sh", "-c", "trap '' \(names); exec \"$@\"", "sh"]
  }

  /// Files of at most so many blocks of 512 bytes.
  static func fileSizeLimit(blocks: Int) -> [String] {
    ["/bin/sh", "-c", "ulimit -f \(blocks); exec \"$@\"", "sh"]
  }
}

/// Where a checkpoint says that its run was, in place of the reference of this version.
struct RunPlace: Sendable {
  let device: String
  var program: String?
  /// What is then noted.
  var words: String?

  static let all = [
    RunPlace(device: "CPU reference, 999 threads"), RunPlace(device: ""),
    RunPlace(
      device: "Elsewhere (Platform), driver 1",
      words: "Note: this run was on Elsewhere (Platform), driver 1 and goes on on CPU reference, "),
    RunPlace(
      device: "CPU reference, 1 thread", program: "0.0.9",
      words: "Note: this run was on CPU reference, 1 thread with Sparrow 0.0.9 and goes on on "),
  ]

  func move(_ device: inout String, _ program: inout String) {
    device = self.device
    if let other = self.program { program = other }
  }

  func expectNote(in outcome: Tool.Outcome, sourceLocation: SourceLocation = #_sourceLocation) {
    #expect(outcome.status == 0, "\(outcome.errors)", sourceLocation: sourceLocation)
    let notes = outcome.errorLines.filter { $0.hasPrefix("Note: ") }
    #expect(notes.count == (words == nil ? 0 : 1), "\(notes)", sourceLocation: sourceLocation)
    guard let words, let note = notes.first else { return }
    #expect(
      note.hasPrefix(words) && note.hasSuffix("; its bits will be those of neither alone"),
      "\(note)", sourceLocation: sourceLocation)
  }
}

@Suite struct ResumeTests {
  private func arguments(_ run: String, epochs: Int = 60, _ more: [String] = []) -> [String] {
    [
      "train", "--data", "glyphs:300", "--epochs", "\(epochs)", "--batch", "32", "--seed", "5",
      "--output", run, "--checkpoint-every", "3steps", "--device", "reference",
    ] + more
  }

  private func resume(
    _ run: String, _ more: String..., through wrapper: [String] = []
  ) async throws -> Tool.Outcome {
    try await Tool.run(
      ["train", "--resume", run, "--device", "reference"] + more, through: wrapper)
  }

  private func expectResumed(
    _ run: String, toEndAs whole: String, sourceLocation: SourceLocation = #_sourceLocation
  ) async throws {
    let last = try await resume(run)
    #expect(last.status == 0, "\(last.errors)", sourceLocation: sourceLocation)
    try expectSameEnd(run, as: whole, sourceLocation: sourceLocation)
  }

  /// Killed at moments of the kernel's choosing, again and again, and gone on with.
  @Test(
    arguments: [
      ["--code", "relu"], ["--code", "jumprelu", "--target-l0", "8"],
      ["--latents", "100", "--code", "topk:4", "--arithmetic", "sparse"],
    ])
  func killedRunsEndWithTheSameBits(more: [String]) async throws {
    let folder = try TemporaryFolder()
    let (whole, run) = (folder.file("whole"), folder.file("run"))
    let outcome = try await Tool.run(arguments(whole, epochs: 12, more))
    try #require(outcome.status == 0, "\(outcome.errors)")
    var kills = 0
    for attempt in 0..<4 {
      let wrapper = Wrapper.signal("KILL", to: run, after: 0.13 * Double(attempt))
      let killed = try await Tool.run(
        kills == 0
          ? arguments(run, epochs: 12, more)
          : ["train", "--resume", run, "--device", "reference", "--checkpoint-every", "3steps"],
        through: wrapper)
      if killed.status == 137 { kills += 1 }
    }
    #expect(kills >= 2)
    try await expectResumed(run, toEndAs: whole)
    #expect(
      folder.names.filter { $0.hasPrefix("run/") } == [
        "run/checkpoint.safetensors", "run/metrics.csv", "run/model.safetensors",
        "run/reconstructions.png",
      ])
  }

  /// As the end of a session sends them.
  @Test func aHangUpAfterTheWishToStopIsNoSecondOne() async throws {
    let folder = try TemporaryFolder()
    let run = folder.file("run")
    let outcome = try await Tool.run(
      [
        "train", "--data", "glyphs:300", "--epochs", "100000", "--output", run, "--device",
        "reference", "--checkpoint-every", "1e",
      ], through: Wrapper.afterCheckpoint(of: run, "kill -TERM $p; kill -HUP $p"))
    #expect(outcome.status == 143, "\(outcome.errors)")
    #expect(outcome.errors.contains("Stopped by SIGTERM after"), "\(outcome.errors)")
  }

  @Test(arguments: [("INT", 130), ("TERM", 143), ("HUP", 129)])
  func aSignalSavesAndStops(name: String, status: Int) async throws {
    let folder = try TemporaryFolder()
    let (whole, run) = (folder.file("whole"), folder.file("run"))
    let first = try await Tool.run(arguments(whole, epochs: 40))
    try #require(first.status == 0, "\(first.errors)")
    // No checkpoint before the signal but the one that the wrapper waits for.
    let stopped = try await Tool.run(
      arguments(run, epochs: 40), through: Wrapper.signal(name, to: run))
    #expect(stopped.status == Int32(status))
    #expect(stopped.output == "")
    let line = stopped.errorLines.last ?? ""
    #expect(line.hasPrefix("Stopped by SIG\(name) after "), "\(line)")
    #expect(line.hasSuffix("'sparrow train --resume \(run)' goes on from the last checkpoint"))
    #expect(!folder.names.contains("run/run.lock"))
    let last = try await resume(run)
    #expect(last.status == 0, "\(last.errors)")
    #expect(last.errorLines.contains { $0.hasPrefix("Resuming after ") })
    try expectSameEnd(run, as: whole)
  }

  /// A shell has what it runs in the background ignore SIGINT, so that it is not meant.
  @Test func whatIsIgnoredStaysIgnored() async throws {
    let folder = try TemporaryFolder()
    let (whole, run) = (folder.file("whole"), folder.file("run"))
    let first = try await Tool.run(arguments(whole, epochs: 40))
    try #require(first.status == 0, "\(first.errors)")
    let outcome = try await Tool.run(
      arguments(run, epochs: 40),
      through: Wrapper.ignoring("INT TERM")
        + Wrapper.afterCheckpoint(
          of: run, "for n in 1 2 3; do kill -INT $p; kill -TERM $p; sleep 0.02; done"))
    #expect(outcome.status == 0, "\(outcome.errors)")
    try expectSameEnd(run, as: whole)
  }

  /// Both signals come while the process is suspended, so that it meets them before it can do a step
  /// or save.
  @Test func aSecondSignalStopsAtOnce() async throws {
    let folder = try TemporaryFolder()
    let run = folder.file("run")
    let outcome = try await Tool.run(
      arguments(run, epochs: 100_000),
      through: Wrapper.afterCheckpoint(
        of: run, "kill -STOP $p; sleep 0.2; kill -INT $p; kill -TERM $p; kill -CONT $p"))
    #expect([130, 143].contains(outcome.status), "\(outcome.errors)")
    #expect(!outcome.errors.contains("Stopped by"), "\(outcome.errors)")
    // The first alone has the run saved, and said so.
    let first = try await resume(
      run, "--checkpoint-every", "1e",
      through: Wrapper.signal("INT", afterANewCheckpointOf: run))
    #expect(first.status == 130 && first.errors.contains("Stopped by SIGINT"), "\(first.errors)")
  }

  @Test func aFinishedRunSaysSo() async throws {
    let folder = try TemporaryFolder()
    let run = folder.file("run")
    let first = try await Tool.run(arguments(run, epochs: 2))
    try #require(first.status == 0, "\(first.errors)")
    let model = try fingerprint(of: run + "/model.safetensors")
    let again = try await resume(run)
    #expect(again.status == 0)
    #expect(again.output == "Finished: \(run) has all of its 2 epochs; nothing is left to do\n")
    // Without its checkpoint as well: the model says how far it is.
    unlink(run + "/checkpoint.safetensors")
    #expect(try await resume(run).output.hasPrefix("Finished: "))
    #expect(try fingerprint(of: run + "/model.safetensors") == model)
  }

  @Test func aLongerRunFollowsFromAShorterOne() async throws {
    let folder = try TemporaryFolder()
    let (whole, run) = (folder.file("whole"), folder.file("run"))
    for (path, epochs) in [(whole, 5), (run, 3)] {
      let outcome = try await Tool.run(arguments(path, epochs: epochs))
      try #require(outcome.status == 0, "\(outcome.errors)")
    }
    let longer = try await resume(run, "--epochs", "5")
    #expect(longer.status == 0, "\(longer.errors)")
    try expectSameEnd(run, as: whole)
    expectFailure(try await resume(run, "--epochs", "4"), status: 64, "--epochs 4", "has done")
    let other = folder.file("other")
    let topK = try await Tool.run(arguments(other, epochs: 2, ["--code", "topk:4"]))
    try #require(topK.status == 0, "\(topK.errors)")
    expectFailure(
      try await resume(other, "--epochs", "5"), status: 64, "--epochs 5", "depends on its 2 epochs")
  }

  /// Of a run that was stopped the last checkpoint is that of its end, also where no more are wished.
  @Test func aFinishedRunIsNotGoneOnFromAnOldCheckpoint() async throws {
    let folder = try TemporaryFolder()
    let run = folder.file("run")
    let stopped = try await Tool.run(
      arguments(run, epochs: 60), through: Wrapper.signal("INT", to: run))
    try #require(stopped.status == 130, "\(stopped.errors)")
    let last = try await resume(run, "--checkpoint-every", "off")
    #expect(last.status == 0, "\(last.errors)")
    let model = try fingerprint(of: run + "/model.safetensors")
    let again = try await resume(run)
    #expect(again.output.hasPrefix("Finished: "), "\(again.output)\(again.errors)")
    expectFailure(
      try await resume(run, "--epochs", "50"), status: 64, "--epochs 50: the run has done epoch 60")
    #expect(try fingerprint(of: run + "/model.safetensors") == model)
  }

  /// What cannot be gone on from is not called finished where more is wished than there is.
  @Test func aRunWithoutACheckpointIsNotMadeLonger() async throws {
    let folder = try TemporaryFolder()
    let run = folder.file("run")
    let first = try await Tool.run(arguments(run, epochs: 2, ["--checkpoint-every", "off"]))
    try #require(first.status == 0, "\(first.errors)")
    #expect(!folder.names.contains("run/checkpoint.safetensors"))
    for (epochs, isDone) in [("2", true), ("3", false), ("1", false)] {
      let outcome = try await resume(run, "--epochs", epochs)
      if isDone {
        #expect(outcome.output.hasPrefix("Finished: "))
      } else {
        expectFailure(outcome, "holds no checkpoint to resume from", "all of its 2 epochs")
      }
    }
    unlink(run + "/reconstructions.png")
    expectFailure(try await resume(run), "metrics.csv or reconstructions.png is not")
  }

  /// The images may be elsewhere than they were, but must be the same.
  @Test func movedImagesAreFound() async throws {
    let folder = try TemporaryFolder()
    let (whole, run) = (folder.file("whole"), folder.file("run"))
    for place in ["images", "others"] {
      let samples = idx([60, 28, 28]).enumerated().map {
        $0.offset > 16 && place == "others" ? $0.element ^ 1 : $0.element
      }
      _ = try folder.write(samples, to: place)
    }
    func train(_ output: String, epochs: String) async throws -> Tool.Outcome {
      try await Tool.onReference(
        "train", "--data", "idx:\(folder.file("images"))", "--epochs", epochs, "--batch", "20",
        "--output", output)
    }
    #expect(try await train(whole, epochs: "4").status == 0)
    #expect(try await train(run, epochs: "2").status == 0)
    try FileManager.default.moveItem(atPath: folder.file("images"), toPath: folder.file("moved"))
    expectFailure(
      try await resume(run, "--epochs", "4"),
      folder.file("images"), "--data may say where the images are now")
    // Also of a run that is done.
    expectFailure(
      try await resume(run, "--data", "idx:\(folder.file("others"))"), "their content differs")
    let moved = "idx:\(folder.file("moved"))"
    let longer = try await resume(run, "--epochs", "4", "--data", moved)
    #expect(longer.status == 0, "\(longer.errors)")
    // From then on that is where they are.
    #expect(try Checkpoint(path: run + "/checkpoint.safetensors").description.source == moved)
    #expect(
      try fingerprint(of: run + "/model.safetensors")
        == fingerprint(of: whole + "/model.safetensors"))
    expectFailure(
      try await resume(run + "/model.safetensors"), "is a file; --resume takes the folder of a run")
  }

  /// A run that is stopped within its warm-up is not made shorter than that, and stays as it is.
  @Test func aRunIsNotMadeShorterThanItsWarmUp() async throws {
    let folder = try TemporaryFolder()
    let (whole, run) = (folder.file("whole"), folder.file("run"))
    let first = try await Tool.run(arguments(whole, epochs: 40, ["--warmup", "30"]))
    try #require(first.status == 0, "\(first.errors)")
    let stopped = try await Tool.run(
      arguments(run, epochs: 40, ["--warmup", "30"]), through: Wrapper.signal("INT", to: run))
    try #require(stopped.status == 130, "\(stopped.errors)")
    let before = try fingerprint(of: run + "/checkpoint.safetensors")
    expectFailure(
      try await resume(run, "--epochs", "29"), status: 64,
      "--epochs 29: the warm-up of 30.0 epochs is longer than the run of 29")
    #expect(try fingerprint(of: run + "/checkpoint.safetensors") == before)
    try await expectResumed(run, toEndAs: whole)
  }

  /// Killed after its last checkpoint: before its model, and between the model and the picture.
  @Test func aLongerRunThatLacksItsOwnResultsIsFinished() async throws {
    let folder = try TemporaryFolder()
    let run = folder.file("run")
    let results = ["model.safetensors", "reconstructions.png", "metrics.csv"]
    func contents() throws -> [UInt64] { try results.map { try fingerprint(of: "\(run)/\($0)") } }
    let first = try await Tool.run(arguments(run, epochs: 3))
    try #require(first.status == 0, "\(first.errors)")
    let old = try Dictionary(
      uniqueKeysWithValues: results.map { ($0, try bytes(of: "\(run)/\($0)")) })
    let longer = try await resume(run, "--epochs", "5")
    try #require(longer.status == 0, "\(longer.errors)")
    let whole = try contents()
    let figures = try bytes(of: run + "/metrics.csv")

    for name in results {
      _ = try folder.write(old[name] ?? [], to: "run/\(name)")
      // The picture of an older model is not left beside the model.
      if name == "reconstructions.png" { unlink(run + "/reconstructions.png") }
      let last = try await resume(run)
      #expect(last.status == 0, "\(last.errors)")
      #expect(!last.output.contains("Finished"), "\(name)")
      #expect(try contents() == whole, "\(name)")
    }
    #expect(try await resume(run).output.hasPrefix("Finished: "))

    // Its length is known before its first step, and until the new model is there, the old one is.
    let script = """
      ulimit -t 100
      "$@" & p=$!
      while ! [ -e "\(run)/checkpoint.previous.safetensors" ]; do
        kill -0 $p || exit 9
        sleep 0.02
      done
      kill -KILL $p
      wait $p
      """
    let stopped = try await Tool.run(
      ["train", "--resume", run, "--epochs", "100000", "--device", "reference"],
      through: ["/bin/sh", "-c", script, "sh"])
    #expect(stopped.status == 137, "\(stopped.errors)")
    let checkpoint = try Checkpoint(path: run + "/checkpoint.safetensors")
    #expect(checkpoint.description.model.training.epochs == 100_000)
    #expect(checkpoint.run.epochsDone == 5 && checkpoint.run.stepsIntoEpoch == 0)
    // What is taken back is taken back for good, here by a run that may have done an epoch more.
    _ = try folder.write(figures, to: "run/metrics.csv")
    #expect(try await resume(run, "--epochs", "5").output.hasPrefix("Finished: "))
    #expect(try await resume(run).output.hasPrefix("Finished: "))
    #expect(!folder.names.contains("run/checkpoint.previous.safetensors"))
    // A device that cannot be had changes nothing.
    let nowhere = try await Tool.run(
      "train", "--resume", run, "--epochs", "9", "--device", "nobody's")
    #expect(nowhere.status == 1 && nowhere.errorLines.last?.hasPrefix("Error: --device") == true)
    #expect(try await resume(run).output.hasPrefix("Finished: "))
    #expect(try fingerprint(of: run + "/model.safetensors") == whole[0])
    #expect(try fingerprint(of: run + "/reconstructions.png") == whole[1])
  }

  @Test func badResumes() async throws {
    let folder = try TemporaryFolder()
    expectFailure(
      try await resume(folder.file("absent")), "\(folder.file("absent")): no such run to resume")
    expectFailure(
      try await resume(folder.path), "\(folder.path): holds no checkpoint to resume from")
    expectFailure(try await resume(""), status: 64, "--resume needs a path")
    for flag in [["--batch", "7"], ["--code=topk:3"], ["--output", "x"], ["--seed", "0"]] {
      let outcome = try await Tool.run(["train", "--resume", folder.path] + flag)
      expectFailure(
        outcome, status: 64, "leave out \(flag[0].prefix { $0 != "=" })")
    }
    expectFailure(
      try await Tool.run("train", "--data", "glyphs", "--output", "x", "--checkpoint-every", "5"),
      status: 64, "--checkpoint-every", "30s, 5m or 1h")
    expectFailure(
      try await Tool.run("train", "--output", "x"), status: 64,
      "Missing expected argument '--data <source>'")
  }

  @Test func dataThatHasChangedIsAnError() async throws {
    let folder = try TemporaryFolder()
    let run = folder.file("run")
    let images = try folder.write(idx([40, 6, 5]), to: "images")
    let first = try await Tool.onReference(
      "train", "--data", "idx:\(images)", "--batch", "8", "--epochs", "2", "--output", run)
    try #require(first.status == 0, "\(first.errors)")
    unlink(run + "/reconstructions.png")
    _ = try folder.write(Array(idx([40, 6, 5]).dropLast()) + [1], to: "images")
    expectFailure(try await resume(run), "idx:\(images): not the images that the run in \(run)")
    // Data may move, if it stays what it was.
    unlink(images)
    expectFailure(try await resume(run), images)
    let moved = try folder.write(idx([40, 6, 5]), to: "moved")
    let last = try await resume(run, "--data", "idx:\(moved)")
    #expect(last.status == 0, "\(last.errors)")
    #expect(folder.names.contains("run/reconstructions.png"))
  }

  @Test func aDamagedCheckpointIsReportedAndThePreviousTaken() async throws {
    let folder = try TemporaryFolder()
    let (whole, run) = (folder.file("whole"), folder.file("run"))
    let first = try await Tool.run(arguments(whole, epochs: 12))
    try #require(first.status == 0, "\(first.errors)")
    let stopped = try await Tool.run(
      arguments(run, epochs: 12),
      through: Wrapper.afterCheckpoint(of: run, named: "checkpoint.previous", "kill -KILL $p"))
    try #require(stopped.status == 137, "\(stopped.errors)")
    let path = run + "/checkpoint.safetensors"
    var bytes = try bytes(of: path)
    bytes[bytes.count / 2] ^= 4
    _ = try folder.write(bytes, to: "run/checkpoint.safetensors")
    let last = try await resume(run)
    #expect(last.status == 0, "\(last.errors)")
    #expect(
      last.errorLines.contains {
        $0
          == "Warning: \(path): damaged: the checksum differs; the previous checkpoint is good and "
          + "is taken"
      }, "\(last.errors)")
    try expectSameEnd(run, as: whole)
  }

  /// What may change a run's bits is noted: another device, another version.
  @Test(arguments: RunPlace.all)
  func aRunThatGoesOnElsewhereSaysSo(place: RunPlace) async throws {
    let folder = try TemporaryFolder()
    let run = folder.file("run")
    let first = try await Tool.run(arguments(run, epochs: 1))
    try #require(first.status == 0, "\(first.errors)")
    unlink(run + "/model.safetensors")
    let path = run + "/checkpoint.safetensors"
    var checkpoint = try Checkpoint(path: path)
    place.move(&checkpoint.description.device, &checkpoint.description.program)
    try checkpoint.contents().write(to: path)
    place.expectNote(in: try await resume(run))
  }

  /// A file that is whole, and says what no run can have written.
  @Test func aCheckpointOfAnImpossibleTimeIsRefused() async throws {
    let folder = try TemporaryFolder()
    let run = folder.file("run")
    let first = try await Tool.run(arguments(run, epochs: 2))
    try #require(first.status == 0, "\(first.errors)")
    unlink(run + "/model.safetensors")
    let path = run + "/checkpoint.safetensors"
    let good = try Checkpoint(path: path)
    var state = good.run
    state.seconds = -1e19
    try Checkpoint(description: good.description, run: state).contents().write(to: path)
    expectFailure(try await resume(run), "\(path): a time of -1e+19 s")
  }

  /// The lock dies with the process that holds it.
  @Test func aSecondProcessIsRefused() async throws {
    let folder = try TemporaryFolder()
    let run = folder.file("run")
    let tool = try Tool.path
    let outcome = try await Tool.run(
      arguments(run, epochs: 100_000),
      through: Wrapper.afterCheckpoint(
        of: run,
        "\"\(tool)\" train --resume \"\(run)\" --device reference; echo status $?; kill -KILL $p"))
    #expect(outcome.status == 137)
    #expect(outcome.output == "status 1\n")
    #expect(
      outcome.errorLines.contains {
        $0.hasPrefix("Error: \(run): another process (") && $0.hasSuffix(") is writing this run")
      }, "\(outcome.errors)")
    #expect(folder.names.contains("run/run.lock"))
    let next = try await Tool.run(
      ["train", "--resume", run, "--device", "reference"],
      through: Wrapper.signal("INT", to: run, after: 0.7))
    #expect(next.status == 130, "\(next.errors)")
  }

  /// A checkpoint of this network is 1.3 MB, one in mid-epoch 1.7 MB, its model 0.4 MB.
  @Test func aFullDiskLeavesThePreviousCheckpoint() async throws {
    let folder = try TemporaryFolder()
    let (whole, run) = (folder.file("whole"), folder.file("run"))
    for path in [whole, run] {
      let outcome = try await Tool.run(
        arguments(path, epochs: 3) + (path == run ? ["--checkpoint-every", "1e"] : []),
        through: path == run ? Wrapper.signal("KILL", to: run) : [])
      try #require([0, 137].contains(outcome.status), "\(outcome.errors)")
    }
    let before = try fingerprint(of: run + "/checkpoint.safetensors")
    let full = try await Tool.run(
      ["train", "--resume", run, "--device", "reference", "--checkpoint-every", "2steps"],
      through: Wrapper.fileSizeLimit(blocks: 2000))
    #expect(full.status == 1)
    let line = full.errorLines.last ?? ""
    #expect(line.hasPrefix("Error: \(run)/checkpoint.safetensors: cannot write: File too large"))
    #expect(line.hasSuffix("'sparrow train --resume \(run)' goes on from the last checkpoint"))
    #expect(try fingerprint(of: run + "/checkpoint.safetensors") == before)
    #expect(!folder.names.contains { $0.hasSuffix(".tmp") })
    try await expectResumed(run, toEndAs: whole)
  }

  @Test func aFolderThatVanishesIsAnError() async throws {
    let folder = try TemporaryFolder()
    let run = folder.file("run")
    let outcome = try await Tool.run(
      arguments(run, epochs: 100_000),
      through: Wrapper.afterCheckpoint(of: run, "mv \(run) \(run)x"))
    #expect(outcome.status == 1)
    #expect(
      outcome.errorLines.last
        == "Error: \(run): was removed or taken over by another process; nothing more is written "
        + "to it")
    #expect(folder.names.contains("runx/checkpoint.safetensors"))
  }

  /// The new run is left alone, and stays locked.
  @Test func aFolderThatAnotherRunHasTakenOverIsLeftAlone() async throws {
    let folder = try TemporaryFolder()
    let run = folder.file("run")
    let command = ([try Tool.path] + arguments(run, epochs: 100_000, ["--seed", "6"]))
      .map { "\"\($0)\"" }.joined(separator: " ")
    let outcome = try await Tool.run(
      arguments(run, epochs: 100_000),
      through: [
        "/bin/sh", "-c",
        "\"$@\"; s=$?; while [ ! -e \"\(run).over\" ]; do sleep 0.01; done; exit $s", "sh",
      ]
        + Wrapper.afterCheckpoint(
          of: run,
          """
          kill -STOP $p
          mv "\(run)" "\(run)x"
          \(command) 2>/dev/null & q=$!
          while kill -0 $q 2>/dev/null && [ ! -e "\(run)/checkpoint.safetensors" ]; do
            sleep 0.005
          done
          kill -CONT $p
          while kill -0 $p 2>/dev/null; do sleep 0.005; done
          [ -e "\(run)/run.lock" ] && echo locked
          kill -TERM $q; wait $q; echo second $?
          : > "\(run).over"
          """))
    #expect(outcome.status == 1)
    #expect(outcome.output == "locked\nsecond 143\n", "\(outcome.errors)")
    #expect(
      outcome.errorLines.last?.hasSuffix(
        "\(run): was removed or taken over by another process; "
          + "nothing more is written to it") == true, "\(outcome.errors)")
    #expect(!folder.names.contains("run/run.lock"))
  }

  /// Noticed before anything is trained.
  @Test func aFolderInTheWayOfWhatARunWrites() async throws {
    let folder = try TemporaryFolder()
    let run = folder.file("run")
    let stopped = try await Tool.run(
      arguments(run, epochs: 12),
      through: Wrapper.afterCheckpoint(of: run, named: "checkpoint.previous", "kill -KILL $p"))
    try #require(stopped.status == 137, "\(stopped.errors)")
    unlink(run + "/checkpoint.safetensors")
    unlink(run + "/model.safetensors")
    for name in ["checkpoint", "model"] {
      _ = try folder.makeFolder("run/\(name).safetensors")
      let outcome = try await resume(run)
      #expect(outcome.status == 1)
      #expect(
        outcome.errors == "Error: \(run)/\(name).safetensors: cannot write: it is a folder\n")
      rmdir("\(run)/\(name).safetensors")
    }
    #expect(try await resume(run).status == 0)
  }
}
