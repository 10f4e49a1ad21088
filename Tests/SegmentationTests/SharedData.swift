import Foundation

/// Real images beside the package, which a checkout may lack.
enum SharedData {
  static let folder = URL(fileURLWithPath: #filePath)
    .appendingPathComponent("../../../../shared/data").standardizedFileURL.path
  static let isbi = folder + "/isbi2012"
  static let nuclei = folder + "/bbbc039"

  static func isUsable(_ path: String) -> Bool {
    FileManager.default.fileExists(atPath: path)
      || ProcessInfo.processInfo.environment["SPARROW_REQUIRE_DATA"] == "1"
  }
}
