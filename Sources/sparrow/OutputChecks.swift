import Foundation
import Imaging

// What a command asks of its --output before any work.

/// - Throws: where the output is one of the files or folders that are read.
func refuse(output path: String, reading sources: [String]) throws {
  guard !OutputNames(sources: sources).reads(path) else {
    throw FileError(path: path, reason: "is what is read from; choose another --output")
  }
}

/// - Parameters:
///   - isFolder: whether a folder is to be written.
///   - sources: the paths of what is read.
/// - Throws: where the output exists and may not be replaced, has no place to be written, or is read.
func refuse(
  output path: String, force: Bool, isFolder: Bool = false, reading sources: [String]
) throws {
  if !isFolder { try AtomicFile.requirePlace(at: path) }
  let exists = FileManager.default.fileExists(atPath: path)
  guard force || !exists else {
    throw FileError(
      path: path, reason: "exists already; --force \(isFolder ? "writes into" : "replaces") it")
  }
  try refuse(output: path, reading: sources)
  // A folder that is there need not lie in one that can be written.
  try isFolder && exists ? Folder.requireWritable(in: path) : Folder.requireWritable(above: path)
}
