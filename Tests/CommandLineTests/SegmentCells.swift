import Foundation
import Testing

/// Drawn cells and a model trained on them, made once for all tests of segmentation.
struct Cells: Sendable {
  /// A folder that they all write to, each under names of its own.
  let folder: String
  let images, labels, model: String
  /// What training said.
  let training: Tool.Outcome

  static let shared = Task { try await Cells() }

  private init() async throws {
    folder = Scratch.path("segment")
    let cells = folder + "/cells"
    let drawn = try await Tool.run(
      "segment", "draw", "--count", "3", "--size", "48", "--output", cells)
    #expect(drawn.status == 0, "\(drawn.errors)")
    (images, labels, model) = ("\(cells)/images", "\(cells)/labels", folder + "/model")
    training = try await Tool.onReference(
      "segment", "train", "--images", images, "--labels", labels, "--preset", "small", "--steps",
      "3", "--batch", "1", "--classes", "cytoplasm=0,membrane=128,nucleus=255", "--output", model)
    #expect(training.status == 0, "\(training.errors)")
  }

  func file(_ name: String) -> String { "\(folder)/\(name)" }

  /// What an evaluation of a model by these cells says, on the reference.
  func figures(of model: String, _ arguments: String...) async throws -> String {
    let run = try await Tool.run(
      [
        "segment", "evaluate", "--model", model, "--images", images, "--labels", labels, "--device",
        "reference",
      ] + arguments)
    #expect(run.status == 0, "\(run.errors)")
    return run.output
  }
}
