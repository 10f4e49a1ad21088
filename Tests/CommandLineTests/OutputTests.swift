import Foundation
import TestSupport
import Testing

/// Where results cannot go, and what must not be overwritten.
@Suite struct OutputTests {
  private func train(_ output: String, through wrapper: [String] = []) async throws -> Tool.Outcome
  {
    try await Tool.onReference(
      "train", "--data", "glyphs:300", "--epochs", "1", "--batch", "50", "--output", output,
      through: wrapper)
  }

  private func convert(
    _ verb: String, to output: String, force: Bool = false, through wrapper: [String] = []
  ) async throws -> Tool.Outcome {
    try await Tool.run(
      [verb, "--model", Scratch.model, "--data", "glyphs:300", "--output", output]
        + (force ? ["--force"] : []) + ["--device", "reference"], through: wrapper)
  }

  @Test func aRunIsNotOverwritten() async throws {
    let folder = try TemporaryFolder()
    let run = folder.file("run")
    #expect(try await train(run).status == 0)
    func contents() throws -> [String: UInt64] {
      try Dictionary(
        uniqueKeysWithValues: folder.names.dropFirst().map {
          ($0, try fingerprint(of: folder.file($0)))
        })
    }
    let before = try contents()
    #expect(
      before.keys.sorted() == [
        "run/checkpoint.safetensors", "run/metrics.csv", "run/model.safetensors",
        "run/reconstructions.png",
      ])
    expectFailure(try await train(run), "\(run): already holds a run")
    #expect(try contents() == before)

    // A run that was cut off counts as well.
    try FileManager.default.removeItem(atPath: run + "/model.safetensors")
    expectFailure(try await train(run + "/"), "\(run): already holds a run")
    #expect(!folder.names.contains("run/model.safetensors"))
  }

  @Test func aRunsFolderMayHoldOtherThings() async throws {
    let folder = try TemporaryFolder()
    _ = try folder.write("mine", to: "notes.txt")
    #expect(try await train(folder.path).status == 0)
    #expect(try text(of: folder.file("notes.txt")) == "mine")
  }

  @Test func aFileInTheWay() async throws {
    let folder = try TemporaryFolder()
    let file = try folder.write("mine", to: "file")
    expectFailure(try await train(file), "Error: \(file): ")
    for output in ["\(file)/run", "\(file)/a/b"] {
      expectFailure(try await train(output), "Error: \(output): ", "\(file) is a file")
      for verb in ["encode", "reconstruct"] {
        expectFailure(try await convert(verb, to: output), "Error: \(output): ", "is a file")
      }
    }
    #expect(try text(of: file) == "mine")
    #expect(folder.names == ["file"])
  }

  @Test(.enabled(if: FileManager.default.fileExists(atPath: "/proc/self")))
  func aFolderThatNobodyMayWrite() async throws {
    for output in ["/proc/run", "/proc/self/run"] {
      expectFailure(try await train(output), "Error: \(output): ")
      expectFailure(try await convert("encode", to: output), "Error: \(output): cannot write")
      expectFailure(try await convert("reconstruct", to: output), "Error: \(output): ")
      expectFailure(
        try await Tool.run("segment", "draw", "--output", output), "Error: \(output): ")
    }
  }

  @Test(arguments: [
    ("encode", "codes.npy"), ("reconstruct", "images.png"), ("reconstruct", "images"),
  ])
  func resultsAreReplacedOnlyWhenForced(verb: String, name: String) async throws {
    let folder = try TemporaryFolder()
    let output = folder.file(name)
    if name == "images" {
      _ = try folder.makeFolder("images")
    } else {
      _ = try folder.write("mine", to: name)
    }
    expectFailure(try await convert(verb, to: output), "\(output): exists already; --force")
    if name != "images" { #expect(try text(of: output) == "mine") }
    #expect(try await convert(verb, to: output, force: true).status == 0)
    #expect(folder.names.count == (name == "images" ? 1 + Scratch.testCount : 1))
  }

  /// A limit on the size of files is what a full disk looks like from inside.
  private func limited(blocks: Int) -> [String] {
    ["/bin/sh", "-c", "trap '' XFSZ; ulimit -f \(blocks); exec \"$0\" \"$@\""]
  }

  @Test func aFullDiskLeavesNoHalfFile() async throws {
    let folder = try TemporaryFolder()
    let run = folder.file("run")
    expectFailure(
      try await train(run, through: limited(blocks: 16)), "\(run)/checkpoint.safetensors: ")
    #expect(folder.names == ["run", "run/metrics.csv"])
    for (verb, name) in [("encode", "codes.npy"), ("reconstruct", "images.png")] {
      let outcome = try await convert(verb, to: folder.file(name), through: limited(blocks: 4))
      expectFailure(outcome, "\(folder.file(name)): cannot write")
    }
    #expect(folder.names == ["run", "run/metrics.csv"])
  }

  @Test(
    .enabled(if: FileManager.default.fileExists(atPath: "/dev/full")), arguments: [false, true])
  func resultsThatCannotBeWrittenAreAFailure(json: Bool) async throws {
    let outcome = try await Tool.run(
      ["evaluate", "--model", Scratch.model, "--data", "glyphs:300", "--device", "reference"]
        + (json ? ["--json"] : []), output: "/dev/full")
    expectFailure(outcome, "standard output: cannot write")
    for flag in ["--help", "--version"] {
      expectFailure(
        try await Tool.run([flag], output: "/dev/full"), "standard output: cannot write")
    }
  }

  /// Nothing that is opened later is taken for them.
  @Test func closedStandardStreamsDoNoHarm() async throws {
    let folder = try TemporaryFolder()
    let run = folder.file("run")
    let outcome = try await train(run, through: ["/bin/sh", "-c", "exec \"$0\" \"$@\" <&- 2>&-"])
    #expect(outcome.status == 0)
    let whole = folder.file("whole")
    #expect(try await train(whole).status == 0)
    for name in ["model.safetensors", "reconstructions.png"] {
      #expect(try fingerprint(of: "\(run)/\(name)") == fingerprint(of: "\(whole)/\(name)"))
    }
    let silent = try await train(
      folder.file("silent"), through: ["/bin/sh", "-c", "exec \"$0\" \"$@\" >&- "])
    expectFailure(silent, "standard output: cannot write")
  }

  /// Whoever no longer listens to the progress does not end the training; whoever no longer reads the
  /// results ends the program, as everywhere.
  @Test func brokenPipes() async throws {
    let folder = try TemporaryFolder()
    func status(_ redirections: String, _ arguments: [String]) async throws -> String {
      // Begun when the reader is gone.
      let script =
        "{ sleep 0.2; \"$0\" \"$@\" \(redirections); echo $? >\"\(folder.file("status"))\"; } | true"
      _ = try await Tool.run(arguments, through: ["/bin/sh", "-c", script])
      return try text(of: folder.file("status"))
    }
    let training = [
      "train", "--data", "glyphs:200", "--epochs", "2", "--output", folder.file("run"), "--device",
      "reference",
    ]
    #expect(try await status("2>&1 >/dev/null", training) == "0\n")
    #expect(try bytes(of: folder.file("run/model.safetensors")).count > 1000)
    #expect(try await status("2>/dev/null", ["--help"]) == "141\n")
  }

  @Test(arguments: ["TERM", "HUP", "INT"])
  func anInterruptionLeavesNoHalfFile(signal: String) async throws {
    let folder = try TemporaryFolder()
    let run = folder.file("run")
    try #require(try await train(run).status == 0)
    let (codes, script) = (
      folder.file("codes.npy"),
      """
      p=$$
      {
        while kill -0 $p 2>/dev/null && [ -z "$(ls -A "\(folder.path)" | grep 'codes.*tmp')" ]; do
          sleep 0.002
        done
        kill -\(signal) $p
      } &
      exec "$@"
      """
    )
    let outcome = try await Tool.onReference(
      "encode", "--model", "\(run)/model.safetensors", "--data", "glyphs:60000", "--part", "train",
      "--output", codes,
      through: ["/bin/sh", "-c", "\"$@\"; exit $?", "sh", "/bin/sh", "-c", script, "sh"])
    #expect(outcome.status == ["TERM": 143, "HUP": 129, "INT": 130][signal], "\(outcome.errors)")
    #expect(folder.names.allSatisfy { $0.hasPrefix("run") }, "\(folder.names)")
  }

  @Test func aClosedStandardErrorDoesNoHarm() async throws {
    let folder = try TemporaryFolder()
    let run = folder.file("run")
    let outcome = try await train(run, through: ["/bin/sh", "-c", "exec \"$0\" \"$@\" 2>&-"])
    #expect(outcome.status == 0)
    #expect(try text(of: run + "/metrics.csv").hasPrefix("epoch,"))
    #expect(try bytes(of: run + "/reconstructions.png").starts(with: [0x89, 0x50]))
  }
}
