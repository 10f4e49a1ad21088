import ArgumentParser
import Foundation

/// The command line as the system has it.
enum CommandArguments {
  /// Refuses arguments that are not UTF-8: as texts they have other bytes, and a path among them would
  /// be that of another file.
  ///
  /// - Throws: `ValidationError`.
  static func requireUTF8() throws {
    for index in 0..<Int(CommandLine.argc) {
      guard let argument = CommandLine.unsafeArgv[index] else { continue }
      let text = String(cString: argument)
      guard strcmp(text, argument) == 0 else {
        throw ValidationError("the argument '\(text)' is not valid UTF-8")
      }
    }
  }
}
