import Foundation
import Imaging

/// The checkpoints of a run's folder: the newest as `checkpoint.safetensors`, the one before it as
/// `checkpoint.previous.safetensors`.
///
/// A checkpoint is written beside the others, on a thread of its own, and takes its name when it is
/// on the disk as a whole. At every moment at least one good checkpoint has one of the two names.
package final class CheckpointStore: @unchecked Sendable {
  // Unchecked: what changes is guarded by `lock`.
  private let folder: String
  package var current: String { folder + "/checkpoint.safetensors" }
  package var previous: String { folder + "/checkpoint.previous.safetensors" }

  /// Entered while a checkpoint is written.
  private let writing = DispatchGroup()
  private let lock = NSLock()
  private var failure: (any Error)?
  private var guardian: RunLock?
  private var currentIsDamaged = false

  /// What is written as a whole into the folder besides the checkpoints, by `AtomicFile`.
  private let results: [String]

  /// - Parameter results: the names of what else is written as a whole into the folder.
  package init(
    folder: String,
    results: [String] = [
      "model.safetensors", "metrics.csv", "reconstructions.png", "training.png",
    ]
  ) {
    self.folder = folder
    self.results = results
  }

  // MARK: Writing

  /// From now on nothing is written or removed but while `lock` is held.
  package func guardWrites(by runLock: RunLock) { lock.withLock { guardian = runLock } }

  /// Starts writing a checkpoint, after the one before it is written.
  ///
  /// - Parameter contents: called on the writing thread.
  /// - Throws: what went wrong with the one before it.
  package func write(_ contents: @escaping @Sendable () throws -> Safetensors) throws {
    try finish()
    writing.enter()
    let job = Job { self.writeNow(contents) }
    // A thread that ends with this: none of a pool's may stay behind others.
    Thread.detachNewThread { [writing] in
      Self.stepBack()
      job.run()
      writing.leave()
    }
  }

  /// What a thread does once. It is let go of when it is done, and with it the run's lock, which whoever
  /// waits for the thread may be about to give back.
  private final class Job: @unchecked Sendable {
    // Unchecked: one thread makes it and another one runs it.
    private var body: (() -> Void)?

    init(_ body: @escaping () -> Void) { self.body = body }

    func run() {
      body?()
      body = nil
    }
  }

  private func writeNow(_ contents: @Sendable () throws -> Safetensors) {
    let (isDamaged, guardian) = lock.withLock { (currentIsDamaged, self.guardian) }
    do {
      try guardian?.check()
      let file = try AtomicFile(path: current)
      try contents().write(to: file)
      try guardian?.check()
      // A damaged file must not take the place of a good one.
      try file.commit(keepingOldAs: isDamaged ? nil : previous, syncsFolder: true)
      lock.withLock { currentIsDamaged = false }
    } catch {
      var failure = error
      // A folder that vanishes while a file is written is why it cannot be.
      do { try guardian?.check() } catch { failure = error }
      lock.withLock { self.failure = failure }
    }
  }

  /// Leaves the cores to those that compute: where all of them do, what this thread takes is taken
  /// from one, for which the others wait.
  private static func stepBack() {
    #if os(Linux)
      // There this is of the calling thread alone.
      setpriority(__priority_which_t(PRIO_PROCESS.rawValue), 0, 10)
    #endif
  }

  /// - Throws: what went wrong with the last checkpoint, if it is known already.
  package func check() throws {
    if let failure = lock.withLock({ failure }) { throw failure }
  }

  /// Waits until the last checkpoint is on the disk.
  ///
  /// - Throws: `FileError` where it could not be written; the one before it is still there.
  package func finish() throws {
    writing.wait()
    try check()
  }

  /// Refuses a folder that holds a run already, or cannot hold one.
  ///
  /// - Parameter results: the paths of the run's other files.
  /// - Throws: `FileError` where one of them or a checkpoint is there, or where the path is no
  ///   folder and cannot become one.
  package func refuseExistingRun(_ results: [String]) throws {
    let files = FileManager.default
    var isFolder: ObjCBool = false
    guard files.fileExists(atPath: folder, isDirectory: &isFolder) else {
      return try Folder.requireWritable(above: folder)
    }
    guard isFolder.boolValue else {
      throw FileError(path: folder, reason: "--output is a file, not a folder")
    }
    for file in results + [current, previous] where files.fileExists(atPath: file) {
      throw FileError(
        path: folder,
        reason: "already holds a run; choose another --output, remove it, or --resume it")
    }
  }

  package func removePrevious() {
    if lock.withLock({ guardian })?.isHeld ?? true { unlink(previous) }
  }

  private var written: [String] { ["checkpoint.safetensors"] + results }

  /// - Throws: `FileError` where a file cannot be written for what has its name, such as a folder:
  ///   training would notice it only when it saves.
  package func requirePlaces() throws {
    for name in written + ["checkpoint.previous.safetensors"] {
      try AtomicFile.requirePlace(at: "\(folder)/\(name)")
    }
  }

  /// Whether a file of this name is one that a killed process did not finish.
  package func isUnfinished(_ name: String) -> Bool {
    AtomicFile.target(ofUnfinished: name).map(written.contains) ?? false
  }

  /// Removes what a killed process left of files that it had not finished.
  package func removeUnfinished() {
    let names = (try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? []
    for name in names where isUnfinished(name) { unlink("\(folder)/\(name)") }
  }

  // MARK: Reading

  package var isEmpty: Bool {
    ![current, previous].contains { FileManager.default.fileExists(atPath: $0) }
  }

  /// The newest checkpoint that can be read.
  ///
  /// - Parameter decode: reads the file at a path.
  /// - Returns: the checkpoint, and where it is not the newest one the reason, as one line.
  /// - Throws: the newest one's `FileError` where none can be read.
  package func load<Checkpoint>(
    _ decode: (String) throws -> Checkpoint
  ) throws -> (checkpoint: Checkpoint, note: String?) {
    do {
      return (try decode(current), nil)
    } catch let error as FileError {
      let exists = FileManager.default.fileExists(atPath: current)
      guard let checkpoint = try? decode(previous) else { throw error }
      lock.withLock { currentIsDamaged = exists }
      return (checkpoint, "\(error); the previous checkpoint is good and is taken")
    }
  }
}
