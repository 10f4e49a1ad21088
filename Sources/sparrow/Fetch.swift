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
    // Written once the downloader is in place.
  }
}
