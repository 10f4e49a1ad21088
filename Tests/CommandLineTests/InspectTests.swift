import Foundation
import Imaging
import TestSupport
import Testing

/// What inspection.json holds.
private struct Inspection: Decodable {
  struct Inputs: Decodable {
    let muNorm, sigmaNorm: Double
    let ratio: Double?
  }
  struct L0: Decodable {
    let mean, deviation: Double
    let minimum, p5, p25, median, p75, p95, maximum: Int
    let histogram: [Int]
  }
  struct Firing: Decodable {
    let edges: [Double]
    let counts: [Int]
    let dead: Int
  }
  struct Latent: Decodable {
    let latent, firings: Int
    let frequency: Double
    let meanActive, maximum: Double?
  }
  struct Exciters: Decodable {
    struct Image: Decodable {
      let image: Int
      let value: Double
      let label: Int?
    }
    let latent: Int
    let images: [Image]
  }
  struct Probe: Decodable {
    let accuracy, trainingAccuracy, majorityAccuracy: Double
    let classes, trainingImages, trainingImagesInAll, testImages: Int
  }
  let model, data, part, device: String
  let images, latents, dead: Int
  let inputs: Inputs
  let l0: L0
  let firing: Firing
  let perLatent: [Latent]
  let dictionaryOrder: [Int]
  let dictionaryKind: String
  let exciters: [Exciters]
  let probe: Probe?
}

@Suite struct InspectTests {
  private static let files = [
    "dictionary.png", "exciters.png", "firing.png", "inspection.json", "l0.png",
  ]

  private func decode(_ text: String) throws -> Inspection {
    try snakeCaseDecoder().decode(Inspection.self, from: Data(text.utf8))
  }

  @Test func everythingIsWritten() async throws {
    let folder = try TemporaryFolder()
    let look = folder.file("look")
    let outcome = try await Tool.onReference(
      "inspect", "--model", Scratch.model, "--data", "glyphs:300", "--output", look, "--json")
    try #require(outcome.status == 0, "\(outcome.errors)")
    #expect(folder.names == ["look"] + Self.files.map { "look/\($0)" })
    // Standard output is the file, and nothing else.
    #expect(try text(of: look + "/inspection.json") == outcome.output)

    let result = try decode(outcome.output)
    #expect((result.images, result.latents) == (Scratch.testCount, 64))
    #expect((result.part, result.data) == ("test", "glyphs"))
    #expect(result.device.contains("reference"))
    #expect(result.inputs.muNorm > 0 && result.inputs.sigmaNorm > 0)
    #expect(
      abs(try #require(result.inputs.ratio) - result.inputs.muNorm / result.inputs.sigmaNorm)
        < 1e-12)
    #expect(result.l0.histogram.reduce(0, +) == Scratch.testCount)
    let percentiles = [
      result.l0.minimum, result.l0.p5, result.l0.p25, result.l0.median, result.l0.p75,
      result.l0.p95, result.l0.maximum,
    ]
    #expect(percentiles == percentiles.sorted())
    #expect(result.perLatent.map(\.latent) == Array(0..<64))
    let firings = result.perLatent.reduce(0) { $0 + $1.firings }
    #expect(abs(Double(firings) / Double(Scratch.testCount) - result.l0.mean) < 1e-9)
    #expect(result.dead == result.perLatent.count { $0.firings == 0 })
    #expect(result.perLatent.allSatisfy { ($0.meanActive == nil) == ($0.firings == 0) })
    #expect(result.firing.counts.reduce(result.firing.dead, +) == 64)
    #expect(result.firing.edges.count == result.firing.counts.count + 1)
    let frequencies = result.dictionaryOrder.map { result.perLatent[$0].frequency }
    #expect(frequencies == frequencies.sorted(by: >) && frequencies.count == 64)
    #expect(result.dictionaryKind == "responses")
    #expect(result.exciters.map(\.latent) == Array(result.dictionaryOrder.prefix(16)))
    for row in result.exciters {
      let values = row.images.map(\.value)
      #expect(values == values.sorted(by: >) && !values.isEmpty)
      #expect(values.first == result.perLatent[row.latent].maximum)
      #expect(row.images.allSatisfy { $0.label != nil && $0.image < Scratch.testCount })
    }
    let probe = try #require(result.probe)
    #expect(probe.accuracy >= 0 && probe.accuracy <= 1)
    #expect(probe.trainingAccuracy > probe.majorityAccuracy)
    #expect(probe.trainingImages == Scratch.trainCount && probe.testImages == Scratch.testCount)

    for name in Self.files where name.hasSuffix(".png") {
      let image = try ImageFile.read("\(look)/\(name)")
      #expect(image.channels == 3 && Set(image.samples).count > 1, "\(name)")
    }
  }

  @Test func namedLatentsAndTheTrainingPart() async throws {
    let folder = try TemporaryFolder()
    let arguments = [
      "inspect", "--model", try await Scratch.model, "--data", "glyphs:300", "--part", "train",
      "--latent", "7", "3", "7", "--no-probe", "--output", folder.path, "--device", "reference",
    ]
    // The folder exists: only by force.
    expectFailure(try await Tool.run(arguments), "\(folder.path): exists already; --force")
    #expect(folder.names == [])
    let outcome = try await Tool.run(arguments + ["--force"])
    try #require(outcome.status == 0, "\(outcome.errors)")
    #expect(outcome.output.hasPrefix("Train: 300 images, L0 "))
    #expect(outcome.output.contains("||mu||"))
    #expect(!outcome.output.contains("Probe"))
    #expect(outcome.output.contains("Written: \(folder.path)/dictionary.png"))
    let result = try decode(try text(of: folder.file("inspection.json")))
    #expect(result.exciters.map(\.latent) == [7, 3])
    #expect(result.images == 300)
    #expect(result.probe == nil)
  }

  /// The same on the default device, without labels: no probe, and nothing said of it.
  @Test func imagesWithoutLabelsOnTheDevice() async throws {
    let folder = try TemporaryFolder()
    let images = try folder.write(idx([40, 28, 28]), to: "images")
    let arguments = [
      "inspect", "--model", try await Scratch.model, "--data", "idx:\(images)",
    ]
    let outcome = try await Tool.run(
      arguments + ["--output", folder.file("look"), "--top", "2"])
    try #require(outcome.status == 0, "\(outcome.errors)")
    expectDevice(outcome)
    #expect(!outcome.output.contains("Probe"))
    let result = try decode(try text(of: folder.file("look/inspection.json")))
    #expect(result.probe == nil && result.images == 4)
    #expect(result.exciters.allSatisfy { $0.images.allSatisfy { $0.label == nil } })

    expectFailure(
      try await Tool.run(
        arguments + ["--output", folder.file("probe"), "--probe", "--device", "reference"]),
      "--probe needs labels, and --data idx:\(images) has none")
    #expect(!folder.names.contains("probe"))
  }

  @Test func badInputs() async throws {
    let folder = try TemporaryFolder()
    let model = try await Scratch.model
    func inspect(_ more: [String], data: String = "glyphs:300") async throws -> Tool.Outcome {
      try await Tool.run(
        ["inspect", "--model", model, "--data", data, "--device", "reference"] + more)
    }
    let look = folder.file("look")
    expectFailure(
      try await inspect(["--output", look, "--latent", "64"]),
      "--latent 64: the model has the latents 0 to 63")
    expectFailure(
      try await inspect(["--output", look, "--latent", "1", "99999999999"]), "--latent 99999999999")
    expectFailure(try await inspect(["--output", look, "--latent", "-1"]), status: 64, "--latent")
    expectFailure(try await inspect(["--output", look, "--latent", "x"]), status: 64, "--latent")
    expectFailure(try await inspect(["--output", look, "--top", "0"]), status: 64, "--top must be")
    expectFailure(
      try await inspect(["--output", look, "--top", "-2"]), status: 64, "--top must be")
    expectFailure(try await inspect(["--output", ""]), status: 64, "--output needs a path")
    expectFailure(try await inspect([]), status: 64, "--output")
    let images = try folder.write(idx([40, 6, 5]), to: "images")
    expectFailure(
      try await inspect(["--output", look], data: "idx:\(images)"),
      "--data has images of 5x6x1, the model takes 28x28x1")
    expectFailure(
      try await inspect(["--output", images, "--force"]), "\(images): --output is a file")
    expectFailure(
      try await Tool.onReference(
        "inspect", "--model", images, "--data", "glyphs:300", "--output", look), "\(images): ")
    #expect(folder.names == ["images"])
  }
}
