import ArgumentParser
import Datasets
import Foundation

struct Fetch: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Download a data set.",
    discussion: """
      Fetches the four files of MNIST, resumes what was cut off, and verifies each against its \
      SHA-256 before it gets its name. Files that are there and right are left alone.

      Examples:
        sparrow fetch mnist --to mnist
        sparrow fetch mnist --to mnist --mirror file:///media/stick/mnist/
      """)

  enum Name: String, CaseIterable, ExpressibleByArgument { case mnist }

  @Argument(help: "The data set: mnist.") var name: Name
  @Option(name: .customLong("to"), help: ArgumentHelp("The folder to write.", valueName: "dir"))
  var folder: String
  @Option(
    help: ArgumentHelp(
      "A mirror to use instead of the built-in ones: http, https or file. May be repeated.",
      valueName: "url"))
  var mirror: [String] = []

  func run() throws {
    let download: DatasetDownload
    do {
      download = try DatasetDownload.mnist(mirrors: mirror)
    } catch {
      throw ValidationError("\(error)")
    }
    let display = TransferDisplay()
    let outcomes = try download.run(into: folder) { display.show($0) }
    Console.clearLine()
    for (file, outcome) in outcomes {
      switch outcome {
      case .alreadyPresent: print("\(file): already there, verified")
      case .downloaded(let mirror): print("\(file): downloaded from \(mirror), verified")
      }
    }
    print("Train with: sparrow train --data mnist:\(folder) --output runs/mnist")
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
