import Crypto
import Foundation
import Imaging

extension UnpackingReader {
  /// SHA-256 of all the unpacked content, as 64 hexadecimal digits in lower case.
  ///
  /// - Throws: `FileError` where there are more than `maximumSize` bytes, or the gzip is damaged.
  package func contentSHA256(maximumSize: Int = .max) throws -> String {
    precondition(position == 0, "the sum is over the whole content")
    var sum = SHA256()
    let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 1 << 18, alignment: 16)
    defer { buffer.deallocate() }
    while true {
      let count = try read(into: buffer)
      guard position <= maximumSize else {
        throw FileError(path: path, reason: "more than \(maximumSize) bytes of content")
      }
      guard count > 0 else { break }
      sum.update(bufferPointer: UnsafeRawBufferPointer(rebasing: buffer[..<count]))
    }
    return sum.finalize().hexadecimal
  }
}

extension Dataset {
  /// SHA-256 of shape and pixels of both parts, as 64 hexadecimal digits in lower case: two sets of
  /// the same sum train the same model and score it alike.
  package var contentSHA256: String {
    var sum = SHA256()
    for set in [train, test] {
      sum.update(data: Array("\(set.count) \(set.width) \(set.height) \(set.channels)\n".utf8))
      set.pixels.withUnsafeBytes { sum.update(bufferPointer: $0) }
    }
    return sum.finalize().hexadecimal
  }
}
