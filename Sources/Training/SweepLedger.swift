import Foundation
import Imaging

/// How far a sweep has come, kept in its folder as JSON.
package struct SweepLedger: Codable, Sendable {
  /// One for each model.
  package let configurations: [TrainingConfiguration]
  /// What the models differ in, as given on the command line.
  package let values: [Double]
  /// The name of the images.
  package let data: String
  /// Of the images: `Dataset.contentSHA256`; nil in ledgers of before it was kept.
  package var content: String?
  /// The same for all models.
  package var epochsDone = 0
  /// The figures of each epoch done, for each model.
  package var histories: [[EpochMetrics]]

  /// A sweep that has not begun.
  package init(
    configurations: [TrainingConfiguration], values: [Double], data: String, content: String
  ) {
    self.configurations = configurations
    self.values = values
    self.data = data
    self.content = content
    histories = configurations.map { _ in [] }
  }

  /// Figures of a hundred models over thousands of epochs take less.
  private static let maximumByteCount = 1 << 26

  /// - Throws: `FileError` where the file is damaged or holds something else.
  package init(path: String) throws {
    let bytes = try InputFile.bytes(of: path, maximum: Self.maximumByteCount)
    guard let ledger = try? JSONDecoder().decode(Self.self, from: Data(bytes)), ledger.isWhole
    else { throw FileError(path: path, reason: "cannot be read as what a sweep has done") }
    self = ledger
  }

  /// Whether it has the figures of all that it says is done.
  private var isWhole: Bool {
    !configurations.isEmpty && values.count == configurations.count
      && histories.count == configurations.count && epochsDone >= 0
      && zip(configurations, histories).allSatisfy { configuration, history in
        epochsDone <= configuration.epochs && history.count == epochsDone
          && zip(1..., history).allSatisfy { $0 == $1.epoch }
      }
  }

  /// Returns when the file is on the disk under its name.
  ///
  /// - Throws: `FileError` where the file cannot be written.
  package func write(to path: String) throws {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    let file = try AtomicFile(path: path)
    try file.write([UInt8](try encoder.encode(self)))
    try file.commit(syncsFolder: true)
  }
}
