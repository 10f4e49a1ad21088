import Datasets
import Foundation
import Imaging

enum ArrayTargets {
  /// As much content as is compared.
  private static let most = 1 << 18

  /// The bytes from the second on; the first chooses the sizes of the pieces. Content that is read in
  /// pieces is what is read at once, and no longer than the reader said.
  static func gzip(_ bytes: UnsafeRawBufferPointer) throws {
    guard let choice = bytes.first else { return }
    try FuzzFile.with(UnsafeRawBufferPointer(rebasing: bytes.dropFirst())) { path in
      let reader = try UnpackingReader(path: path)
      let limit = min(reader.maximumContentSize + 1, most)
      let whole: [UInt8]?
      let failure: FileError?
      do {
        whole = try reader.readArray(upTo: limit)
        failure = nil
      } catch let error as FileError {
        (whole, failure) = (nil, error)
      }
      require(
        whole.map { $0.count <= reader.maximumContentSize } ?? true,
        "more content than there can be")
      let second = try UnpackingReader(path: path)
      var pieces: [UInt8] = []
      do {
        while pieces.count < limit {
          let size = 1 + (Int(choice) * 37 + pieces.count) % 5000
          let piece = try second.readArray(upTo: min(size, limit - pieces.count))
          if piece.isEmpty { break }
          pieces += piece
          require(second.position == pieces.count, "the position is not what was read")
        }
        require(pieces == whole, "pieces are not the whole")
      } catch {
        require(whole == nil, "only pieces fail")
        throw error
      }
      require(failure == nil, "only the whole fails")
    }
  }

  static func idx(_ bytes: UnsafeRawBufferPointer) throws {
    try FuzzFile.with(bytes) { path in
      do {
        let labels = try IDX.readLabels(path)
        require(!labels.isEmpty, "labels without any")
        return
      } catch let error as FileError {
        FuzzTarget.check(error)
      }
      let set = try IDX.readImages(path)
      // What splits has to be whole.
      let dataset = Dataset(name: "fuzz", splitting: set)
      require(dataset.train.count > 0 && dataset.test.count > 0, "a part without images")
    }
  }

  static func npy(_ bytes: UnsafeRawBufferPointer) throws {
    try FuzzFile.with(bytes) { path in
      let header = try NPY.readHeader(path)
      switch header.elementDescription {
      case "<f4": try check(NPY.read(Float.self, from: path), header)
      case "<i8": try check(NPY.read(Int64.self, from: path), header)
      default: try check(NPY.read(UInt8.self, from: path), header)
      }
    }
  }

  private static func check<Element>(_ array: NPYArray<Element>, _ header: NPY.Header) throws {
    require(array.shape == header.shape, "another shape than the header's")
    require(array.values.count == array.shape.reduce(1, *), "values do not fill the shape")
  }
}
