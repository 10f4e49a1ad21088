import Foundation
import TestSupport
import Testing
import Training

@Suite struct DeviceFailureTests {
  private func train(
    _ run: String, failing call: Int, _ more: String..., code: Int = -5
  ) async throws -> Tool.Outcome {
    try await Tool.run(
      [
        "train", "--data", "glyphs:300", "--epochs", "30", "--batch", "32", "--output", run,
        "--checkpoint-every", "1e",
      ] + more, environment: ["SPARROW_FAIL_CALL": "\(call):\(code)"])
  }

  @Test func anErrorOfTheDeviceStopsAndLeavesACheckpoint() async throws {
    let folder = try TemporaryFolder()
    let (whole, run) = (folder.file("whole"), folder.file("run"))
    let good = try await train(whole, failing: 1_000_000_000)
    guard good.isOnDevice else { return }
    let outcome = try await train(run, failing: 9000)
    #expect(outcome.status == 1)
    let line = outcome.errorLines.last ?? ""
    #expect(line.hasPrefix("Error: the device failed: cl"), "\(line)")
    #expect(line.contains("CL_OUT_OF_RESOURCES (-5)"), "\(line)")
    #expect(line.contains("'sparrow train --resume \(run)' goes on from the last checkpoint"))
    #expect(line.hasSuffix("--device reference works without OpenCL"))
    let last = try await Tool.run("train", "--resume", run)
    #expect(last.status == 0, "\(last.errors)")
    try expectSameEnd(run, as: whole)
  }

  @Test func theReferenceGoesOnWhereItIsWished() async throws {
    let folder = try TemporaryFolder()
    let run = folder.file("run")
    let outcome = try await train(run, failing: 9000, "--on-device-failure", "reference")
    guard outcome.isOnDevice else { return }
    #expect(outcome.status == 0, "\(outcome.errors)")
    #expect(
      outcome.errorLines.contains {
        $0.hasPrefix("Warning: the device failed: cl") && $0.contains("; going on after ")
          && $0.hasSuffix(", on the reference")
      }, "\(outcome.errors)")
    #expect(outcome.errorLines.contains { $0.hasSuffix("its bits will be those of neither alone") })
    #expect(try figures(run).count == 31)
    // From the start, where nothing was saved yet.
    let early = try await train(
      folder.file("early"), failing: 300, "--on-device-failure", "reference")
    #expect(early.status == 0, "\(early.errors)")
    #expect(
      early.errorLines.contains { $0.contains("; going on from the start, on the reference") })
    #expect(try figures(folder.file("early")).count == 31)
  }

  /// A wish to stop that is not met yet when the device fails is met then.
  @Test func aSignalBeforeTheFailureIsNotForgotten() async throws {
    let folder = try TemporaryFolder()
    let run = folder.file("run")
    // While the kernels of the first step are compiled, which is when the run's folder is there.
    let script = """
      p=$$
      { while kill -0 $p 2>/dev/null && [ ! -e "\(run)/run.lock" ]; do sleep 0.005; done
        sleep 0.1; kill -TERM $p; } &
      exec "$@"
      """
    let outcome = try await Tool.run(
      [
        "train", "--data", "glyphs:300", "--epochs", "3", "--batch", "32", "--output", run,
        "--force-device", "--on-device-failure", "reference",
      ],
      environment: [
        "SPARROW_FAIL_CALL": "250:-5", "POCL_CACHE_DIR": try folder.makeFolder("pocl"),
        "SPARROW_CACHE_DIR": try folder.makeFolder("programs"),
      ], through: ["/bin/sh", "-c", script, "sh"])
    guard outcome.isOnDevice else { return }
    #expect(outcome.status == 128 + SIGTERM, "\(outcome.errors)")
    #expect(outcome.errors.contains("Stopped by SIGTERM after "), "\(outcome.errors)")
  }

  /// The batch that is proposed does fit.
  @Test func aBatchThatWouldFitIsNamed() async throws {
    let folder = try TemporaryFolder()
    func train(_ batch: Int) async throws -> Tool.Outcome {
      try await Tool.run(
        "train", "--data", "glyphs:12000", "--epochs", "1", "--batch", "\(batch)", "--layers",
        "784-8000-8-16-784", "--output", folder.file("run"), "--device", "0:0",
        environment: ["POCL_MEMORY_LIMIT": "1"])
    }
    let outcome = try await train(9000)
    guard outcome.isOnPoCL else { return }
    expectFailure(
      outcome, "out of device memory", "asked for 274.7 MiB", "allows 256.0 MiB", "would fit")
    let line = outcome.errorLines.last ?? ""
    let number = line.components(separatedBy: "--batch ").dropFirst(2).first?.prefix { $0.isNumber }
    let batch = try #require(number.flatMap { Int($0) }, "\(line)")
    #expect(batch > 7000 && batch < 9000)
    let fitting = try await train(batch)
    #expect(fitting.status == 0, "\(batch): \(fitting.errors)")
    let large = try await train(batch * 13 / 10)
    #expect(large.status == 1, "\(batch * 13 / 10) fits as well")
  }

  /// The number of crops that is proposed does fit, and not many more do.
  @Test func cropsThatWouldFitAreNamed() async throws {
    let folder = try TemporaryFolder()
    let drawn = try await Tool.run(
      "segment", "draw", "--count", "1", "--size", "512", "--output", folder.file("cells"))
    try #require(drawn.status == 0, "\(drawn.errors)")
    func pretrain(_ batch: Int) async throws -> Tool.Outcome {
      try await Tool.run(
        "segment", "pretrain", "--images", folder.file("cells/images"), "--crop", "256", "--batch",
        "\(batch)", "--steps", "1", "--output", folder.file("run"), "--device", "0:0",
        environment: ["POCL_MEMORY_LIMIT": "1"])
    }
    let outcome = try await pretrain(32)
    guard outcome.isOnPoCL else { return }
    let line = outcome.errorLines.last ?? ""
    #expect(outcome.status == 1 && line.hasPrefix("Error: out of device memory: "), "\(line)")
    let match = try #require(
      line.firstMatch(of: /with --batch 32 the run takes \d+ MiB; --batch (\d+) would fit$/),
      "\(line)")
    let batch = try #require(Int(match.1))
    #expect(!folder.names.contains("run"))
    let fitting = try await pretrain(batch)
    #expect(fitting.status == 0, "\(batch): \(fitting.errors)")
    try FileManager.default.removeItem(atPath: folder.file("run"))
    #expect(try await pretrain(batch * 14 / 10).status == 1, "\(batch * 14 / 10) fits as well")
  }

  /// The driver's version is kept, and where an old checkpoint has none, there is nothing to say.
  @Test func anotherDriverIsNoted() async throws {
    let folder = try TemporaryFolder()
    let run = folder.file("run")
    let first = try await train(run, failing: 1_000_000_000, "--epochs", "1")
    guard first.isOnDevice else { return }
    let path = run + "/checkpoint.safetensors"
    let checkpoint = try Checkpoint(path: path)
    let device = checkpoint.description.device
    let name = try #require(device.range(of: ", driver ").map { device[..<$0.lowerBound] })
    for (before, isNoted) in [(device, false), ("\(name)", false), ("\(name), driver 0", true)] {
      unlink(run + "/model.safetensors")
      var other = checkpoint
      other.description.device = before
      try other.contents().write(to: path)
      let outcome = try await Tool.run("train", "--resume", run)
      #expect(outcome.status == 0, "\(outcome.errors)")
      #expect(
        outcome.errorLines.contains(
          "Note: this run was on \(before) and goes on on \(device); its bits will be those of "
            + "neither alone") == isNoted, "\(outcome.errors)")
      #expect(outcome.errors.contains("Note: ") == isNoted)
    }
  }

  @Test func verifiedStepsAreCounted() async throws {
    let folder = try TemporaryFolder()
    let outcome = try await train(
      folder.file("run"), failing: 1_000_000_000, "--epochs", "2", "--verify-every", "7")
    guard outcome.isOnDevice else { return }
    #expect(outcome.status == 0, "\(outcome.errors)")
    #expect(
      outcome.errorLines.contains {
        $0.hasPrefix("Verified: 2 steps done again on the reference, all within their bounds")
      }, "\(outcome.errors)")
    // Each step of a sweep is one of each model.
    let sweep = try await Tool.run(
      "sweep", "--data", "glyphs:300", "--latents", "30", "--code", "topk", "--values", "2,4",
      "--epochs", "2", "--batch", "50", "--output", folder.file("s"), "--verify-every", "5")
    #expect(
      sweep.errorLines.contains {
        $0.hasPrefix("Verified: 4 steps done again on the reference, all within their bounds")
      }, "\(sweep.errors)")
  }
}
