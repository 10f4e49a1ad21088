import Foundation

/// A small HTTP server on 127.0.0.1 that answers, and misbehaves, as a test tells it to. One
/// request for each connection.
final class LoopbackServer: Sendable {
  struct Request: Sendable {
    let path: String
    /// The first byte of a `Range: bytes=N-`.
    let rangeStart: Int?
  }

  struct Answer: Sendable {
    var status = 200
    var headers: [String] = []
    var body: [UInt8] = []
    /// The connection is closed after so many bytes of the body.
    var cutAfter: Int?
    /// Called between the head and the body, which waits for its return.
    var beforeBody: (@Sendable () -> Void)?

    static let notFound = Answer(status: 404, body: Array("no such file".utf8))

    /// The whole of `body`, or the range that was asked for, as a well-behaved server would.
    static func file(_ body: [UInt8], _ request: Request) -> Answer {
      guard let start = request.rangeStart else { return Answer(body: body) }
      guard start < body.count else { return Answer(status: 416) }
      return Answer(
        status: 206, headers: ["Content-Range: bytes \(start)-\(body.count - 1)/\(body.count)"],
        body: Array(body[start...]))
    }
  }

  let address: String
  private let listener: Int32
  private let name: sockaddr_in
  private let log = Log()

  #if os(Linux)
    private static let socketType = Int32(SOCK_STREAM.rawValue)
  #else
    private static let socketType = SOCK_STREAM
  #endif

  /// What was asked so far.
  var requests: [Request] { log.requests }

  init(answer: @escaping @Sendable (Request) -> Answer) throws {
    let listener = socket(AF_INET, Self.socketType, 0)
    var name = sockaddr_in()
    name.sin_family = sa_family_t(AF_INET)
    name.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
    var size = socklen_t(MemoryLayout<sockaddr_in>.size)
    let isBound = withUnsafeMutablePointer(to: &name) { pointer in
      pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        bind(listener, $0, size) == 0 && listen(listener, 16) == 0
          && getsockname(listener, $0, &size) == 0
      }
    }
    guard isBound else { throw POSIXError(.EADDRNOTAVAIL) }
    self.listener = listener
    self.name = name
    address = "http://127.0.0.1:\(UInt16(bigEndian: name.sin_port))/"
    let log = log
    Thread.detachNewThread {
      // This thread closes the listener, and nobody else: a number that is closed while it is still
      // in use here may be the next server's by the time of `accept`.
      defer { close(listener) }
      while true {
        let connection = accept(listener, nil, nil)
        guard connection >= 0 else { return }
        guard !log.isOver else {
          close(connection)
          return
        }
        if let request = Self.readRequest(connection) {
          log.add(request)
          Self.send(answer(request), on: connection)
        }
        close(connection)
      }
    }
  }

  deinit {
    log.end()
    // Wakes `accept` with an error on Linux; where it does not, a connection does.
    guard shutdown(listener, Int32(SHUT_RDWR)) != 0 else { return }
    var name = name
    let waker = socket(AF_INET, Self.socketType, 0)
    withUnsafePointer(to: &name) { pointer in
      pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        _ = connect(waker, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
      }
    }
    close(waker)
  }

  private static func readRequest(_ connection: Int32) -> Request? {
    var text = ""
    var buffer = [UInt8](repeating: 0, count: 4096)
    while !text.contains("\r\n\r\n") {
      let count = recv(connection, &buffer, buffer.count, 0)
      guard count > 0 else { return nil }
      text += String(decoding: buffer[..<count], as: UTF8.self)
    }
    let lines = text.components(separatedBy: "\r\n")
    let words = lines[0].split(separator: " ")
    guard words.count == 3 else { return nil }
    let range = lines.first { $0.lowercased().hasPrefix("range: bytes=") }
    let start = range?.split(separator: "=").last.flatMap { Int($0.dropLast()) }
    return Request(path: String(words[1]), rangeStart: start)
  }

  private static func send(_ answer: Answer, on connection: Int32) {
    var head = "HTTP/1.1 \(answer.status) x\r\nConnection: close\r\n"
    head += "Content-Length: \(answer.body.count)\r\n"
    for header in answer.headers { head += header + "\r\n" }
    write(Array((head + "\r\n").utf8), on: connection)
    answer.beforeBody?()
    write(Array(answer.body.prefix(answer.cutAfter ?? .max)), on: connection)
  }

  private static func write(_ bytes: [UInt8], on connection: Int32) {
    #if os(Linux)
      let flags = Int32(MSG_NOSIGNAL)
    #else
      let flags: Int32 = 0
      var one: Int32 = 1
      setsockopt(
        connection, SOL_SOCKET, SO_NOSIGPIPE, &one, socklen_t(MemoryLayout<Int32>.size))
    #endif
    var sent = 0
    while sent < bytes.count {
      let count = bytes[sent...].withUnsafeBytes {
        Foundation.send(connection, $0.baseAddress, $0.count, flags)
      }
      guard count > 0 else { return }
      sent += count
    }
  }

  private final class Log: @unchecked Sendable {
    private let lock = NSLock()
    private var entries: [Request] = []
    private var over = false

    var isOver: Bool { lock.withLock { over } }

    func end() { lock.withLock { over = true } }

    var requests: [Request] { lock.withLock { entries } }

    func add(_ request: Request) { lock.withLock { entries.append(request) } }
  }
}
