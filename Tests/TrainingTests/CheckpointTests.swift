import Foundation
import Imaging
import Networks
import RandomNumbers
import ReferenceBackend
import TestSupport
import Testing
import Training

/// A run of two checkpoints, after steps 13 and 26 of 40.
private func savedRun() throws -> TemporaryFolder {
  let folder = try TemporaryFolder()
  let configuration = ResumedRun.jumpReLU.configuration
  let run = try trainer(configuration, on: ReferenceBackend())
  let keeper = keeper(configuration, in: folder.path, every: .steps(13)) {
    run.step.optimizer.stepCount == 27
  }
  keeper.willSave = { state in if state.training.stepCount == 27 { throw Unsaved() } }
  #expect(throws: Unsaved.self) { try run.run(keeper: keeper) { _ in } }
  try keeper.finish()
  return folder
}

private struct Unsaved: Error {}

private func read(_ path: String) throws -> Data {
  try Data(contentsOf: URL(fileURLWithPath: path))
}

private func write(_ data: Data, _ path: String) throws {
  try data.write(to: URL(fileURLWithPath: path))
}

@Suite struct CheckpointFileTests {
  /// Wherever a file is cut off, and whichever bit of it is flipped, it is refused, and the one
  /// before it is taken, with the reason.
  @Test func aDamagedCheckpointIsReportedAndThePreviousOneTaken() throws {
    let folder = try savedRun()
    let store = CheckpointStore(folder: folder.path)
    let (first, none) = try store.load(Checkpoint.init(path:))
    #expect(first.run.training.stepCount == 26 && none == nil)
    let whole = try read(store.current)
    func expectFallback(_ damaged: Data, _ what: String) throws {
      try write(damaged, store.current)
      let (checkpoint, note) = try store.load(Checkpoint.init(path:))
      #expect(checkpoint.run.training.stepCount == 13, "\(what)")
      #expect(note?.contains(store.current) == true, "\(what)")
    }
    for length in [0, 7, 8, 100, whole.count / 2, whole.count - 1] {
      try expectFallback(whole.prefix(length), "cut to \(length) bytes")
    }
    var generator = SplitMix64(seed: 4)
    for _ in 0..<300 {
      let (offset, bit) = (
        Int(generator.nextIndex(below: UInt64(whole.count))),
        UInt8(generator.nextIndex(below: 8))
      )
      // A space of the header's end may become another kind of white space.
      guard whole[offset] != 0x20 else { continue }
      var damaged = whole
      damaged[offset] ^= 1 << bit
      try expectFallback(damaged, "bit \(bit) of byte \(offset) flipped")
    }
    try expectFallback(whole + [0], "a byte more")
    unlink(store.current)
    let (checkpoint, note) = try store.load(Checkpoint.init(path:))
    #expect(checkpoint.run.training.stepCount == 13 && note?.contains("No such file") == true)
  }

  @Test func whereBothAreDamagedTheNewestOneIsNamed() throws {
    let folder = try savedRun()
    let store = CheckpointStore(folder: folder.path)
    try write(try read(store.current).dropLast(5), store.current)
    try write(try read(store.previous).prefix(50), store.previous)
    let error = #expect(throws: FileError.self) { try store.load(Checkpoint.init(path:)) }
    #expect(error?.path == store.current)
    #expect(!store.isEmpty)
  }

  /// A damaged file never takes the place of the good one before it.
  @Test func aDamagedCheckpointIsNotKept() throws {
    let folder = try savedRun()
    let store = CheckpointStore(folder: folder.path)
    let (good, before) = (try read(store.current), try read(store.previous))
    try write(good.dropLast(1), store.current)
    _ = try store.load(Checkpoint.init(path:))
    let checkpoint = try Checkpoint(path: store.previous)
    try store.write { try checkpoint.contents() }
    try store.finish()
    #expect(try read(store.current) == before)
    #expect(try read(store.previous) == before)
  }

  @Test func otherFormatsAreNamed() throws {
    let folder = try savedRun()
    let store = CheckpointStore(folder: folder.path)
    var text = try read(store.current)
    let range = try #require(text.range(of: Data("checkpoint 1".utf8)))
    text.replaceSubrange(range, with: Data("checkpoint 7".utf8))
    try write(text, folder.file("other"))
    let error = #expect(throws: FileError.self) { try Checkpoint(path: folder.file("other")) }
    #expect(error?.reason.contains("another version of Sparrow") == true)
    #expect(error?.reason.contains("\"checkpoint 7\"") == true)
    #expect(throws: FileError.self) { try ModelFile(path: store.current) }
    try StateFile.contents(format: "sweep 1", description: ["values": [2]], entries: [])
      .write(to: folder.file("state"))
    let kind = #expect(throws: FileError.self) { try Checkpoint(path: folder.file("state")) }
    #expect(kind?.reason.contains("not a checkpoint") == true)
  }

  /// Of a file whose checksum is right.
  @Test(arguments: [(-1e19, 0.0), (-1.0, 0.0), (1.0, -0.5)])
  func timesBelowZeroAreRefused(seconds: Double, ofEpoch: Double) throws {
    let folder = try savedRun()
    var checkpoint = try Checkpoint(path: CheckpointStore(folder: folder.path).current)
    (checkpoint.run.seconds, checkpoint.run.secondsIntoEpoch) = (seconds, ofEpoch)
    checkpoint = Checkpoint(description: checkpoint.description, run: checkpoint.run)
    try checkpoint.contents().write(to: folder.file("other"))
    let error = #expect(throws: FileError.self) { try Checkpoint(path: folder.file("other")) }
    #expect(error?.reason == "a time of \(seconds) s, \(ofEpoch) s of an epoch")
  }

  /// What the model's reader would refuse is not trained further.
  @Test func aDescriptionThatNoModelMayHave() throws {
    let folder = try savedRun()
    let good = try Checkpoint(path: CheckpointStore(folder: folder.path).current)
    func reason(_ change: (inout ModelDescription) -> Void) throws -> String? {
      var checkpoint = good
      change(&checkpoint.description.model)
      try checkpoint.contents().write(to: folder.file("changed"))
      let error = #expect(throws: FileError.self) { try Checkpoint(path: folder.file("changed")) }
      return error?.reason
    }
    #expect(try reason { $0.imageWidth = 3 }?.contains("images of [3, 8, 1]") == true)
    #expect(try reason { $0.normalisation.scale = 0 }?.contains("a normalisation by 0.0") == true)
  }

  /// Names that another program can make sense of.
  @Test func tensorsHaveTheirNamesAndShapes() throws {
    let folder = try savedRun()
    let file = try Safetensors(
      path: CheckpointStore(folder: folder.path).current,
      types: Set(Safetensors.ElementType.allCases))
    #expect(file["parameters/encoder.0.weight"]?.shape == [64, 24])
    #expect(file["second_moment/code.threshold"]?.shape == [16])
    #expect(file["kept/decoder.1.bias"]?.shape == [64])
    #expect(file["history"]?.shape == [2, 8])
    #expect(file["row_error"]?.shape == [6 * 32])
    #expect(file["firings"]?.elements.type == .u32)
  }
}

@Suite struct CheckpointStoreTests {
  /// A folder that is gone, and a folder in the way of the file: what was there stays.
  @Test func whatCannotBeWrittenIsAnError() throws {
    let folder = try savedRun()
    let checkpoint = try Checkpoint(path: CheckpointStore(folder: folder.path).current)
    let gone = CheckpointStore(folder: folder.file("gone"))
    try gone.write { try checkpoint.contents() }
    let error = #expect(throws: FileError.self) { try gone.finish() }
    #expect(error?.reason.contains("No such file") == true)
    #expect(throws: FileError.self) { try gone.check() }

    let store = CheckpointStore(folder: folder.path)
    let before = try read(store.previous)
    unlink(store.current)
    try FileManager.default.createDirectory(
      atPath: store.current, withIntermediateDirectories: false)
    try store.write { try checkpoint.contents() }
    #expect(throws: FileError.self) { try store.finish() }
    #expect(try read(store.previous) == before)
    #expect(try store.load(Checkpoint.init(path:)).checkpoint.run.training.stepCount == 13)
  }

  @Test func whatAKilledProcessLeftIsRemoved() throws {
    let folder = try savedRun()
    try write(Data(count: 10), folder.file(".checkpoint.safetensors.ABCD1234.tmp"))
    try write(Data(count: 10), folder.file(".mine.tmp"))
    CheckpointStore(folder: folder.path).removeUnfinished()
    let names = try FileManager.default.contentsOfDirectory(atPath: folder.path).sorted()
    #expect(
      names == [".mine.tmp", "checkpoint.previous.safetensors", "checkpoint.safetensors"])
  }

  @Test(arguments: [
    ("30s", CheckpointInterval.seconds(30)), ("1.5m", .seconds(90)), ("2h", .seconds(7200)),
    ("1e", .epochs(1)), ("3epochs", .epochs(3)), ("1 epoch", .epochs(1)), ("500steps", .steps(500)),
  ])
  func intervalsAreRead(text: String, interval: CheckpointInterval) {
    #expect(CheckpointInterval(text) == interval)
  }

  @Test(arguments: ["", "5", "0s", "-1s", "1.5e", "0steps", "5 days", "m", "1..2s", "1e400s"])
  func otherTextsAreNot(text: String) { #expect(CheckpointInterval(text) == nil) }
}

@Suite struct RunLockTests {
  @Test func oneAtATime() throws {
    let folder = try TemporaryFolder()
    do {
      let lock = try RunLock(folder: folder.path)
      let error = #expect(throws: FileError.self) { try RunLock(folder: folder.path) }
      #expect(error?.reason.contains("another process (\(getpid()))") == true)
      withExtendedLifetime(lock) {}
    }
    #expect(try FileManager.default.contentsOfDirectory(atPath: folder.path) == [])
    // A file that a killed process left is no lock.
    try write(Data("1\n".utf8), folder.file("run.lock"))
    let lock = try RunLock(folder: folder.path)
    withExtendedLifetime(lock) {}
    #expect(throws: FileError.self) { try RunLock(folder: folder.file("absent")) }
  }

  @Test func anEmptyFolderGoesWhereThatIsWished() throws {
    let folder = try TemporaryFolder()
    for (name, removes, isFilled) in [
      ("kept", false, false), ("filled", true, true), ("removed", true, false),
    ] {
      let path = try folder.makeFolder(name)
      let lock = try RunLock(folder: path, removesEmptyFolder: removes)
      if isFilled { try write(Data("x".utf8), "\(path)/model") }
      withExtendedLifetime(lock) {}
    }
    #expect(folder.names.sorted() == ["filled", "filled/model", "kept"])
  }

  @Test func aFolderThatAnotherHasTakenOverIsLeftAlone() throws {
    let folder = try savedRun()
    let (path, moved) = (try folder.makeFolder("run"), folder.file("moved"))
    let checkpoint = try Checkpoint(path: CheckpointStore(folder: folder.path).current)
    let store = CheckpointStore(folder: path)
    var lock: RunLock? = try RunLock(folder: path)
    store.guardWrites(by: try #require(lock))
    try store.write { try checkpoint.contents() }
    try store.finish()
    #expect(rename(path, moved) == 0)
    _ = try folder.makeFolder("run")
    let other = try RunLock(folder: path)
    let error = #expect(throws: FileError.self) { try lock?.check() }
    #expect(error?.path == path && error?.reason.contains("taken over") == true)
    try store.write { try checkpoint.contents() }
    #expect(throws: FileError.self) { try store.finish() }
    lock = nil
    #expect(try FileManager.default.contentsOfDirectory(atPath: path) == ["run.lock"])
    try other.check()
  }
}
