/// An element type that device memory holds.
package protocol Scalar: BitwiseCopyable, ExpressibleByIntegerLiteral, Hashable, Sendable {
  /// The name in messages, for example `float32`.
  static var scalarName: String { get }
}

extension Float: Scalar { package static var scalarName: String { "float32" } }
extension UInt8: Scalar { package static var scalarName: String { "uint8" } }
extension UInt32: Scalar { package static var scalarName: String { "uint32" } }

/// A view of a backend's memory: `shape.count` elements from `offset` on, row-major.
///
/// The storage is a reference: copying a tensor copies the view, never the elements.
package struct Tensor<Storage: AnyObject, Element: Scalar> {
  package let storage: Storage
  /// In elements, from the start of the storage.
  package let offset: Int
  package let shape: Shape

  package init(storage: Storage, offset: Int = 0, shape: Shape) {
    self.storage = storage
    self.offset = offset
    self.shape = shape
  }

  package var count: Int { shape.count }
  package var byteCount: Int { shape.count * MemoryLayout<Element>.stride }

  /// The same memory from `start` elements further on, seen as `shape`.
  ///
  /// - Precondition: the view lies within this one.
  package func view(at start: Int, shape: Shape) -> Tensor {
    precondition(
      start >= 0 && start + shape.count <= count,
      "view of \(shape) at \(start) leaves a tensor of \(self.shape)")
    return Tensor(storage: storage, offset: offset + start, shape: shape)
  }

  /// Rows `range` of the first dimension.
  package func rows(_ range: Range<Int>) -> Tensor {
    let row = shape.rowCount
    return view(
      at: range.lowerBound * row, shape: Shape([range.count] + shape.dimensions.dropFirst()))
  }

  /// Where the view ends, in elements from the start of the storage.
  package var end: Int { offset + count }
}
