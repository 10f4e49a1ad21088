import CExecutable
import Crypto
import Foundation
import Imaging

/// What tells one build of Sparrow from another: a change of its own code may make wrong what a
/// self-test found right.
package enum BuildIdentity {
  /// Of the executable that runs.
  package static let current: String =
    linkerNote() ?? contents(of: executable) ?? "unknown"

  /// What the linker has noted in the executable that runs; nil where it has not.
  package static func linkerNote() -> String? {
    var bytes = [UInt8](repeating: 0, count: 64)
    let count = sparrow_build_id(&bytes, bytes.count)
    return count > 0 ? bytes[..<count].hexadecimal : nil
  }

  /// SHA-256 over the file; nil where it cannot be read. It takes long compared with the note.
  package static func contents(of path: String) -> String? {
    let url = URL(fileURLWithPath: path)
    guard let data = try? Data(contentsOf: url, options: .alwaysMapped) else { return nil }
    return SHA256.hash(data: data).hexadecimal
  }

  /// Also where another file has taken its name meanwhile, where the system offers that.
  package static var executable: String {
    #if os(Linux)
      "/proc/self/exe"
    #else
      Bundle.main.executablePath ?? ""
    #endif
  }
}
