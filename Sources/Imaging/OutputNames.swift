import Foundation

/// The files that a command writes for others, each for one of them alone, and none of them itself.
package final class OutputNames {
  /// Files by the numbers that the system knows them by, whatever path leads to them.
  private struct File: Hashable {
    let device, number: UInt64

    init?(_ path: String) {
      var status = stat()
      guard stat(path, &status) == 0 else { return nil }
      (device, number) = (UInt64(truncatingIfNeeded: status.st_dev), UInt64(status.st_ino))
    }
  }

  private let sources: Set<File>
  private var owners: [String: String] = [:]

  /// - Parameter sources: the paths of the files that are read.
  package init(sources: [String]) { self.sources = Set(sources.compactMap { File($0) }) }

  /// Whether the path is that of a file that is read.
  package func reads(_ path: String) -> Bool { File(path).map(sources.contains) ?? false }

  /// - Parameters:
  ///   - path: what is to be written.
  ///   - source: the path of what it is made from.
  /// - Throws: `FileError` for `source` where `path` is a file that is read, or was written for another.
  package func claim(_ path: String, for source: String) throws {
    if reads(path) {
      throw FileError(
        path: source, reason: "its result would replace \(path), which is one of the files to read")
    }
    #if canImport(Darwin)
      // Its file systems do not tell capital letters from small ones, as a rule.
      let key = path.lowercased()
    #else
      let key = path
    #endif
    if let owner = owners[key], owner != source {
      throw FileError(path: source, reason: "its result would replace \(path), that of \(owner)")
    }
    owners[key] = source
  }
}
