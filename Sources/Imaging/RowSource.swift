import Foundation

/// The size and the kind of an image.
struct ImageLayout: Equatable {
  var width, height: Int
  /// 1 or 3.
  var channels: Int
  var sampleType: SampleType

  /// No row may take more: 1 GiB.
  static let maximumRowBytes = 1 << 30

  /// Of one row as delivered. What makes layouts bounds the factors, so that it cannot overflow.
  var rowBytes: Int { width * channels * sampleType.size }
}

/// Where the rows of one image come from.
protocol RowSource: AnyObject {
  var layout: ImageLayout { get }

  /// Copies `rows`, which are within the image, as stored and in the machine's byte order.
  func read(_ rows: Range<Int>, into target: UnsafeMutableRawPointer) throws
}

/// Memory whose lack is an error and not the end of the program.
final class RawMemory {
  let base: UnsafeMutableRawPointer

  init(byteCount: Int, path: String) throws {
    guard let base = malloc(max(1, byteCount)) else {
      throw FileError(path: path, reason: "not enough memory for \(byteCount) bytes")
    }
    self.base = base
  }

  deinit { free(base) }
}

/// Calls into C with room for its message.
func withCodecMessage<Result>(
  _ body: (UnsafeMutablePointer<CChar>) throws -> Result
) rethrows -> Result {
  try withUnsafeTemporaryAllocation(of: CChar.self, capacity: 256) { buffer in
    buffer.initialize(repeating: 0)
    guard let base = buffer.baseAddress else {
      preconditionFailure("a temporary buffer has an address")
    }
    return try body(base)
  }
}

/// An image decoded as a whole.
final class WholeImage: RowSource {
  let layout: ImageLayout
  private let memory: RawMemory

  init(layout: ImageLayout, memory: RawMemory) {
    self.layout = layout
    self.memory = memory
  }

  func read(_ rows: Range<Int>, into target: UnsafeMutableRawPointer) {
    memcpy(target, memory.base + rows.lowerBound * layout.rowBytes, rows.count * layout.rowBytes)
  }
}

/// An 8-bit image that is there.
final class DecodedImage: RowSource {
  let layout: ImageLayout
  private let image: Image

  init(_ image: Image) {
    self.image = image
    layout = ImageLayout(
      width: image.width, height: image.height, channels: image.channels, sampleType: .uint8)
  }

  func read(_ rows: Range<Int>, into target: UnsafeMutableRawPointer) {
    image.samples.withUnsafeBytes { source in
      guard let base = source.baseAddress else { return }
      memcpy(target, base + rows.lowerBound * layout.rowBytes, rows.count * layout.rowBytes)
    }
  }
}

/// Rows that can only be had one after the other, from the first.
protocol RowStream: AnyObject {
  var layout: ImageLayout { get }
  var path: String { get }

  /// The next row will be the first.
  func rewind() throws
  func next(into target: UnsafeMutableRawPointer) throws
}

/// Makes any rows of a stream readable: keeps the latest rows, so that tiles with a halo do not
/// start the stream again, and starts it again where older ones are asked for.
final class StreamedRows: RowSource {
  private let stream: any RowStream
  private let memory: RawMemory
  /// How many rows are kept.
  private let capacity: Int
  /// The row that the stream gives next, and how many before it are kept.
  private var position = 0
  private var kept = 0
  private var isBroken = true

  var layout: ImageLayout { stream.layout }

  /// Rows are never kept in more than 256 MiB, but for a single one.
  private static let maximumBytes = 256 << 20

  /// Keeps 256 rows or `keepingBytes`, whichever is more, within `maximumBytes`.
  init(_ stream: any RowStream, keepingBytes: Int = 32 << 20) throws {
    self.stream = stream
    let layout = stream.layout
    let fitting = max(1, Self.maximumBytes / layout.rowBytes)
    capacity = min(layout.height, fitting, max(256, keepingBytes / layout.rowBytes))
    memory = try RawMemory(byteCount: capacity * layout.rowBytes, path: stream.path)
  }

  private func place(of row: Int) -> UnsafeMutableRawPointer {
    memory.base + row % capacity * layout.rowBytes
  }

  func read(_ rows: Range<Int>, into target: UnsafeMutableRawPointer) throws {
    let rowBytes = layout.rowBytes
    if isBroken || rows.lowerBound < position - kept {
      (position, kept, isBroken) = (0, 0, true)
      try stream.rewind()
      isBroken = false
    }
    for (index, row) in rows.enumerated() {
      while position <= row {
        do {
          try stream.next(into: place(of: position))
        } catch {
          isBroken = true
          throw error
        }
        position += 1
        kept = min(kept + 1, capacity)
      }
      memcpy(target + index * rowBytes, place(of: row), rowBytes)
    }
  }
}
