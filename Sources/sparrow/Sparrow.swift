import ArgumentParser

@main
struct Sparrow: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "sparrow",
    abstract: "Trains sparse autoencoders on images, on any OpenCL device.")
}
