import Foundation
import Imaging

/// Verdicts kept on disk, so that a device is tested once for each driver and build.
///
/// One file for each identity. A file is written under another name, synced and renamed. Whatever
/// is wrong with an entry, it counts as absent.
package struct SelfTestStore: Sendable {
  /// One entry.
  package struct Record: Sendable, Equatable, Codable {
    package let identity: SelfTestIdentity
    /// When the self-test was begun.
    package let date: Date
    /// nil while it runs, and for ever where it never came back.
    package let verdict: SelfTestVerdict?
    /// The run of the machine that it was begun in: `BootIdentity`.
    package let boot: String?

    package init(
      identity: SelfTestIdentity, date: Date = Date(), verdict: SelfTestVerdict?,
      boot: String? = BootIdentity.current
    ) {
      self.identity = identity
      self.date = date
      self.verdict = verdict
      self.boot = boot
    }

    /// Of an entry whose process is gone: the verdict, `unfinished` where the machine may have gone
    /// down with the self-test, and nil where the machine still runs. The process was then killed
    /// by somebody, since the self-test has processes of its own, which a driver can take down.
    var standing: SelfTestVerdict? {
      if let verdict { return verdict }
      return boot != nil && boot == BootIdentity.current ? nil : .unfinished
    }

    /// - Throws: `DecodingError` where the bytes are no entry.
    package init(json: Data) throws {
      let decoder = JSONDecoder()
      decoder.dateDecodingStrategy = .iso8601
      self = try decoder.decode(Self.self, from: json)
    }
  }

  package let folder: String

  package init(folder: String) { self.folder = folder }

  package func path(for identity: SelfTestIdentity) -> String {
    "\(folder)/self-test-\(identity.digest).json"
  }

  /// No entry of ours comes near.
  private static let maximumByteCount = 1 << 16

  /// The entry of an identity, or nil where there is none or it is damaged.
  package func record(for identity: SelfTestIdentity) -> Record? {
    guard
      let bytes = try? InputFile.bytes(
        of: path(for: identity), maximum: Self.maximumByteCount),
      let record = try? Record(json: Data(bytes)), record.identity == identity
    else { return nil }
    return record
  }

  /// - Throws: `FileError` where the folder cannot be written to.
  package func store(_ record: Record) throws {
    try FileManager.default.createDirectory(
      atPath: folder, withIntermediateDirectories: true)
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .prettyPrinted]
    encoder.dateEncodingStrategy = .iso8601
    // One without a verdict is there for a machine that goes down in the next second.
    try AtomicFile.write(
      Array(encoder.encode(record)), to: path(for: record.identity),
      syncsFolder: record.verdict == nil)
  }

  package func remove(_ identity: SelfTestIdentity) { unlink(path(for: identity)) }

  // MARK: One at a time

  /// Held while a self-test runs; the system lets go of it when the process ends in whatever way,
  /// so that an entry without a verdict and without a holder is of a process that is gone.
  final class Claim {
    private let descriptor: Int32
    fileprivate init(_ descriptor: Int32) { self.descriptor = descriptor }
    deinit { close(descriptor) }
  }

  /// Waits until no other process tests this identity.
  ///
  /// - Returns: nil where the folder cannot be written to, knows no locks, or the wait was too long.
  func claim(_ identity: SelfTestIdentity, seconds: Double) -> Claim? {
    try? FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    let path = "\(folder)/self-test-\(identity.digest).lock"
    let descriptor = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o666)
    guard descriptor >= 0 else { return nil }
    let claim = Claim(descriptor)
    let end = ContinuousClock.now + .seconds(seconds)
    while flock(descriptor, LOCK_EX | LOCK_NB) != 0 {
      guard errno == EWOULDBLOCK || errno == EINTR, ContinuousClock.now < end else { return nil }
      usleep(20_000)
    }
    return claim
  }
}
