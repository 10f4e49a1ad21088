import ArgumentParser
import Foundation

/// The variables of the environment that settings are taken from, where a slip would else go unseen.
/// `SPARROW_DEVICE` is checked with `--device`.
enum EnvironmentVariables {
  /// Takes out a width of the terminal that is none, to which the parser would wrap its help: nothing
  /// would be left of it.
  static func correct() {
    if let text = getenv("COLUMNS"), Int(String(cString: text)).map({ $0 > 0 }) != true {
      unsetenv("COLUMNS")
    }
  }

  /// - Throws: `ValidationError` that names the variable and what it takes.
  static func check(_ environment: [String: String] = ProcessInfo.processInfo.environment) throws {
    if let text = environment[SelfTesting.limitVariable], !text.isEmpty,
      SelfTesting.limit(text) == nil
    {
      throw ValidationError(
        "\(SelfTesting.limitVariable) takes seconds, more than 0 and at most 1000000, not \(text)")
    }
    if let text = environment["SPARROW_TUNE"], !["", "off", "on"].contains(text) {
      throw ValidationError("SPARROW_TUNE takes on or off, not \(text)")
    }
  }
}
