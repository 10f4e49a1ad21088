import Crypto
import Foundation

/// Built programs, kept on disk so that the next start need not compile.
///
/// One file per program, named by a hash of everything its binary depends on. Files are written
/// under another name and renamed, so that a reader sees all or nothing. Whatever is wrong with an
/// entry, it counts as absent; a directory that cannot be written costs one warning.
package final class ProgramCache: Sendable {
  /// What a binary depends on, hashed.
  package struct Key: Sendable, Hashable {
    let digest: [UInt8]

    /// SHA-256 over the format's version, the platform's name and version, the device's name,
    /// vendor and version, the driver's version, the options and the source, each preceded by
    /// its length.
    package init(device: DeviceDescription, options: String, source: String) {
      var hash = SHA256()
      for part in [
        "sparrow program cache \(ProgramCache.formatVersion)", device.platformName,
        device.platformVersion, device.name, device.vendor, device.version, device.driverVersion,
        options, source,
      ] {
        let bytes = Array(part.utf8)
        withUnsafeBytes(of: UInt64(bytes.count).littleEndian) { hash.update(bufferPointer: $0) }
        hash.update(data: bytes)
      }
      digest = Array(hash.finalize())
    }

    var fileName: String {
      digest.hexadecimal + ".clbin"
    }
  }

  /// Changes whenever entries of older versions must not be read.
  static let formatVersion = 1
  /// No program of ours comes near; a larger one is not kept, and a larger file not read.
  static let maximumBinaryByteCount = 256 << 20

  private static let magic = Array("SPARROWCLBIN0001".utf8)
  /// Magic, key, the binary's SHA-256.
  private static let headerByteCount = 16 + 32 + 32

  package let directory: URL
  /// Whether programs of platforms that keep compiled kernels themselves are left to them.
  package let leavesToPlatforms: Bool
  private let hasWarned = Locked(false)

  package init(directory: URL, leavesToPlatforms: Bool = false) {
    self.directory = directory
    self.leavesToPlatforms = leavesToPlatforms
  }

  /// Whether programs for the device are kept here.
  func takes(_ device: DeviceDescription) -> Bool { !leavesToPlatforms || !device.keepsPrograms }

  /// The user's cache: `$SPARROW_CACHE_DIR`, else `$XDG_CACHE_HOME/sparrow`, else
  /// `~/.cache/sparrow`; nil where `SPARROW_CACHE_DIR` is `off` or there is no home. It leaves to
  /// platforms what they keep.
  package static func standard(
    environment: [String: String] = ProcessInfo.processInfo.environment
  ) -> ProgramCache? {
    standardDirectory(environment: environment).map {
      ProgramCache(directory: $0, leavesToPlatforms: true)
    }
  }

  private static func standardDirectory(environment: [String: String]) -> URL? {
    if let path = environment["SPARROW_CACHE_DIR"], !path.isEmpty {
      return path == "off" ? nil : URL(fileURLWithPath: path, isDirectory: true)
    }
    // The XDG specification says that a relative path is to be ignored.
    if let path = environment["XDG_CACHE_HOME"], path.hasPrefix("/") {
      let base = URL(fileURLWithPath: path, isDirectory: true)
      return base.appendingPathComponent("sparrow", isDirectory: true)
    }
    guard let home = environment["HOME"], home.hasPrefix("/") else { return nil }
    let base = URL(fileURLWithPath: home, isDirectory: true)
    return base.appendingPathComponent(".cache/sparrow", isDirectory: true)
  }

  /// Where a key's entry lies.
  package func file(for key: Key) -> URL { directory.appendingPathComponent(key.fileName) }

  /// The binary stored for a key, or nil if there is none or it is damaged in any way. Drivers may
  /// abort on a damaged binary, so its hash is checked before one sees it.
  func load(_ key: Key) -> [UInt8]? {
    let url = file(for: key)
    guard
      let data = Self.content(
        of: url, maximum: Self.headerByteCount + Self.maximumBinaryByteCount),
      data.count > Self.headerByteCount
    else { return nil }
    let binary = Array(data.dropFirst(Self.headerByteCount))
    guard Array(data.prefix(Self.headerByteCount)) == Self.header(key: key, binary: binary) else {
      logger.debug("cache entry \(url.path) is damaged and will be replaced")
      return nil
    }
    return binary
  }

  /// What a regular file of at most `maximum` bytes holds; nil where there is no such file.
  package static func content(of url: URL, maximum: Int) -> Data? {
    guard
      let values = try? url.resourceValues(forKeys: [.fileSizeKey, .isRegularFileKey]),
      values.isRegularFile == true, let size = values.fileSize, size <= maximum
    else { return nil }
    return try? Data(contentsOf: url)
  }

  /// Stores a binary, replacing what was there.
  func store(_ binary: [UInt8], for key: Key) {
    do {
      try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: true)
      let data = Data(Self.header(key: key, binary: binary) + binary)
      try data.write(to: file(for: key), options: .atomic)
    } catch {
      let isFirst = hasWarned.withLock { warned in
        defer { warned = true }
        return !warned
      }
      guard isFirst else { return }
      let reason = (error as NSError).userInfo[NSUnderlyingErrorKey] as? any Error ?? error
      logger.warning(
        "compiled programs are not kept: \(directory.path): \(reason.localizedDescription)")
    }
  }

  private static func header(key: Key, binary: [UInt8]) -> [UInt8] {
    magic + key.digest + Array(SHA256.hash(data: binary))
  }
}
