import ArgumentParser
import Datasets
import Foundation

struct Fetch: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Download a data set.",
    discussion: """
      Fetches the four files of MNIST, resumes what was cut off, and verifies each against its \
      SHA-256 before it gets its name. Files that are there and right are left alone; others of the \
      same names, such as Fashion-MNIST's, are replaced with --force.

      Examples:
        sparrow fetch mnist --to mnist
        sparrow fetch mnist --to mnist --mirror file:///media/stick/mnist/
      """)

  enum Name: String, CaseIterable, ExpressibleByArgument { case mnist }

  @Argument(help: "The data set: mnist.") var name: Name
  @Option(
    name: .customLong("to"),
    help: ArgumentHelp("The folder to write; made where absent.", valueName: "dir"),
    completion: .directory)
  var folder: String
  @Option(
    help: ArgumentHelp(
      "A mirror to use instead of the built-in ones: http, https or file. May be repeated.",
      valueName: "url"))
  var mirror: [String] = []
  @Flag(help: "Replace files of the same names that are not those of the set.") var force = false

  func validate() throws {
    try requirePath(folder, "--to")
    _ = try download()
  }

  private func download() throws -> DatasetDownload {
    do {
      return try DatasetDownload.mnist(mirrors: mirror)
    } catch {
      throw ValidationError("--\(error)")
    }
  }

  func run() throws {
    let download = try download()
    let display = TransferDisplay()
    let outcomes = try download.run(into: folder, replaces: force) { display.show($0) }
    Console.clearLine()
    for (file, outcome) in outcomes {
      switch outcome {
      case .alreadyPresent: try Console.result("\(file): already there, verified")
      case .downloaded(let mirror):
        try Console.result("\(file): downloaded from \(mirror), verified")
      }
    }
    try Console.result(
      "Train with: sparrow train --data \(shellQuoted("mnist:\(folder)")) --output runs/mnist")
  }
}

/// Progress of a download: a live line on a terminal, now and then a line elsewhere.
private final class TransferDisplay: @unchecked Sendable {
  // Unchecked: calls come from the downloader's one thread, one after another.
  private var lastShown: ContinuousClock.Instant?

  func show(_ progress: DatasetDownload.Progress) {
    if let lastShown, lastShown.duration(to: .now) < .seconds(Console.isTerminal ? 0.1 : 2) {
      return
    }
    lastShown = .now
    let total = progress.total.map { " of \($0 / 1024)" } ?? ""
    let line = "\(progress.file): \(progress.bytes / 1024)\(total) KiB"
    Console.isTerminal ? Console.overwrite(line) : Console.note(line)
  }
}
