import ArgumentParser
import Compute
import Foundation
import OpenCLRuntime

/// How an error reaches the user: one line on standard error, and the exit status.
enum Failure {
  /// Whether the environment's `SPARROW_VERBOSE` asks for all there is to an error.
  private static var isVerbose: Bool {
    let value = ProcessInfo.processInfo.environment["SPARROW_VERBOSE"] ?? ""
    return !["", "0"].contains(value)
  }

  /// Ends the process: with status 0 where the "error" is a request for help, with 64 for a wrong
  /// command line, else with 1.
  static func exit(with error: any Error) -> Never {
    let status = Sparrow.exitCode(for: error)
    // Help, versions and completions are results; a bare status has been explained already.
    if error is ExitCode { Sparrow.exit(withError: error) }
    if status.isSuccess { exit(saying: Sparrow.fullMessage(for: error)) }
    let isUsage = status == .validationFailure
    let lines = escapingInput(in: isUsage ? Sparrow.message(for: error) : text(of: error))
      .split(whereSeparator: \.isNewline)
    var first = String(lines.first ?? "unknown error")
    if isUsage {
      first +=
        (first.hasSuffix(".") || first.hasSuffix("?") ? " " : ". ")
        + "See '\(helpCommand()) --help'."
    } else if lines.count > 1, !isVerbose {
      first += " (SPARROW_VERBOSE=1 shows more)"
    }
    Console.clearLine()
    Console.note("Error: \(first)")
    if isVerbose {
      for line in lines.dropFirst() { Console.note(String(line)) }
    }
    Sparrow.exit(withError: status)
  }

  /// Unlike the parser, notices where the text cannot be written.
  private static func exit(saying result: String) -> Never {
    do {
      if !result.isEmpty { try Console.result(result) }
    } catch {
      Console.note("Error: \(error)")
      Sparrow.exit(withError: ExitCode.failure)
    }
    Sparrow.exit()
  }

  /// The message with escapes for the control characters of what the user gave, so that it is one
  /// line that does nothing to a terminal.
  private static func escapingInput(
    in message: String, _ arguments: [String] = Array(CommandLine.arguments.dropFirst())
  ) -> String {
    let device = ProcessInfo.processInfo.environment[DeviceRequest.environmentVariable]
    var result = message
    // A message may have the part of an argument behind the name of its kind alone.
    let parts = (arguments + [device ?? ""]).flatMap { argument in
      [argument]
        + [Character("="), ":"].compactMap { mark in
          argument.firstIndex(of: mark).map { String(argument[argument.index(after: $0)...]) }
        }
    }
    let harmful: Set<Unicode.GeneralCategory> = [.control, .lineSeparator, .paragraphSeparator]
    for part in parts {
      let escaped = part.unicodeScalars.map { scalar in
        harmful.contains(scalar.properties.generalCategory)
          ? scalar.escaped(asASCII: true) : String(scalar)
      }.joined()
      if escaped != part { result = result.replacingOccurrences(of: part, with: escaped) }
    }
    return result
  }

  private static func text(of error: any Error) -> String {
    switch error {
    case let error as OpenCLError where error.isShortageOfMemory:
      "out of device memory (a smaller batch, crop or size takes less): \(error)"
    case let error as OpenCLError:
      "\(error)".appendingToFirstLine("; --device reference works without OpenCL")
    case BackendError.outOfMemory:
      "out of memory (a smaller batch, crop or size takes less): \(error)"
    default:
      Sparrow.message(for: error)
    }
  }

  /// The command that the arguments name, as far as they name one: `sparrow bench matmul`.
  private static func helpCommand(
    _ arguments: some Sequence<String> = CommandLine.arguments.dropFirst()
  ) -> String {
    var command: any ParsableCommand.Type = Sparrow.self
    var names = ["sparrow"]
    for argument in arguments where argument != "help" {
      guard
        let next = command.configuration.subcommands.first(where: { $0._commandName == argument })
      else { break }
      command = next
      names.append(argument)
    }
    return names.joined(separator: " ")
  }
}

extension OpenCLError {
  /// Whether it says that memory was refused, whatever code the driver has for it.
  var isShortageOfMemory: Bool {
    switch symbol {
    case "CL_MEM_OBJECT_ALLOCATION_FAILURE", "CL_OUT_OF_HOST_MEMORY": true
    case "CL_INVALID_BUFFER_SIZE", "CL_OUT_OF_RESOURCES": call == "clCreateBuffer"
    default: false
    }
  }
}

extension String {
  /// A build log may follow on further lines.
  func appendingToFirstLine(_ addition: String) -> String {
    let end = firstIndex(where: \.isNewline) ?? endIndex
    return self[..<end] + addition + self[end...]
  }
}

/// An error that is known to be one line.
struct Problem: Error, CustomStringConvertible {
  let description: String

  init(_ description: String) { self.description = description }
}
