import CZlib
import Foundation
import Imaging

/// Reads a file that may be gzip: told by its first bytes, not by its name. Content is unpacked
/// straight into the caller's memory; besides it takes 128 KiB and zlib's 44. Not for use by two
/// threads at once.
package final class UnpackingReader {
  package let path: String
  /// Whether the file is gzip.
  package let isPacked: Bool
  /// The size of the file itself in bytes.
  package let fileSize: Int
  /// How many bytes of (unpacked) content were read.
  package private(set) var position = 0

  private let file: InputFile
  private let stream: UnsafeMutablePointer<z_stream>
  private let input: UnsafeMutableRawBufferPointer
  /// How many bytes of the file were read into `input` so far.
  private var inputEnd: Int
  private var memberIsOpen = false
  private static let inputSize = 1 << 17

  /// - Throws: `FileError` where the file cannot be opened.
  package init(path: String) throws {
    let file = try InputFile(path: path)
    let input = UnsafeMutableRawBufferPointer.allocate(byteCount: Self.inputSize, alignment: 16)
    let stream = UnsafeMutablePointer<z_stream>.allocate(capacity: 1)
    stream.initialize(to: z_stream())
    func discard() {
      stream.deallocate()
      input.deallocate()
    }
    let count: Int
    do {
      count = try file.read(into: input)
    } catch {
      discard()
      throw error
    }
    // The lower 5 bits of 32 + 15: the largest window; 16: gzip and nothing else.
    guard
      inflateInit2_(stream, 16 + 15, ZLIB_VERSION, Int32(MemoryLayout<z_stream>.size)) == Z_OK
    else {
      discard()
      throw FileError(path: path, reason: "zlib could not start")
    }
    self.path = path
    self.file = file
    self.input = input
    self.stream = stream
    fileSize = file.size
    inputEnd = count
    isPacked = count >= 2 && input[0] == 0x1F && input[1] == 0x8B
    memberIsOpen = isPacked
    stream.pointee.avail_in = UInt32(count)
    stream.pointee.next_in = input.baseAddress?.assumingMemoryBound(to: UInt8.self)
  }

  deinit {
    inflateEnd(stream)
    stream.deallocate()
    input.deallocate()
  }

  /// No file of this size can hold more content: deflate cannot pack better than 1032:1.
  package var maximumContentSize: Int {
    guard isPacked else { return fileSize }
    let (size, overflow) = fileSize.multipliedReportingOverflow(by: 1032)
    return overflow ? .max : size
  }

  /// Fills `buffer`; returns less than its count only at the end of the content.
  ///
  /// - Throws: `FileError` for damaged or truncated gzip, with the byte of the file itself.
  package func read(into buffer: UnsafeMutableRawBufferPointer) throws -> Int {
    var filled = takePlainInput(into: buffer)
    if isPacked {
      while filled < buffer.count {
        let count = try unpack(into: UnsafeMutableRawBufferPointer(rebasing: buffer[filled...]))
        if count == 0 { break }
        filled += count
      }
    } else if filled < buffer.count {
      let rest = UnsafeMutableRawBufferPointer(rebasing: buffer[filled...])
      filled += try file.read(into: rest)
    }
    position += filled
    return filled
  }

  /// Up to `count` bytes as an array, for headers.
  package func readArray(upTo count: Int) throws -> [UInt8] {
    // All empty arrays are one object, into which this initializer would write its count.
    guard count > 0 else { return [] }
    return try [UInt8](unsafeUninitializedCapacity: count) { buffer, initialized in
      let rest = UnsafeMutableRawBufferPointer(buffer)
      initialized = try read(into: UnsafeMutableRawBufferPointer(rebasing: rest[..<count]))
    }
  }

  /// Whether the content ends here. For gzip this also checks the sum at its end.
  package func isAtEnd() throws -> Bool {
    try readArray(upTo: 1).isEmpty
  }

  /// A plain file's first bytes, which were read to see whether it is gzip.
  private func takePlainInput(into buffer: UnsafeMutableRawBufferPointer) -> Int {
    guard !isPacked, stream.pointee.avail_in > 0 else { return 0 }
    let available = Int(stream.pointee.avail_in)
    let count = min(available, buffer.count)
    let start = inputEnd - available
    buffer.copyMemory(from: UnsafeRawBufferPointer(rebasing: input[start..<start + count]))
    stream.pointee.avail_in = UInt32(available - count)
    return count
  }

  /// At least one byte, or 0 at the end of the last member.
  private func unpack(into buffer: UnsafeMutableRawBufferPointer) throws -> Int {
    let wanted = UInt32(min(buffer.count, 1 << 30))
    stream.pointee.next_out = buffer.baseAddress?.assumingMemoryBound(to: UInt8.self)
    stream.pointee.avail_out = wanted
    while true {
      if stream.pointee.avail_in == 0, try !refill() {
        if memberIsOpen { throw damage("the gzip stream is truncated") }
        return 0
      }
      if !memberIsOpen { try openNextMember() }
      let result = inflate(stream, Z_NO_FLUSH)
      switch result {
      case Z_STREAM_END: memberIsOpen = false
      case Z_OK, Z_BUF_ERROR: break
      case Z_MEM_ERROR: throw FileError(path: path, reason: "zlib is out of memory")
      default:
        let words = stream.pointee.msg.map { String(cString: $0) } ?? "zlib error \(result)"
        throw damage("the gzip stream is damaged: \(words)")
      }
      let count = Int(wanted - stream.pointee.avail_out)
      if count > 0 { return count }
    }
  }

  /// gzip files may be joined end to end; anything else after the stream is an error.
  private func openNextMember() throws {
    guard stream.pointee.next_in?.pointee == 0x1F else {
      throw damage("bytes follow the gzip stream")
    }
    inflateReset(stream)
    memberIsOpen = true
  }

  private func refill() throws -> Bool {
    let count = try file.read(into: input)
    stream.pointee.next_in = input.baseAddress?.assumingMemoryBound(to: UInt8.self)
    stream.pointee.avail_in = UInt32(count)
    inputEnd += count
    return count > 0
  }

  private func damage(_ reason: String) -> FileError {
    FileError(path: path, offset: inputEnd - Int(stream.pointee.avail_in), reason: reason)
  }
}
