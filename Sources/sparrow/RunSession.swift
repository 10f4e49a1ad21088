import Foundation
import Imaging
import Training

/// The run's folder while it is written: its lock and its checkpoints.
final class RunSession {
  let store: CheckpointStore
  private let folder: String
  private var lock: RunLock?

  init(_ store: CheckpointStore, folder: String) {
    self.folder = folder
    self.store = store
  }

  convenience init(folder: String) { self.init(CheckpointStore(folder: folder), folder: folder) }

  /// Takes the folder for this process alone.
  ///
  /// - Parameter making: whether it is made where it does not exist, and removed at the end if
  ///   nothing came to be in it.
  func open(making: Bool = false) throws {
    guard lock == nil else { return }
    let isNew = making && !FileManager.default.fileExists(atPath: folder)
    if making { try Folder.make(folder) }
    let lock = try RunLock(folder: folder, removesEmptyFolder: isNew)
    self.lock = lock
    store.guardWrites(by: lock)
    store.removeUnfinished()
    try store.requirePlaces()
  }

  var isOpen: Bool { lock != nil }

  /// Whether the folder was opened and is no longer this process's: what it holds is not this run.
  var isLost: Bool { lock.map { !$0.isHeld } ?? false }

  /// Writes a checkpoint and waits until it is on the disk.
  func save(_ checkpoint: Checkpoint) throws {
    try store.write { try checkpoint.contents() }
    try store.finish()
  }

  /// - Throws: `FileError` where the folder has been removed or taken over meanwhile; to be called
  ///   before each write of anything but a checkpoint.
  func check() throws { try lock?.check() }
}

extension CheckpointStore {
  /// The newest checkpoint that can be read; says so where it is not the newest one.
  func newest<Checkpoint>(_ decode: (String) throws -> Checkpoint) throws -> Checkpoint {
    let (checkpoint, note) = try load(decode)
    if let note { Console.note("Warning: \(note)") }
    return checkpoint
  }
}
