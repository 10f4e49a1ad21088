import Foundation
import Imaging

enum ImageTargets {
  /// As many samples as any one call reads here: what a header promises is believed by rows.
  private static let sampleLimit = 1 << 20

  /// PNG and JPEG, by rows and as 8 bits.
  static func picture(_ bytes: UnsafeRawBufferPointer) throws {
    let content = [UInt8](bytes)
    do {
      let image = try ImageFile.decode(content, path: "x")
      require(image.width * image.height * image.channels == image.samples.count, "gaps")
    } catch let error as FileError {
      FuzzTarget.check(error)
    }
    try FuzzFile.with(bytes) { try read($0) }
  }

  /// What a block says is one of eight, and stays what it says behind the words that begin it.
  static func exif(_ bytes: UnsafeRawBufferPointer) {
    let orientation = Orientation(exif: bytes)
    if !bytes.starts(with: Array("Exif\0\0".utf8)) {
      let again = Orientation(exif: Array("Exif\0\0".utf8) + bytes)
      require(again == orientation, "another orientation behind its name")
    }
  }

  static func tiff(_ bytes: UnsafeRawBufferPointer) throws {
    try FuzzFile.with(bytes) { try read($0) }
  }

  /// The first rows of every page, which pages are images, the last rows, and the first again.
  private static func read(_ path: String) throws {
    let reader = try ImageReader(path: path)
    var failure: FileError?
    for page in 0..<min(8, reader.pageCount) {
      do {
        try reader.turn(to: page)
        guard reader.width * reader.channels <= sampleLimit else { continue }
        let rows = max(1, min(reader.height, sampleLimit / (reader.width * reader.channels)))
        let first = try reader.rows(0..<rows, as: Float.self)
        let images = try reader.imagePages()
        require(!images.isEmpty && images.allSatisfy { $0 < reader.pageCount }, "no such page")
        // Row by row to a far one would take as long as the header likes.
        if reader.height <= 4 * rows {
          _ = try reader.rows(reader.height - 1..<reader.height, as: Float.self)
          let again = try reader.rows(0..<1, as: Float.self)
          let row = first.samples.prefix(again.samples.count)
          require(
            zip(row, again.samples).allSatisfy { $0.bitPattern == $1.bitPattern },
            "a row that changes")
        }
      } catch let error as FileError {
        FuzzTarget.check(error)
        failure = error
      }
    }
    if let failure { throw failure }
  }
}
