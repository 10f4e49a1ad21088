import Foundation
import Imaging

/// Downloads gzip files of a data set from the first mirror that delivers them right.
///
/// Each file goes to `NAME.part`, is verified by the SHA-256 of its unpacked content (mirrors pack
/// differently), and only then gets its name, by a rename: under that name is never half a file. A
/// `.part` left by an interrupted run is continued. Files already there and right stay; others of the
/// same names, such as those of another set, are replaced on demand alone.
package struct DatasetDownload: Sendable {
  /// One file to get.
  package struct File: Sendable {
    /// Its name on the mirrors and in the folder.
    package let name: String
    /// SHA-256 of the unpacked content, 64 hexadecimal digits in lower case.
    package let contentSHA256: String
    /// The size of the unpacked content in bytes. A download may not exceed it either (with some
    /// room for what does not pack), whatever a mirror sends.
    package let contentSize: Int

    package init(name: String, contentSHA256: String, contentSize: Int) {
      self.name = name
      self.contentSHA256 = contentSHA256
      self.contentSize = contentSize
    }

    var maximumDownloadSize: Int { contentSize + contentSize / 100 + 1024 }
  }

  package struct Progress: Equatable, Sendable {
    package let file: String
    /// Bytes of the packed file on disk so far, those of an earlier run included.
    package let bytes: Int
    /// The packed file's size, where the mirror told it.
    package let total: Int?

    package init(file: String, bytes: Int, total: Int?) {
      self.file = file
      self.bytes = bytes
      self.total = total
    }
  }

  package enum Outcome: Equatable, Sendable {
    case alreadyPresent
    case downloaded(mirror: String)
  }

  /// No mirror delivered a file; one line with each mirror and its reason.
  package struct Failure: Error, Sendable, CustomStringConvertible {
    package let file: String
    package let reasons: [(mirror: String, reason: String)]

    package var description: String {
      let list = reasons.map { "\($0.mirror): \($0.reason)" }.joined(separator: "; ")
      return "\(file): no mirror delivered it: \(list)"
    }
  }

  package let files: [File]
  /// Base addresses, tried in order for each file; `http`, `https` or `file`.
  package let mirrors: [URL]
  /// Seconds without a byte after which a mirror is given up.
  package let idleTimeout: TimeInterval

  /// - Throws: `DataSource.SyntaxError` for a mirror that is not an address of these schemes.
  package init(files: [File], mirrors: [String], idleTimeout: TimeInterval = 30) throws {
    precondition(!mirrors.isEmpty, "at least one mirror")
    self.files = files
    self.idleTimeout = idleTimeout
    self.mirrors = try mirrors.map { text in
      let address = text.hasSuffix("/") ? text : text + "/"
      guard let url = URL(string: address), let scheme = url.scheme?.lowercased(),
        scheme == "file"
          ? url.path.hasPrefix("/") && url.path != "/"
          : ["http", "https"].contains(scheme) && url.host != nil
      else {
        let reason = "mirror '\(text)': not an address of http:, https: or file:"
        throw DataSource.SyntaxError(description: reason)
      }
      return url
    }
  }

  /// MNIST from public mirrors; or, where any are given, from `mirrors` alone.
  package static func mnist(mirrors: [String] = []) throws -> DatasetDownload {
    try DatasetDownload(files: mnistFiles, mirrors: mirrors.isEmpty ? mnistMirrors : mirrors)
  }

  package static let mnistMirrors = [
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
    "https://github.com/fgnt/mnist/raw/master/",
  ]

  package static let mnistFiles = [
    File(
      name: "train-images-idx3-ubyte.gz",
      contentSHA256: "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
      contentSize: 16 + 60_000 * 784),
    File(
      name: "train-labels-idx1-ubyte.gz",
      contentSHA256: "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
      contentSize: 8 + 60_000),
    File(
      name: "t10k-images-idx3-ubyte.gz",
      contentSHA256: "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
      contentSize: 16 + 10_000 * 784),
    File(
      name: "t10k-labels-idx1-ubyte.gz",
      contentSHA256: "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
      contentSize: 8 + 10_000),
  ]

  /// Gets every file into `folder`, which is made if absent. Blocks until done; `progress` comes
  /// from another thread.
  ///
  /// - Parameter replaces: whether files that are there and are not those of the set go.
  /// - Returns: what happened to each file, in their order.
  /// - Throws: `FileError` for the folder's own troubles, which end everything, and for a file that
  ///   would be replaced or removed; `Failure` for the first file that no mirror delivered. Files already
  ///   completed stay.
  @discardableResult
  package func run(
    into folder: String, replaces: Bool = false,
    progress: @escaping @Sendable (Progress) -> Void = { _ in }
  ) throws -> [(file: String, outcome: Outcome)] {
    try Folder.make(folder) {
      // Before anything is fetched.
      let there = try files.map { try isThere($0, in: folder, replaces: replaces) }
      let outcomes = try zip(files, there).map { file, isThere in
        (file.name, isThere ? .alreadyPresent : try get(file, into: folder, progress: progress))
      }
      // Once there is what takes their place.
      for file in files where replaces {
        guard let path = unpackedPath(file, in: folder),
          Self.problem(of: path, file, isPacked: false) != nil
        else { continue }
        guard unlink(path) == 0 else {
          throw FileError(path: path, "cannot remove", code: errno)
        }
      }
      return outcomes
    }
  }

  /// A file as it is unpacked, which readers take before the packed one.
  private func unpackedPath(_ file: File, in folder: String) -> String? {
    guard file.name.hasSuffix(".gz") else { return nil }
    let path = joinedPath(folder, String(file.name.dropLast(3)))
    return FileManager.default.fileExists(atPath: path) ? path : nil
  }

  /// - Throws: `FileError` where another file has the name and is not to be replaced.
  private func isThere(_ file: File, in folder: String, replaces: Bool) throws -> Bool {
    if let path = unpackedPath(file, in: folder) {
      guard !Folder.isFolder(path) else {
        throw FileError(
          path: path, reason: "is a folder, where a file of the set would be looked for first")
      }
      if Self.problem(of: path, file, isPacked: false) == nil { return true }
      guard replaces else {
        throw FileError(
          path: path,
          reason: "is there, is read in the place of \(file.name) and is not the file of this set; "
            + "--force removes it")
      }
    }
    let path = joinedPath(folder, file.name)
    guard FileManager.default.fileExists(atPath: path) else { return false }
    if Self.problem(of: path, file) == nil { return true }
    guard replaces else {
      throw FileError(
        path: path, reason: "is there and is not the file of this set; --force replaces it")
    }
    return false
  }

  private func get(
    _ file: File, into folder: String, progress: @escaping @Sendable (Progress) -> Void
  ) throws -> Outcome {
    let path = joinedPath(folder, file.name)
    let part = PartialFile(path: path + ".part")
    // A run may have ended between the last byte and the rename.
    if try part.size() > 0, Self.problem(of: part.path, file) == nil {
      try part.rename(to: path)
      return .alreadyPresent
    }
    var reasons: [(mirror: String, reason: String)] = []
    for mirror in mirrors {
      do {
        try download(file, from: mirror.appendingPathComponent(file.name), part, progress)
        try part.rename(to: path)
        return .downloaded(mirror: mirror.absoluteString)
      } catch let failure as TransferFailure {
        reasons.append((mirror.absoluteString, failure.reason))
      }
    }
    throw Failure(file: file.name, reasons: reasons)
  }

  /// One mirror: a broken transfer is continued while it gets on, and a wrong sum after continuing
  /// an older part is tried again from the start, since that part may have been another mirror's.
  private func download(
    _ file: File, from url: URL, _ part: PartialFile,
    _ progress: @escaping @Sendable (Progress) -> Void
  ) throws {
    var attemptsLeft = 4
    while true {
      attemptsLeft -= 1
      let start = try part.size()
      do {
        let request = Transfer.Request(
          url: url, part: part, start: start, limit: file.maximumDownloadSize,
          idleTimeout: idleTimeout,
          progress: { bytes, total in
            progress(Progress(file: file.name, bytes: bytes, total: total))
          })
        try Transfer.run(request)
      } catch let failure as TransferFailure {
        let size = try part.size()
        if size > file.maximumDownloadSize { try part.remove() }
        let gained = size > start && size <= file.maximumDownloadSize
        guard failure.isWorthAnotherTry || gained, attemptsLeft > 0 else { throw failure }
        continue
      }
      guard let problem = Self.problem(of: part.path, file) else { return }
      try part.remove()
      guard start > 0, attemptsLeft > 0 else { throw TransferFailure(problem) }
    }
  }

  /// What is wrong with the file at `path`; nil if it is gzip of the right content, or just that.
  private static func problem(of path: String, _ file: File, isPacked: Bool = true) -> String? {
    do {
      let reader = try UnpackingReader(path: path)
      guard reader.isPacked || !isPacked else { return "what it sent is not gzip" }
      guard try reader.contentSHA256(maximumSize: file.contentSize) == file.contentSHA256 else {
        return "what it sent has the wrong SHA-256"
      }
      return nil
    } catch let error as FileError {
      return "what it sent is damaged: \(error.reason)"
    } catch {
      return "\(error)"
    }
  }
}
