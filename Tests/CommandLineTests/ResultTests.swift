import Datasets
import Foundation
import Imaging
import TestSupport
import Testing

/// One JSON object, of numbers where numbers belong: decoding fails for anything else.
private func decode<Value: Decodable>(
  _ type: Value.Type, _ outcome: Tool.Outcome, sourceLocation: SourceLocation = #_sourceLocation
) throws -> Value {
  try #require(outcome.status == 0, "\(outcome.errors)", sourceLocation: sourceLocation)
  return try snakeCaseDecoder().decode(type, from: Data(outcome.output.utf8))
}

private struct Evaluation: Decodable {
  let mse, l0: Double
  let fvu: Double?
  let dead, latents, images: Int
  let device: String
}

@Suite struct EvaluateTests {
  @Test func theScoresAreNumbers() async throws {
    let result = try decode(
      Evaluation.self,
      try await Tool.onReference(
        "evaluate", "--model", Scratch.model, "--data", "glyphs:300", "--json"))
    #expect(result.mse > 0 && result.mse < 1)
    #expect(try #require(result.fvu) > 0)
    #expect(result.l0 > 0 && result.l0 <= 64)
    #expect(result.latents == 64 && (0..<64).contains(result.dead))
    #expect(result.images == Scratch.testCount)
    #expect(result.device.contains("reference"))
  }

  @Test func deviceAndReferenceAgree() async throws {
    let arguments = [
      "evaluate", "--model", try await Scratch.model, "--data", "glyphs:300", "--json",
    ]
    let outcome = try await Tool.run(arguments)
    expectDevice(outcome)
    let onDevice = try decode(Evaluation.self, outcome)
    let onReference = try decode(
      Evaluation.self, try await Tool.run(arguments + ["--device", "reference"]))
    #expect(abs(onDevice.mse - onReference.mse) < 1e-5 * onReference.mse)
    #expect(abs(onDevice.l0 - onReference.l0) < 0.05)
    #expect(!onDevice.device.isEmpty)
  }

  /// The fraction of no variance at all is no number.
  @Test func imagesWithoutVariance() async throws {
    let folder = try TemporaryFolder()
    let header = idx([40, 28, 28], elements: 0)
    let file = try folder.write(header + [UInt8](repeating: 7, count: 40 * 784), to: "flat")
    let arguments = ["evaluate", "--model", try await Scratch.model, "--data", "idx:\(file)"]
    let result = try decode(
      Evaluation.self, try await Tool.run(arguments + ["--json", "--device", "reference"]))
    #expect(result.fvu == nil)
    let plain = try await Tool.run(arguments + ["--device", "reference"])
    #expect(plain.status == 0)
    #expect(plain.output.contains("FVU undefined"))
  }
}

@Suite struct EncodeTests {
  @Test func theCodesAreThoseThatEvaluateCounts() async throws {
    let folder = try TemporaryFolder()
    let output = folder.file("codes.npy")
    let outcome = try await Tool.onReference(
      "encode", "--model", Scratch.model, "--data", "glyphs:300", "--output", output)
    #expect(outcome.status == 0)
    #expect(outcome.output == "Written: \(output), 60 codes of 64\n")
    let codes = try NPY.read(Float.self, from: output)
    #expect(codes.shape == [Scratch.testCount, 64])
    let evaluation = try decode(
      Evaluation.self,
      try await Tool.onReference(
        "evaluate", "--model", Scratch.model, "--data", "glyphs:300", "--json"))
    let nonzero = codes.values.count { $0 != 0 }
    #expect(abs(Double(nonzero) / Double(Scratch.testCount) - evaluation.l0) < 1e-9)
    let dead = (0..<64).count { latent in
      (0..<Scratch.testCount).allSatisfy { codes.values[$0 * 64 + latent] == 0 }
    }
    #expect(dead == evaluation.dead)
    #expect(codes.values.allSatisfy { $0 >= 0 })
  }

  @Test func theTrainingPartCanBeEncoded() async throws {
    let folder = try TemporaryFolder()
    let output = folder.file("codes.npy")
    let outcome = try await Tool.run(
      "encode", "--model", Scratch.model, "--data", "glyphs:300", "--part", "train", "--output",
      output)
    #expect(outcome.status == 0)
    expectDevice(outcome)
    #expect(try NPY.readHeader(output).shape == [Scratch.trainCount, 64])
  }
}

@Suite struct ReconstructTests {
  /// Inputs over reconstructions: rows of 16 pairs, a pixel between the images and around them,
  /// every pixel doubled.
  @Test func onePicture() async throws {
    let folder = try TemporaryFolder()
    let output = folder.file("picture.png")
    let outcome = try await Tool.onReference(
      "reconstruct", "--model", Scratch.model, "--data", "glyphs:300", "--count", "20", "--output",
      output)
    #expect(outcome.status == 0)
    let image = try ImageFile.read(output)
    #expect(image.width == 2 * (16 * 29 + 1))
    #expect(image.height == 2 * (4 * 29 + 1))
    #expect(image.channels == 1)
  }

  @Test func aFolderOfImages() async throws {
    let folder = try TemporaryFolder()
    let outcome = try await Tool.onReference(
      "reconstruct", "--model", Scratch.model, "--data", "glyphs:300", "--count", "3", "--output",
      folder.file("images"))
    #expect(outcome.status == 0)
    #expect(
      folder.names == ["images"] + ["000000", "000001", "000002"].map { "images/\($0).png" })
    let image = try ImageFile.read(folder.file("images/000001.png"))
    #expect((image.width, image.height, image.channels) == (28, 28, 1))
    #expect(Set(image.samples).count > 1)
  }
}

@Suite struct CheckTests {
  private struct Result: Decodable {
    struct Row: Decodable {
      let operation, shape, tier: String
      let error, bound, ratio: Double
      let passed: Bool
    }
    let device: String
    let passed: Bool
    let cases, failures: Int
    let results: [Row]
  }

  @Test func theDevicePassesTheQuickCheck() async throws {
    let outcome = try await Tool.run("check", "--quick", "--json")
    expectDevice(outcome)
    let result = try decode(Result.self, outcome)
    #expect(result.passed && result.failures == 0)
    #expect(result.cases == result.results.count && result.cases > 50)
    #expect(result.results.allSatisfy { $0.passed && $0.error <= $0.bound })
    #expect(Set(result.results.map(\.operation)).isSuperset(of: ["matmul", "adam", "gather"]))
    #expect(Set(result.results.map(\.tier)) == ["exact", "bound"])
  }

  @Test func theTableHasAVerdictForEachOperation() async throws {
    let outcome = try await Tool.onReference("check", "--quick")
    #expect(outcome.status == 0)
    let lines = outcome.output.split(separator: "\n")
    #expect(lines.first?.hasPrefix("operation") == true)
    #expect(lines.dropFirst().dropLast().allSatisfy { $0.hasSuffix("ok") })
    #expect(lines.last?.hasSuffix("cases within their bounds") == true)
  }
}

@Suite struct BenchTests {
  @Test func matmul() async throws {
    struct Result: Decodable {
      struct Row: Decodable {
        let m, n, k: Int
        let transposeA, transposeB: Bool
        let gflops, milliseconds: Double
        let shareOfPeak: Double?
      }
      let device: String
      let peakGflops: Double?
      let results: [Row]
    }
    let outcome = try await Tool.run(
      "bench", "matmul", "--shape", "16x24x32", "--shape", "8x8x8,ta,tb", "--rounds", "1", "--json")
    expectDevice(outcome)
    let result = try decode(Result.self, outcome)
    #expect(result.results.map { [$0.m, $0.n, $0.k] } == [[16, 24, 32], [8, 8, 8]])
    #expect(result.results.map(\.transposeA) == [false, true])
    #expect(result.results.allSatisfy { $0.gflops > 0 && $0.milliseconds > 0 })
    if let peak = result.peakGflops {
      #expect(result.results.allSatisfy { ($0.shareOfPeak ?? 0) > 0 && $0.gflops < peak })
    }
  }

  @Test(arguments: [true, false]) func convolutions(onDevice: Bool) async throws {
    struct Figure: Decodable { let gflops, milliseconds: Double }
    struct Result: Decodable {
      struct Row: Decodable {
        let layer: String
        let count: Int
        let gflop: Double
        let forward, inputGradient, weightGradient: Figure
      }
      let device: String
      let layers: [Row]
      let step, forward: Figure
    }
    let outcome = try await Tool.run(
      [
        "bench", "convolution", "--size", "16", "--base", "3", "--batch", "2", "--rounds", "1",
        "--json",
      ] + (onDevice ? [] : ["--device", "reference"]))
    if onDevice { expectDevice(outcome) }
    let result = try decode(Result.self, outcome)
    #expect(result.layers.map(\.count) == [1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 1, 1, 1, 1])
    #expect(result.layers[1].layer == "16x16, 3 to 3, 3x3")
    #expect(abs(result.layers[1].gflop - 2e-9 * 2 * 256 * 9 * 9) < 1e-12)
    for row in result.layers {
      for figure in [row.forward, row.inputGradient, row.weightGradient] {
        #expect(abs(figure.gflops * figure.milliseconds * 1e-3 - row.gflop) < 1e-6 * row.gflop)
      }
    }
    let forward = result.layers.reduce(0) { $0 + $1.forward.milliseconds * Double($1.count) }
    #expect(abs(result.forward.milliseconds - forward) < 1e-6 * forward)
    #expect(result.step.milliseconds > forward)
  }

  @Test(arguments: [true, false]) func training(onDevice: Bool) async throws {
    struct Result: Decodable {
      struct Row: Decodable {
        let operation: String
        let launchesPerStep, millisecondsPerStep, share: Double
      }
      let device: String
      let images, batch, stepsPerEpoch: Int
      let epochSeconds, stepMilliseconds, samplesPerSecond: Double
      let operations: [Row]
    }
    let outcome = try await Tool.run(
      ["bench", "train", "--data", "glyphs:300", "--batch", "70", "--epochs", "1", "--json"]
        + (onDevice ? [] : ["--device", "reference"]))
    let result = try decode(Result.self, outcome)
    #expect((result.images, result.batch, result.stepsPerEpoch) == (300, 70, 5))
    #expect(result.epochSeconds > 0 && result.stepMilliseconds > 0)
    if onDevice {
      expectDevice(outcome)
      if outcome.isOnDevice {
        #expect(abs(result.operations.reduce(0) { $0 + $1.share } - 1) < 1e-6)
      }
    }
  }
}
