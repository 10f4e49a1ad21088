import Datasets
import Foundation
import Imaging

/// The folder that a training run leaves behind: `model.safetensors`, `metrics.csv`,
/// `reconstructions.png`, and the checkpoints of `CheckpointStore`.
package struct RunFolder: Sendable {
  package let path: String

  package var model: String { path + "/model.safetensors" }
  package var metrics: String { path + "/metrics.csv" }
  package var picture: String { path + "/reconstructions.png" }

  package init(path: String) {
    self.path = path.count > 1 && path.hasSuffix("/") ? String(path.dropLast()) : path
  }

  /// - Throws: `FileError` where the folder holds a run already, or the path is no folder and
  ///   cannot become one.
  package func refuseExistingRun() throws {
    try CheckpointStore(folder: path).refuseExistingRun([model, metrics, picture])
  }

  /// Whether everything is there that a run of so many epochs leaves when it is done.
  ///
  /// Files alone do not tell: a run that was given more epochs has those of the shorter one until it
  /// writes its own. A model is never there beside the picture of another.
  package func isComplete(epochs: Int) -> Bool {
    guard FileManager.default.fileExists(atPath: picture),
      let model = try? ModelFile(path: model).description, model.epochsDone == epochs,
      let lines = FileManager.default.contents(atPath: metrics)
    else { return false }
    return lines.count(where: { $0 == UInt8(ascii: "\n") }) == epochs + 1
  }

  /// Writes the model, before which the picture of another goes.
  package func write(_ file: ModelFile) throws {
    unlink(picture)
    try file.write(to: model)
  }

  // MARK: Metrics

  package static let metricsHeader =
    "epoch,loss,mse,l0,seconds,samples_per_second,reconstruction,beta,dead\n"

  /// Appends a line to `metrics.csv`, after the header where the file is new.
  package func append(_ metrics: EpochMetrics) throws {
    guard let file = fopen(self.metrics, "a") else {
      throw FileError(path: self.metrics, "cannot write", code: errno)
    }
    let text = ftell(file) == 0 ? Self.metricsHeader + line(metrics) : line(metrics)
    let written = fputs(text, file) >= 0
    guard fclose(file) == 0, written else {
      throw FileError(path: self.metrics, "cannot write", code: errno)
    }
  }

  /// Writes `metrics.csv` anew.
  package func write(_ history: [EpochMetrics]) throws {
    try AtomicFile.write(
      [UInt8]((Self.metricsHeader + history.map(line).joined()).utf8), to: metrics)
  }

  private func line(_ metrics: EpochMetrics) -> String {
    "\(metrics.epoch),\(metrics.loss),\(metrics.mse),\(metrics.l0),"
      + "\(rounded(metrics.seconds)),\(whole(metrics.samplesPerSecond)),"
      + "\(metrics.reconstruction),\(metrics.beta),\(metrics.dead.map(String.init) ?? "")\n"
  }

  /// Figures of earlier epochs come from a file.
  private func whole(_ value: Double) -> Int { value > 0 ? Int(min(value, 0x1p53).rounded()) : 0 }

  private func rounded(_ seconds: Double) -> Double { (seconds * 1e6).rounded() / 1e6 }
}
