import ArgumentParser

struct SegmentPredict: ParsableCommand {
  static let configuration = CommandConfiguration(commandName: "predict", abstract: "")
  func run() throws {}
}
