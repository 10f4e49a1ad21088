import ArgumentParser
import Foundation

/// The command line as the system has it.
enum CommandArguments {
  /// Refuses `sparrow help` of a command that there is not, for which the parser shows the help of
  /// what is above it.
  ///
  /// - Throws: `ValidationError`.
  static func requireKnownCommand(_ arguments: [String] = CommandLine.arguments) throws {
    var words = arguments.dropFirst()
    guard words.popFirst() == "help" else { return }
    var command: any ParsableCommand.Type = Sparrow.self
    for word in words where !word.hasPrefix("-") && word != "help" {
      let commands = command.configuration.subcommands
      guard let next = commands.first(where: { $0._commandName == word }) else {
        throw ValidationError("there is no command '\(word)'")
      }
      command = next
    }
  }

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
