/// A read that is under way. It owns the host memory that the device writes into, and does not let
/// go of it before the device is done.
package final class PendingRead {
  private let bytes: HostBytes
  private let event: Event?

  init(bytes: HostBytes, event: Event?) {
    self.bytes = bytes
    self.event = event
  }

  deinit {
    // Memory that the device is still to write into must not be freed.
    event?.settle()
  }

  package var byteCount: Int { bytes.byteCount }

  /// Whether `wait` would return at once.
  package var isComplete: Bool { get throws { try event?.isComplete ?? true } }

  /// Blocks until the bytes are there. The result is valid as long as this object lives.
  package func wait() throws -> UnsafeRawBufferPointer {
    try event?.wait()
    return UnsafeRawBufferPointer(bytes.contents)
  }

  /// Blocks until the bytes are there and copies them; the rest of a division is left out.
  package func wait<Element: BitwiseCopyable>(as type: Element.Type) throws -> [Element] {
    let source = try wait()
    return [Element](unsafeUninitializedCapacity: source.count / MemoryLayout<Element>.stride) {
      target, count in
      count = source.count / MemoryLayout<Element>.stride
      UnsafeMutableRawBufferPointer(target).copyMemory(
        from: .init(rebasing: source[..<(count * MemoryLayout<Element>.stride)]))
    }
  }
}
