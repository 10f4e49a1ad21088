import Compute
import Foundation

/// The operations in plain Swift: the fallback where there is no device, and the tests' oracle.
///
/// Each family of operations has a file of its own; work is split over threads by rows of the
/// output, so that the number of threads never changes a bit of the result.
package final class ReferenceBackend: Backend {
  package typealias Storage = ReferenceStorage

  package let name: String
  let threads: Int

  /// - Parameter threads: the number of threads; the machine's active cores when nil.
  package init(threads: Int? = nil) {
    self.threads = max(1, threads ?? ProcessInfo.processInfo.activeProcessorCount)
    self.name = "CPU reference, \(self.threads) thread\(self.threads == 1 ? "" : "s")"
  }

  package func allocate<Element: Scalar>(
    _ shape: Shape, of type: Element.Type
  ) throws -> Tensor<Storage, Element> {
    let (bytes, overflow) = shape.count.multipliedReportingOverflow(
      by: MemoryLayout<Element>.stride)
    return Tensor(
      storage: try ReferenceStorage(byteCount: overflow ? .max : bytes), shape: shape)
  }

  package func upload<Element: Scalar>(
    _ values: [Element], into tensor: Tensor<Storage, Element>
  ) throws {
    precondition(values.count == tensor.count, "\(values.count) values into \(tensor.shape)")
    values.withUnsafeBufferPointer { source in
      if let base = source.baseAddress { tensor.pointer.update(from: base, count: source.count) }
    }
  }

  package func download<Element: Scalar>(_ tensor: Tensor<Storage, Element>) throws -> [Element] {
    Array(UnsafeBufferPointer(start: tensor.pointer, count: tensor.count))
  }

  package func beginDownload(_ tensor: Floats) throws -> any PendingDownload {
    CompletedDownload(values: try download(tensor))
  }

  package func finish() throws {}

  /// Runs `body` on consecutive ranges that cover `0..<count`, on all threads.
  ///
  /// - Parameter grain: the smallest range worth a thread.
  func parallel(_ count: Int, grain: Int = 1, _ body: @Sendable (Range<Int>) -> Void) {
    let parts = min(threads, (count + grain - 1) / max(1, grain))
    guard parts > 1 else {
      if count > 0 { body(0..<count) }
      return
    }
    DispatchQueue.concurrentPerform(iterations: parts) { part in
      body(count * part / parts..<count * (part + 1) / parts)
    }
  }
}

/// Host memory, aligned to a cache line.
package final class ReferenceStorage {
  let pointer: UnsafeMutableRawPointer
  private let reserved: Int

  /// More than the machine has after what others of these hold is refused: the system may promise
  /// it all the same, and end the process once it is used.
  fileprivate init(byteCount: Int) throws {
    let size = max(64, byteCount)
    var memory: UnsafeMutableRawPointer?
    guard HostMemory.reserve(size) else { throw HostMemory.shortage(of: byteCount) }
    guard posix_memalign(&memory, 64, size) == 0, let memory else {
      HostMemory.unreserve(size)
      throw HostMemory.shortage(of: byteCount)
    }
    (pointer, reserved) = (memory, size)
  }

  deinit {
    free(pointer)
    HostMemory.unreserve(reserved)
  }
}

/// What the machine has, and what all tensors of this process hold of it.
private enum HostMemory {
  private static let total = Int(clamping: ProcessInfo.processInfo.physicalMemory)
  private static let lock = NSLock()
  // Guarded by `lock`.
  nonisolated(unsafe) private static var held = 0

  static func reserve(_ byteCount: Int) -> Bool {
    lock.withLock {
      guard byteCount <= total - held else { return false }
      held += byteCount
      return true
    }
  }

  static func unreserve(_ byteCount: Int) { lock.withLock { held -= byteCount } }

  static func shortage(of byteCount: Int) -> BackendError {
    BackendError.outOfMemory(
      bytes: byteCount,
      detail: "this machine has \(total) in all, of which Sparrow holds \(lock.withLock { held })")
  }
}

extension Tensor where Storage == ReferenceStorage {
  /// The first element.
  var pointer: UnsafeMutablePointer<Element> {
    storage.pointer.assumingMemoryBound(to: Element.self) + offset
  }

  /// The elements, for a closure that runs on several threads at once; each thread writes its own
  /// part and the storage outlives the call.
  var shared: SharedPointer<Element> { SharedPointer(pointer: pointer) }
}

/// A pointer handed to several threads that touch disjoint parts, or only read.
struct SharedPointer<Element>: @unchecked Sendable {
  let pointer: UnsafeMutablePointer<Element>

  subscript(_ index: Int) -> Element {
    get { pointer[index] }
    nonmutating set { pointer[index] = newValue }
  }

  static func + (base: SharedPointer, distance: Int) -> UnsafeMutablePointer<Element> {
    base.pointer + distance
  }
}

private final class CompletedDownload: PendingDownload {
  private let values: [Float]
  init(values: [Float]) { self.values = values }
  var isComplete: Bool { true }
  func wait() -> [Float] { values }
}
