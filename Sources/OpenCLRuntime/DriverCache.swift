import Foundation

/// Where PoCL keeps what it compiles.
package enum DriverCache {
  /// A folder for where PoCL would have none, as in a container whose user has no home; nil where it
  /// has one, or was given one.
  ///
  /// It takes `$POCL_CACHE_DIR`, `$XDG_CACHE_HOME/pocl/kcache`, or `$HOME/.cache/pocl/kcache`.
  package static func substitute(
    in environment: [String: String] = ProcessInfo.processInfo.environment
  ) -> String? {
    func value(_ name: String) -> String? { environment[name].flatMap { $0.isEmpty ? nil : $0 } }
    guard value("POCL_CACHE_DIR") == nil,
      let home = value("XDG_CACHE_HOME") ?? value("HOME").map({ $0 + "/.cache" }),
      !canHold(home + "/pocl/kcache")
    else { return nil }
    let temporary = value("TMPDIR").flatMap { isFolder($0) ? $0 : nil } ?? "/tmp"
    let folder = temporary + "/sparrow-pocl-\(geteuid())"
    return isOurs(folder) ? folder : nil
  }

  /// Whether the folder, or the nearest one above it that exists, can be written.
  private static func canHold(_ path: String) -> Bool {
    var url = URL(fileURLWithPath: path)
    while url.path != "/", !FileManager.default.fileExists(atPath: url.path) {
      url.deleteLastPathComponent()
    }
    return isFolder(url.path) && access(url.path, W_OK | X_OK) == 0
  }

  private static func isFolder(_ path: String) -> Bool {
    var isFolder: ObjCBool = false
    return FileManager.default.fileExists(atPath: path, isDirectory: &isFolder)
      && isFolder.boolValue
  }

  /// Makes the folder where it is absent. What is in it is run, so that nobody else may have made it
  /// or be able to write there.
  private static func isOurs(_ folder: String) -> Bool {
    if mkdir(folder, 0o700) == 0 { return true }
    var status = stat()
    return lstat(folder, &status) == 0 && status.st_mode & S_IFMT == S_IFDIR
      && status.st_uid == geteuid() && status.st_mode & 0o022 == 0
  }
}
