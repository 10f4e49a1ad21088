import Foundation
import Imaging
import TestSupport

extension TemporaryFolder {
  /// Writes a PNG, and the folders above it.
  @discardableResult
  func write(
    _ name: String, width: Int = 4, height: Int = 3, channels: Int = 1, samples: [UInt8]? = nil
  ) throws -> String {
    let file = "\(path)/\(name)"
    try Folder.make(URL(fileURLWithPath: file).deletingLastPathComponent().path)
    let count = width * height * channels
    let image = Image(
      width: width, height: height, channels: channels,
      samples: samples ?? (0..<count).map { UInt8(truncatingIfNeeded: $0) })
    try ImageFile.writePNG(image, to: file)
    return file
  }
}
