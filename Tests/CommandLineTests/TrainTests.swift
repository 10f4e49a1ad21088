import Foundation
import TestSupport
import Testing

@Suite struct TrainTests {
  private func train(
    _ output: String, seed: Int = 7, device: String?, more: [String] = []
  ) async throws -> Tool.Outcome {
    try await Tool.run(
      [
        "train", "--data", "glyphs:300", "--epochs", "3", "--batch", "70", "--seed", "\(seed)",
        "--output", output,
      ] + (device.map { ["--device", $0] } ?? []) + more)
  }

  @Test func aRunLeavesModelMetricsAndPicture() async throws {
    let folder = try TemporaryFolder()
    // The folder above is made as well.
    let run = folder.file("runs/first")
    let outcome = try await train(run, device: "reference")
    #expect(outcome.status == 0)
    #expect(
      folder.names == [
        "runs", "runs/first", "runs/first/checkpoint.safetensors", "runs/first/metrics.csv",
        "runs/first/model.safetensors", "runs/first/reconstructions.png",
      ])
    #expect(outcome.output.hasPrefix("Test: MSE "))
    #expect(outcome.output.contains("Written: \(run)/model.safetensors"))
    // Progress and explanations go to standard error, in plain lines where that is no terminal.
    #expect(outcome.deviceLine.contains("reference"))
    for epoch in 1...3 {
      #expect(outcome.errorLines.contains { $0.hasPrefix("epoch \(epoch)/3  loss ") })
    }
    #expect(!outcome.errors.contains("\u{1B}"))

    let rows = try text(of: run + "/metrics.csv").split(separator: "\n")
      .map { $0.split(separator: ",").map(String.init) }
    #expect(rows.first?.starts(with: ["epoch", "loss", "mse", "l0", "seconds"]) == true)
    #expect(rows.count == 4)
    for (index, row) in rows.dropFirst().enumerated() {
      // The weight of a penalty is zero here, and a ReLU code's latents are not watched.
      #expect(row[7] == "0.0")
      let numbers = row.prefix(7).compactMap(Double.init)
      #expect(numbers.count == 7)
      #expect(numbers.first == Double(index + 1))
      #expect(numbers.allSatisfy { $0.isFinite && $0 > 0 })
    }
  }

  /// On the default device and on the reference: equal seeds, equal files, whatever the time.
  @Test(arguments: ["reference", nil])
  func oneSeedGivesOneModel(device: String?) async throws {
    let folder = try TemporaryFolder()
    var models: [UInt64] = []
    for (name, seed) in [("a", 7), ("b", 7), ("c", 8)] {
      let outcome = try await train(folder.file(name), seed: seed, device: device)
      try #require(outcome.status == 0, "\(outcome.errors)")
      if device == nil { expectDevice(outcome) }
      models.append(try fingerprint(of: folder.file("\(name)/model.safetensors")))
    }
    #expect(models[0] == models[1])
    #expect(models[0] != models[2])
  }

  /// Where the first epoch fails, the initial model is the last good one.
  @Test func divergenceStopsAndKeepsTheInitialModel() async throws {
    let folder = try TemporaryFolder()
    let run = folder.file("run")
    let outcome = try await train(run, device: "reference", more: ["--learning-rate", "1e30"])
    expectFailure(outcome, "step 2 of epoch 1", "kept the initial model", "--learning-rate")
    #expect(folder.names == ["run", "run/model.safetensors"])
    try await expectLoadable(run)
  }

  /// One step an epoch: the loss of the first is fine, the weights after it are not.
  @Test func weightsThatOverflowInTheLastStepAreNotKept() async throws {
    let folder = try TemporaryFolder()
    let run = folder.file("run")
    let outcome = try await Tool.onReference(
      "train", "--data", "glyphs:300", "--epochs", "1", "--batch", "300", "--learning-rate", "3e38",
      "--output", run)
    expectFailure(outcome, "step 1 of epoch 1", "kept the initial model")
    try await expectLoadable(run)
  }

  /// In the last update, which leaves weights that are finite and of no use.
  @Test func divergenceInTheLastStepIsNoSuccess() async throws {
    let folder = try TemporaryFolder()
    let run = try await Tool.onReference(
      "train", "--data", "glyphs:200", "--epochs", "1", "--learning-rate", "1e30", "--batch", "200",
      "--output", folder.file("run"))
    expectFailure(run, "training diverged", "the errors of the test images are not")
    let sweep = try await Tool.onReference(
      "sweep", "--data", "glyphs:200", "--epochs", "1", "--learning-rate", "1e30", "--batch", "200",
      "--code", "topk", "--values", "2,4", "--output", folder.file("sweep"))
    expectFailure(sweep, "topk 2: training diverged", "no model is written")
    #expect(!folder.names.contains { $0.hasPrefix("sweep/") && $0.hasSuffix("model.safetensors") })
    let code = try await Tool.onReference(
      "train", "--data", "glyphs:200", "--epochs", "3", "--code", "jumprelu", "--target-l0", "8",
      "--learning-rate", "1e30", "--output", folder.file("jumprelu"))
    #expect(code.status == 1 && code.errors.contains("Error: training diverged"))
  }

  @Test func divergenceOnADevice() async throws {
    let folder = try TemporaryFolder()
    let run = folder.file("run")
    let outcome = try await train(run, device: nil, more: ["--learning-rate", "1e30"])
    expectDevice(outcome)
    expectFailure(outcome, "step 2 of epoch 1", "kept the initial model")
    try await expectLoadable(run)
  }

  private func expectLoadable(_ run: String) async throws {
    let outcome = try await Tool.onReference(
      "evaluate", "--model", "\(run)/model.safetensors", "--data", "glyphs:300")
    #expect(outcome.status == 0, "\(outcome.errors)")
  }
}
