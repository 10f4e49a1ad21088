import Datasets
import Foundation
import Imaging

/// A folder that is gone when this value is.
final class TemporaryFolder {
  let path: String

  init() throws {
    path = NSTemporaryDirectory() + "/sparrow-datasets-\(UUID().uuidString)"
    try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
  }

  deinit { try? FileManager.default.removeItem(atPath: path) }

  func file(_ name: String) -> String { "\(path)/\(name)" }

  /// Writes `bytes` and returns the path.
  func write(_ bytes: [UInt8], to name: String) throws -> String {
    try AtomicFile.write(bytes, to: file(name))
    return file(name)
  }

  var names: [String] {
    ((try? FileManager.default.contentsOfDirectory(atPath: path)) ?? []).sorted()
  }
}

func bytes(of path: String) throws -> [UInt8] {
  try InputFile.bytes(of: path, maximum: 1 << 24)
}

/// The one line that the user would see.
func message(_ body: () throws -> some Any) -> String {
  do {
    return "no error but \(try body())"
  } catch {
    return "\(error)"
  }
}

/// FNV-1a, to pin down many bytes by one number.
func fingerprint(_ bytes: [UInt8]) -> UInt64 {
  bytes.reduce(0xCBF2_9CE4_8422_2325) { ($0 ^ UInt64($1)) &* 0x100_0000_01B3 }
}
