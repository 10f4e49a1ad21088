import Datasets
import Foundation
import Imaging

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
