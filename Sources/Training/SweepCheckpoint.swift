import Datasets
import Foundation
import Imaging

/// What a sweep is, and how far it has come.
package struct SweepDescription: Codable, Sendable {
  /// One for each model.
  package let configurations: [TrainingConfiguration]
  /// What the models differ in, as given on the command line.
  package let values: [Double]
  /// The name of the images.
  package let data: String
  /// Of the images: `Dataset.contentSHA256`.
  package let content: String
  /// What the sweep was on last, with the version of its driver.
  package var device = ""
  /// The version of Sparrow that wrote it.
  package var program = ""
  /// Where each model stands; empty before the first checkpoint.
  package fileprivate(set) var positions: [RunPosition] = []

  /// A sweep that has not begun.
  package init(
    configurations: [TrainingConfiguration], values: [Double], data: String, content: String
  ) {
    self.configurations = configurations
    self.values = values
    self.data = data
    self.content = content
  }

  /// Whether it is the same sweep, of images of the same name, however far.
  package func isSame(as other: SweepDescription) -> Bool {
    configurations == other.configurations && values == other.values && data == other.data
  }
}

/// A sweep as a `StateFile`: the tensors of each model's `RunState`, after its number from 0, as in
/// `2/history`.
package struct SweepCheckpoint: Sendable {
  package var description: SweepDescription
  /// One for each model, all at the same position.
  package var runs: [RunState]

  package static let format = "sweep 1"

  package init(description: SweepDescription, runs: [RunState]) {
    self.description = description
    self.runs = runs
    self.description.positions = runs.map(\.position)
  }

  package func contents() throws -> Safetensors {
    let entries = zip(description.configurations, runs).enumerated().flatMap { index, model in
      let (configuration, run) = model
      return run.entries(configuration.network.parameterLayout).map {
        Safetensors.Entry(name: "\(index)/\($0.name)", shape: $0.shape, elements: $0.elements)
      }
    }
    return try StateFile.contents(
      format: Self.format, description: description, entries: entries)
  }

  /// - Throws: `FileError` where the file is damaged or something else.
  package init(path: String) throws {
    let file = try StateFile(path: path, formats: [Self.format], kind: "the checkpoint of a sweep")
    description = try file.description(as: SweepDescription.self)
    let (configurations, positions) = (description.configurations, description.positions)
    guard !configurations.isEmpty, description.values.count == configurations.count,
      positions.count == configurations.count
    else { throw FileError(path: path, reason: "not as many values as models") }
    for problem in configurations.compactMap(\.runProblem) {
      throw FileError(path: path, reason: "a model's configuration: \(problem)")
    }
    guard
      positions.allSatisfy({
        $0.epochsDone == positions[0].epochsDone && $0.stepsIntoEpoch == positions[0].stepsIntoEpoch
      })
    else { throw FileError(path: path, reason: "its models are not equally far") }
    var entries = configurations.map { _ in [Safetensors.Entry]() }
    for entry in file.entries {
      let parts = entry.name.split(separator: "/", maxSplits: 1)
      guard parts.count == 2, let index = Int(parts[0]), entries.indices.contains(index),
        entry.name == "\(index)/\(parts[1])"
      else {
        throw FileError(path: path, reason: "tensor \"\(entry.name)\" is of none of its models")
      }
      entries[index].append(
        Safetensors.Entry(name: String(parts[1]), shape: entry.shape, elements: entry.elements))
    }
    runs = try configurations.indices.map {
      try RunState(
        position: positions[$0], entries[$0], layout: configurations[$0].network.parameterLayout,
        path: path)
    }
  }
}
