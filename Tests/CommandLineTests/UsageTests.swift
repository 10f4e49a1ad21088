import Foundation
import TestSupport
import Testing

/// Wrong command lines: status 64, one line that names the flag and where help is.
@Suite struct UsageTests {
  @Test(arguments: [
    (["bogus"], "'bogus'. See 'sparrow --help'."),
    (["help", "bogus"], "there is no command 'bogus'. See 'sparrow --help'."),
    (["help", "segment", "bogus"], "there is no command 'bogus'. See 'sparrow segment --help'."),
    (["train"], "'--data <source>'. See 'sparrow train --help'."),
    (["train", "--data", "glyphs"], "--output"),
    (["train", "--data", "glyphs", "--output", ""], "--output needs a path"),
    (["train", "--data", "glyphs", "--output", "x", "--bogus"], "--bogus"),
    (["train", "--data", "glyphs", "--output", "x", "extra"], "'extra'"),
    (["train", "--data", "glyphs", "--output", "x", "--epochs", "0"], "--epochs must be at least"),
    (
      ["train", "--data", "glyphs", "--output", "x", "--epochs", "-3"], "--epochs must be at least"
    ),
    (["train", "--data", "glyphs", "--output", "x", "--epochs", "many"], "--epochs"),
    (["train", "--data", "glyphs", "--output", "x", "--batch", "0"], "--batch must be at least"),
    (["train", "--data", "glyphs", "--output", "x", "--batch", "99999999999999999999"], "--batch"),
    (["train", "--data", "glyphs", "--output", "x", "--learning-rate", "0"], "--learning-rate"),
    (["train", "--data", "glyphs", "--output", "x", "--learning-rate", "-1"], "--learning-rate"),
    (["train", "--data", "glyphs", "--output", "x", "--learning-rate", "nan"], "--learning-rate"),
    (["train", "--data", "glyphs", "--output", "x", "--seed", "-1"], "--seed"),
    (["train", "--data", "glyphs", "--output", "x", "--preset", "other"], "--preset"),
    (["train", "--data", "", "--output", "x"], "--data"),
    (["train", "--data", "bogus:x", "--output", "x"], "--data 'bogus:x': no such kind of data"),
    (["train", "--data", "glyphs:0", "--output", "x"], "--data 'glyphs:0'"),
    (["train", "--data", "mnist:", "--output", "x"], "--data 'mnist:'"),
    (["train", "--data", "idx:a,b,c", "--output", "x"], "--data 'idx:a,b,c'"),
    (["train", "--data", "glyphs", "--output", "x", "--device", ""], "--device"),
    (["train", "--data", "glyphs", "--output", "x", "--device", "0:0:0"], "--device: '0:0:0'"),
    (Self.train("--clip", "1e-320"), "--clip 1e-320 is too small"),
    (Self.train("--clip", "1e-46"), "--clip 1e-46 is too small"),
    (Self.train("--clip", "1e308"), "--clip 1e+308 is too large"),
    (Self.train("--learning-rate", "1e300"), "--learning-rate 1e+300 is too large"),
    (Self.train("--alpha", "1e300"), "--alpha 1e+300 is too large"),
    (Self.train("--contractive", "1e300"), "--contractive 1e+300 is too large"),
    (Self.train("--beta2", "0.99999999999"), "--beta2 must be from 0 to below 1"),
    (Self.train("--target-l0", "1e-320"), "--target-l0 1e-320 is too small"),
    (Self.train("--epochs", "9223372036854775807"), "--epochs must be at most 4294967296"),
    (Self.segment("pretrain", "--beta", "1e-320"), "--beta 1e-320 is too small"),
    (["evaluate", "--data", "glyphs"], "--model"),
    (["evaluate", "--data", "glyphs", "--model", ""], "--model needs a path"),
    (["encode", "--data", "glyphs", "--model", "m"], "--output"),
    (["encode", "--data", "glyphs", "--model", "m", "--output", ""], "--output"),
    (["encode", "--data", "glyphs", "--model", "m", "--output", "x", "--part", "all"], "--part"),
    (["reconstruct", "--data", "glyphs", "--model", "m", "--output", ""], "--output"),
    (
      ["reconstruct", "--data", "glyphs", "--model", "m", "--output", "x", "--count", "-1"],
      "--count"
    ),
    (["bench", "bogus"], "'bogus'. See 'sparrow bench --help'."),
    (["bench", "matmul", "--shape", "3x3"], "--shape"),
    (["bench", "matmul", "--shape", "3x3x3,tc"], "--shape"),
    (["bench", "matmul", "--shape", "0x3x3"], "--shape"),
    (
      ["bench", "matmul", "--rounds", "0"],
      "--rounds must be at least 1, not 0. See 'sparrow bench matmul --help'."
    ),
    (["bench", "convolution", "--batch", "0"], "--batch"),
    (["bench", "convolution", "--size", "20"], "a multiple of 8"),
    (["bench", "convolution", "--base", "5000"], "--base must be at most 4096"),
    (["bench", "train", "--data", "bogus"], "--data 'bogus'"),
    (["bench", "train", "--epochs", "0"], "--epochs"),
    (["fetch", "mnist"], "--to"),
    (["fetch", "mnist", "--to", ""], "--to"),
    (["fetch", "bogus", "--to", "x"], "'bogus'"),
    (
      ["fetch", "mnist", "--to", "x", "--mirror", "ftp://localhost/"], "--mirror 'ftp://localhost/'"
    ),
    (Self.segment("pretrain", "--beta", "1e39"), "--beta 1e+39 is not within 0 and 1e+10. See"),
    (Self.segment("pretrain", "--alpha", "1e308"), "--alpha 1e+308 is not within 0 and 1e+10"),
    (Self.segment("pretrain", "--alpha", "nan"), "--alpha nan is not within 0 and 1e+10"),
    (Self.segment("pretrain", "--noise", "1e308"), "--noise 1e+308 is not within 0 and 100"),
    (Self.segment("train", "--dice", "1e308"), "--dice 1e+308 is not within 0 and 1000000"),
    (
      Self.segment("pretrain", "--checkpoint-every", "2epochs"),
      "--checkpoint-every takes 30s, 5m or 1h of time, 500steps, or off, not 2epochs"
    ),
    (Self.segment("train", "--checkpoint-every", "1e"), "500steps, or off, not 1e"),
    (["devices", "--device", "1:"], "--device: '1:'"),
    (["check", "--json", "yes"], "'yes'"),
  ])
  func wrongCommandLines(arguments: [String], words: String) async throws {
    // Nothing here may come so far as to need a device.
    expectFailure(try await Tool.run(arguments), status: 64, words)
  }

  private static func train(_ options: String...) -> [String] {
    ["train", "--data", "glyphs", "--output", "x"] + options
  }

  private static func segment(_ verb: String, _ options: String...) -> [String] {
    ["segment", verb, "--images", "x", "--output", "y"]
      + (verb == "train" ? ["--labels", "z"] : []) + options
  }

  /// The limit is named, and the flag that is wrong.
  @Test(arguments: [
    (
      ["--layers", "784-99999999-784"], "--layers: layer widths [784, 99999999, 784]; each is from"
    ),
    (["--latents", "100000000"], "--latents: layer widths [784, 100000000, 784]; each is from 1"),
    (["--latents", "16777216"], "--latents: more than 2^31 parameters"),
    (["--latents", "20", "--code", "topk:21"], "--code: topk:21 keeps more than the 20 latents"),
  ])
  func networksThatAreTooLarge(options: [String], words: String) async throws {
    let outcome = try await Tool.onReference(
      "train", "--data", "glyphs:50", "--output", "x", options[0], options[1],
      options.dropFirst(2).first ?? "--epochs", options.dropFirst(3).first ?? "1")
    #expect(outcome.status == 64)
    #expect(outcome.errorLines.last?.contains(words) == true, "\(outcome.errors)")
  }

  /// What does nothing is not taken.
  @Test func optionsThatDoNothingAreRefused() async throws {
    let folder = try TemporaryFolder()
    for (options, words) in [
      (["--dead-latents", "balance"], "--dead-latents balance is of sparse codes, not of relu"),
      (
        ["--contractive", "0.1", "--code", "hardconcrete"],
        "--contractive takes the slope of active units for one"
      ),
      (["--batch", "51"], "--batch 51 is larger than the set of 50 training images"),
    ] {
      let outcome = try await Tool.run(
        ["train", "--data", "glyphs:50", "--device", "reference", "--output", folder.file("x")]
          + options)
      #expect(outcome.status == 64)
      #expect(outcome.errorLines.last?.contains(words) == true, "\(outcome.errors)")
    }
    let dense = try await Tool.onReference(
      "train", "--data", "glyphs:50", "--epochs", "1", "--code", "topk:64", "--output",
      folder.file("dense"))
    #expect(dense.status == 0)
    #expect(dense.errorLines.contains("Note: topk:64 keeps all of the 64 latents, as relu does"))
  }

  /// What the user gives does not break an error's line.
  @Test func controlCharactersAreEscaped() async throws {
    let words = "no OpenCL device matches 'a\\nb\\u{1B}'"
    expectFailure(
      try await Tool.run("devices", "--device", "a\nb\u{1B}"), words, printsNothing: false)
    expectFailure(
      try await Tool.run("check", environment: ["SPARROW_DEVICE": "a\nb\u{1B}"]), words)
    expectFailure(
      try await Tool.run("train", "--data", "glyphs", "--output", "x", "--layers", "1-\n-1"),
      status: 64, "not 1-\\n-1")
  }

  @Test func helpOfHelpIsHelp() async throws {
    #expect(try await Tool.run("help", "help").status == 0)
    #expect(try await Tool.run("help", "segment", "train").output.contains("segment train"))
  }

  @Test func variablesOfTheEnvironmentAreChecked() async throws {
    for (name, value) in [
      ("SPARROW_SELF_TEST_LIMIT", "soon"), ("SPARROW_SELF_TEST_LIMIT", "-1"),
      ("SPARROW_TUNE", "maybe"),
    ] {
      let outcome = try await Tool.run("devices", environment: [name: value])
      #expect(
        outcome.status == 64 && outcome.errors.hasPrefix("Error: \(name) takes "),
        "\(outcome.errors)")
      #expect(outcome.errors.contains("not \(value)"))
    }
  }

  @Test func aBadDefaultDeviceIsNamedByItsVariable() async throws {
    let outcome = try await Tool.run(
      "check", environment: ["SPARROW_DEVICE": "0:0:0"])
    expectFailure(outcome, status: 64, "SPARROW_DEVICE: '0:0:0'")
  }
}

@Suite struct HelpTests {
  @Test(arguments: [
    [], ["devices"], ["train"], ["evaluate"], ["encode"], ["reconstruct"], ["inspect"], ["check"],
    ["bench"], ["bench", "matmul"], ["bench", "convolution"], ["bench", "train"],
    ["fetch"], ["sweep"],
  ])
  func everyVerbHasHelp(command: [String]) async throws {
    let outcome = try await Tool.run(command + ["--help"])
    #expect(outcome.status == 0)
    #expect(outcome.errors == "")
    #expect(outcome.output.contains("USAGE: sparrow"))
    let lines = outcome.output.split(separator: "\n")
    if command != ["bench"] {
      #expect(lines.contains { $0.hasPrefix("  sparrow \(command.joined(separator: " "))") })
    }
    // An example that is too long for a terminal is broken, and can no longer be copied.
    #expect(!lines.contains { $0.hasPrefix("-") })
    #expect(try await Tool.run(["help"] + command).output == outcome.output)
  }

  /// Each verb's help offers what it takes.
  @Test func onlyRunsWithEpochsOfferThem() async throws {
    for (verb, hasEpochs) in [
      (["train"], true), (["segment", "train"], false), (["segment", "pretrain"], false),
    ] {
      let help = try await Tool.run(verb + ["--help"]).output
      #expect(help.contains("500steps") && help.contains("2epochs") == hasEpochs, "\(help)")
    }
  }

  /// Of every command: an example that a terminal breaks can no longer be copied.
  @Test func examplesFitATerminal() async throws {
    let dump = try JSONDecoder().decode(
      Dump.self, from: Data(try await Tool.run("--experimental-dump-help").output.utf8))
    var examples = 0
    func check(_ command: Dump.Command) {
      let lines = [command.abstract, command.discussion].compactMap { $0 }
        .flatMap { $0.split(separator: "\n", omittingEmptySubsequences: false) }
      for (line, next) in zip(lines, lines.dropFirst() + [""]) where line.hasPrefix("  ") {
        examples += 1
        #expect(line.count <= 78, "\(line)")
        #expect(line.hasSuffix(" \\") == next.hasPrefix("    "), "\(line)")
      }
      for part in command.subcommands ?? [] { check(part) }
    }
    check(dump.command)
    #expect(examples > 50)
  }

  private struct Dump: Decodable {
    final class Command: Decodable {
      let abstract, discussion: String?
      let subcommands: [Command]?
    }
    let command: Command
  }

  @Test func everyExitStatusIsListed() async throws {
    let help = try await Tool.run("--help").output
    for status in ["0,", "64", "130, 143 or 129", "1 "] { #expect(help.contains(status)) }
  }

  @Test func theVersionIsPrinted() async throws {
    let outcome = try await Tool.run("--version")
    #expect(outcome.status == 0)
    #expect(outcome.output.contains(/^[0-9]+\.[0-9]+\.[0-9]+\n$/))
  }

  @Test(arguments: ["bash", "zsh", "fish"])
  func completionsAreGenerated(shell: String) async throws {
    let outcome = try await Tool.run("--generate-completion-script", shell)
    #expect(outcome.status == 0)
    for word in ["reconstruct", "learning-rate", "SPARROW".lowercased()] {
      #expect(outcome.output.contains(word))
    }
    // What follows a colon is an explanation to zsh, and the colon is not completed.
    #expect(outcome.output.contains(shell == "zsh" ? "mnist\\:" : "mnist:"))
    #expect(outcome.output.contains("'mnist:'") == (shell == "bash"))
  }

  /// As some programs set it that have no terminal; nothing would be left of the texts.
  @Test(arguments: ["0", "-3", "wide", ""])
  func helpHasAWidth(columns: String) async throws {
    let help = try await Tool.run("train", "--help", environment: ["COLUMNS": columns])
    #expect(help.output == (try await Tool.run("train", "--help").output))
    #expect(help.output.contains("The images: mnist:DIR"))
  }
}
