/// The extents of a tensor, outermost dimension first; elements lie in row-major order without gaps.
package struct Shape: Hashable, Sendable, ExpressibleByArrayLiteral, CustomStringConvertible {
  package let dimensions: [Int]
  /// The product of the dimensions; 1 for a scalar.
  package let count: Int

  /// - Precondition: no dimension is negative and the product fits an `Int`.
  package init(_ dimensions: [Int]) {
    precondition(dimensions.allSatisfy { $0 >= 0 }, "negative dimension in \(dimensions)")
    self.dimensions = dimensions
    self.count = dimensions.reduce(1, *)
  }

  package init(arrayLiteral elements: Int...) { self.init(elements) }

  package var rank: Int { dimensions.count }
  package subscript(_ index: Int) -> Int { dimensions[index] }

  /// The product of all dimensions but the first: the length of one row of the batch.
  package var rowCount: Int { dimensions.dropFirst().reduce(1, *) }

  package var description: String {
    dimensions.isEmpty ? "scalar" : dimensions.map(String.init).joined(separator: "x")
  }
}
