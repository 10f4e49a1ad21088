/// What every backend does with memory: tensors come from it, go to it and return to the host.
package protocol BackendMemory: AnyObject {
  associatedtype Storage: AnyObject
  typealias Floats = Tensor<Storage, Float>
  typealias Bytes = Tensor<Storage, UInt8>
  typealias Indices = Tensor<Storage, UInt32>

  /// What runs the operations, for a person to read.
  var name: String { get }

  /// Memory for one tensor; its contents are unspecified.
  /// - Throws: when the memory cannot be had, with what was asked and what there is.
  func allocate<Element: Scalar>(_ shape: Shape, of type: Element.Type) throws
    -> Tensor<Storage, Element>

  /// Copies `values` into the tensor, without waiting.
  func upload<Element: Scalar>(_ values: [Element], into tensor: Tensor<Storage, Element>) throws

  /// The tensor's values, after waiting for everything before.
  func download<Element: Scalar>(_ tensor: Tensor<Storage, Element>) throws -> [Element]

  /// Starts copying the tensor's values to the host, without waiting.
  func beginDownload(_ tensor: Floats) throws -> any PendingDownload

  /// Waits until every operation so far has taken effect.
  func finish() throws

  /// What further tensors may take.
  var freeMemory: FreeMemory { get }

  /// After how many failures so far an operation may have ended midway, so that what it was to write
  /// is neither old nor new. One that is refused before it has begun leaves all as it was.
  var executionFailureCount: Int { get }
}

/// What a backend may still hold, as far as it knows, in bytes.
package struct FreeMemory: Sendable, Equatable {
  /// In one tensor, and in all together.
  package var largest, total: Int

  package init(largest: Int, total: Int) { (self.largest, self.total) = (largest, total) }

  package static let unlimited = FreeMemory(largest: .max, total: .max)
}

extension BackendMemory {
  package var freeMemory: FreeMemory { .unlimited }
  package var executionFailureCount: Int { 0 }
}

/// Values on their way from the device.
package protocol PendingDownload: AnyObject {
  /// Whether `wait` would return at once.
  var isComplete: Bool { get throws }
  /// The values, after waiting for them.
  func wait() throws -> [Float]
}
