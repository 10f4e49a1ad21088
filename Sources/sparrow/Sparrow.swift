import ArgumentParser
import Logging

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

      Shell completion: sparrow --generate-completion-script bash|zsh|fish
      """,
    version: version,
    subcommands: [
      Devices.self, Train.self, Evaluate.self, Encode.self, Reconstruct.self, Check.self,
      Bench.self, Fetch.self,
    ])

  static func main() {
    // Warnings go where errors go; standard output belongs to results.
    LoggingSystem.bootstrap { label in
      var handler = StreamLogHandler.standardError(label: label)
      handler.logLevel = .warning
      return handler
    }
    main(nil)
  }
}
