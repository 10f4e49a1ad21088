import Foundation

/// A file in memory where the system has such a folder, whose content changes from input to input:
/// the readers take paths, and are to be tested as they are.
final class FuzzFile {
  let path: String
  private let descriptor: Int32

  init() {
    let folder = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : NSTemporaryDirectory()
    path = "\(folder)/sparrow-fuzz-\(getpid())-\(UUID().uuidString)"
    descriptor = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
    require(descriptor >= 0, "\(path) cannot be made")
  }

  deinit {
    close(descriptor)
    unlink(path)
  }

  func write(_ bytes: UnsafeRawBufferPointer) {
    require(ftruncate(descriptor, off_t(bytes.count)) == 0, "\(path) cannot be cut")
    var done = 0
    while done < bytes.count, let base = bytes.baseAddress {
      let count = pwrite(descriptor, base + done, bytes.count - done, off_t(done))
      require(count > 0, "\(path) cannot be written")
      done += count
    }
  }

  /// Each thread's own, kept from call to call; removed when the process ends.
  static func with<Result>(
    _ bytes: UnsafeRawBufferPointer, _ body: (String) throws -> Result
  ) rethrows -> Result {
    let file = FuzzFile.current()
    file.write(bytes)
    return try body(file.path)
  }

  /// A path beside that file's, for what is written again; nothing lies there afterwards.
  static func withCopy<Result>(
    of path: String, _ body: (String) throws -> Result
  ) rethrows -> Result {
    let copy = path + "-copy"
    defer { unlink(copy) }
    return try body(copy)
  }

  /// The folder of that file.
  static func withFolder(_ body: (String) -> Void) {
    body((current().path as NSString).deletingLastPathComponent)
  }

  private static func current() -> FuzzFile {
    let key = "sparrow.fuzz.file"
    let storage = Thread.current.threadDictionary
    if let file = storage[key] as? FuzzFile { return file }
    let file = FuzzFile()
    storage[key] = file
    // A fuzzer ends by exit, without leaving any scope.
    let path = file.path
    ExitPaths.shared.add(path)
    return file
  }
}

/// What is removed when the process ends.
private final class ExitPaths: @unchecked Sendable {
  static let shared = ExitPaths()
  private let lock = NSLock()
  private var paths: [String] = []

  private init() {
    atexit { ExitPaths.shared.remove() }
  }

  func add(_ path: String) { lock.withLock { paths.append(path) } }

  private func remove() {
    lock.withLock { for path in paths { unlink(path) } }
  }
}
