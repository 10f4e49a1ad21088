import Foundation
import Imaging

/// A folder with the four files of MNIST, or of a set that took over their names (Fashion-MNIST,
/// KMNIST): `train-` and `t10k-`, `images-idx3-ubyte` and `labels-idx1-ubyte`, each plain or `.gz`.
package enum MNISTFolder {
  /// The names without `.gz`.
  package static let names = [
    "train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
  ]

  /// - Throws: `FileError` that lists the absent files; or what `IDX.readImages` throws.
  package static func read(
    _ folder: String, progress: (_ done: Int, _ total: Int) -> Void = { _, _ in }
  ) throws -> Dataset {
    let found = names.map { name -> String? in
      // Plain first: it needs no unpacking.
      let candidates = [joinedPath(folder, name), joinedPath(folder, name + ".gz")]
      return candidates.first { FileManager.default.fileExists(atPath: $0) }
    }
    let paths = found.compactMap { $0 }
    guard paths.count == names.count else {
      let absent = zip(names, found).filter { $0.1 == nil }.map(\.0).joined(separator: ", ")
      throw FileError(path: folder, reason: "not found, with or without .gz: \(absent)")
    }
    let train = try IDX.readImages(paths[0], labels: paths[1])
    progress(1, 2)
    let test = try IDX.readImages(paths[2], labels: paths[3])
    progress(2, 2)
    guard
      (train.width, train.height, train.channels) == (test.width, test.height, test.channels)
    else {
      let reason = "\(test.shapeDescription), but \(paths[0]) is \(train.shapeDescription)"
      throw FileError(path: paths[2], reason: reason)
    }
    let name = URL(fileURLWithPath: folder).standardizedFileURL.lastPathComponent
    return Dataset(name: name, train: train, test: test)
  }
}
