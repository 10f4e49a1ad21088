import Foundation
import Imaging

#if canImport(FoundationNetworking)
  import FoundationNetworking
#endif

/// Why one mirror did not deliver.
struct TransferFailure: Error {
  let reason: String
  /// The part was dropped because of the answer: the same mirror may deliver from the start.
  let isWorthAnotherTry: Bool

  init(_ reason: String, isWorthAnotherTry: Bool = false) {
    self.reason = reason
    self.isWorthAnotherTry = isWorthAnotherTry
  }
}

/// Brings one address into a partial file, in chunks, continuing what is there.
enum Transfer {
  struct Request: Sendable {
    let url: URL
    let part: PartialFile
    /// The part's size at the start.
    let start: Int
    /// The largest file to accept.
    let limit: Int
    let idleTimeout: TimeInterval
    let progress: @Sendable (_ bytes: Int, _ total: Int?) -> Void

    func checkSize(_ size: Int) throws {
      guard size <= limit else {
        throw TransferFailure("it sent more than the \(limit) bytes that the file can have")
      }
    }
  }

  /// Blocks until the file is complete.
  ///
  /// - Throws: `TransferFailure` for the mirror's troubles, `FileError` for the part's.
  static func run(_ request: Request) throws {
    if request.url.isFileURL {
      try copy(request)
    } else {
      try HTTPTransfer(request).run()
    }
  }

  /// A local mirror is always copied from its start.
  private static func copy(_ request: Request) throws {
    let source: InputFile
    do {
      source = try InputFile(path: request.url.path)
    } catch let error as FileError {
      throw TransferFailure(error.reason)
    }
    try request.checkSize(source.size)
    let writer = try request.part.open(keeping: 0)
    let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 1 << 18, alignment: 16)
    defer { buffer.deallocate() }
    var done = 0
    while true {
      let count: Int
      do {
        count = try source.read(into: buffer)
      } catch let error as FileError {
        throw TransferFailure(error.reason)
      }
      guard count > 0 else { break }
      done += count
      try request.checkSize(done)
      try writer.write(UnsafeRawBufferPointer(rebasing: buffer[..<count]))
      request.progress(done, source.size)
    }
    try writer.synchronize()
  }
}

/// One HTTP request. `URLSession` calls the delegate's methods one after another on its queue; `run`
/// waits on its own thread, and the lock guards what both touch.
private final class HTTPTransfer: NSObject, URLSessionDataDelegate, @unchecked Sendable {
  private let request: Transfer.Request
  private let finished = DispatchSemaphore(value: 0)
  private let lock = NSLock()

  // Guarded by `lock`.
  private var lastActivity = Date()
  private var failure: (any Error)?
  private var isOver = false

  // Touched on the session's queue alone, and by `run` after the end.
  private var writer: PartialFile.Writer?
  private var received = 0
  private var total: Int?

  init(_ request: Transfer.Request) {
    self.request = request
  }

  func run() throws {
    let queue = OperationQueue()
    queue.maxConcurrentOperationCount = 1
    let configuration = URLSessionConfiguration.ephemeral
    configuration.timeoutIntervalForRequest = request.idleTimeout
    configuration.requestCachePolicy = .reloadIgnoringLocalCacheData
    configuration.urlCache = nil
    let session = URLSession(configuration: configuration, delegate: self, delegateQueue: queue)
    defer { session.invalidateAndCancel() }
    let task = session.dataTask(with: prepared(URLRequest(url: request.url)))
    task.resume()
    // The session's own time-out counts differently from one platform to the next.
    while finished.wait(timeout: .now() + min(request.idleTimeout / 4, 1)) == .timedOut {
      let idle = lock.withLock { Date().timeIntervalSince(lastActivity) }
      guard idle > request.idleTimeout else { continue }
      end(TransferFailure("no answer for \(Int(request.idleTimeout.rounded(.up))) s"))
      task.cancel()
      // The writer is closed on the session's queue, behind whatever that still does.
      queue.addOperation { self.writer = nil }
      queue.waitUntilAllOperationsAreFinished()
    }
    if let failure = lock.withLock({ failure }) { throw failure }
  }

  private func prepared(_ original: URLRequest) -> URLRequest {
    var copy = original
    // Unpacked on the way, the bytes would no longer be the file's.
    copy.setValue("identity", forHTTPHeaderField: "Accept-Encoding")
    if request.start > 0 {
      copy.setValue("bytes=\(request.start)-", forHTTPHeaderField: "Range")
    }
    return copy
  }

  /// The first call decides; a nil is success.
  private func end(_ error: (any Error)?) {
    let isFirst = lock.withLock {
      defer { isOver = true }
      if !isOver { failure = error }
      return !isOver
    }
    if isFirst { finished.signal() }
  }

  private func noteActivity() -> Bool {
    lock.withLock {
      lastActivity = Date()
      return !isOver
    }
  }

  func urlSession(
    _ session: URLSession, task: URLSessionTask,
    willPerformHTTPRedirection response: HTTPURLResponse, newRequest: URLRequest,
    completionHandler: @escaping (URLRequest?) -> Void
  ) {
    completionHandler(prepared(newRequest))
  }

  func urlSession(
    _ session: URLSession, dataTask: URLSessionDataTask, didReceive response: URLResponse,
    completionHandler: @escaping (URLSession.ResponseDisposition) -> Void
  ) {
    do {
      guard noteActivity() else { throw CancellationError() }
      try begin(response)
      completionHandler(.allow)
    } catch {
      end(error)
      completionHandler(.cancel)
    }
  }

  private func begin(_ response: URLResponse) throws {
    guard let response = response as? HTTPURLResponse else {
      throw TransferFailure("the answer is not HTTP")
    }
    switch response.statusCode {
    case 200:
      received = 0
    case 206:
      let range = response.value(forHTTPHeaderField: "Content-Range") ?? ""
      guard request.start > 0, range.hasPrefix("bytes \(request.start)-") else {
        try request.part.remove()
        throw TransferFailure("it sent another range than asked", isWorthAnotherTry: true)
      }
      received = request.start
    case 416 where request.start > 0:
      // The part is as long as the mirror's file or longer, and yet was not finished.
      try request.part.remove()
      throw TransferFailure("HTTP status 416", isWorthAnotherTry: true)
    default:
      throw TransferFailure("HTTP status \(response.statusCode)")
    }
    if response.expectedContentLength >= 0 {
      let (sum, overflow) = received.addingReportingOverflow(Int(response.expectedContentLength))
      let size = overflow ? Int.max : sum
      try request.checkSize(size)
      total = size
    }
    writer = try request.part.open(keeping: received)
    request.progress(received, total)
  }

  func urlSession(_ session: URLSession, dataTask: URLSessionDataTask, didReceive data: Data) {
    guard noteActivity(), let writer else { return }
    do {
      received += data.count
      try request.checkSize(received)
      try data.withUnsafeBytes { try writer.write($0) }
      request.progress(received, total)
    } catch {
      end(error)
      dataTask.cancel()
    }
  }

  func urlSession(
    _ session: URLSession, task: URLSessionTask, didCompleteWithError error: (any Error)?
  ) {
    defer { writer = nil }
    do {
      if let error {
        let isDownloading = writer != nil
        let words = error.localizedDescription
        throw TransferFailure(
          isDownloading ? "broken off after \(received) bytes: \(words)" : words)
      }
      guard let writer else { throw TransferFailure("it sent nothing") }
      if let total, received != total {
        throw TransferFailure("it sent \(received) of \(total) bytes")
      }
      try writer.synchronize()
      end(nil)
    } catch {
      end(error)
    }
  }
}
