import ArgumentParser
import Foundation
import Imaging
import Logging
import OpenCLRuntime

@main
struct Sparrow: ParsableCommand {
  static let version = "0.1.0"

  static let configuration = CommandConfiguration(
    commandName: "sparrow",
    abstract: "Trains sparse autoencoders on images, on any OpenCL device or the CPU.",
    discussion: """
      A first run, with data that the program draws itself:

        sparrow train --data glyphs --epochs 10 --output runs/first
        sparrow evaluate --model runs/first/model.safetensors --data glyphs

      With MNIST:

        sparrow fetch mnist --to mnist
        sparrow train --data mnist:mnist --output runs/mnist

      Results go to standard output, everything else to standard error. The exit status is 0, 64 \
      for a command line that is wrong, 130, 143 or 129 for a run that SIGINT, SIGTERM or SIGHUP \
      has stopped, 141 where nobody reads the results, or 1 for whatever else goes wrong; an error \
      is one line, and SPARROW_VERBOSE=1 adds what more there is, such as a kernel's build log.

      Shell completion: sparrow --generate-completion-script bash|zsh|fish
      """,
    version: version,
    subcommands: [
      Devices.self, Train.self, SweepCommand.self, Evaluate.self, Encode.self, Reconstruct.self,
      Inspect.self, Segment.self, Check.self, Bench.self, Fetch.self, SelfTestCommand.self,
    ])

  static func main() {
    Console.begin()
    // Warnings go where errors go; standard output belongs to results.
    LoggingSystem.bootstrap { _ in ConsoleLog() }
    // A limit on the size of files is an error of the call that meets it, as a full disk is.
    signal(SIGXFSZ, SIG_IGN)
    // Where it is ignored, as whoever started this process may have it, the system does away with
    // processes that have ended, and how they did is never known.
    signal(SIGCHLD, SIG_DFL)
    EnvironmentVariables.correct()
    StopSignals.unblock()
    UnfinishedFiles.removeWhenInterrupted()
    FaultInjection.armFromEnvironment()
    do {
      try CommandArguments.requireUTF8()
      try CommandArguments.requireKnownCommand()
      try EnvironmentVariables.check()
      var command = try parseAsRoot()
      try command.run()
    } catch {
      Failure.exit(with: error)
    }
  }
}
