import Imaging

/// Writes an NPY file of version 1.0 in C order, row by row: memory holds no more than one call's
/// rows. The file appears under its name at `close()`, whole or not at all, with as many rows as
/// were appended.
package final class NPYWriter<Element: NPYElement> {
  package let path: String
  /// The shape of one row; the array's is `[rowCount] + rowShape`.
  package let rowShape: [Int]
  package private(set) var rowCount = 0

  private let file: AtomicFile
  private let elementsPerRow: Int

  /// - Parameter rowShape: for example `[64]` for an array of shape `[rows, 64]`; empty for one of
  ///   shape `[rows]`.
  /// - Throws: `FileError` where the path cannot be written.
  package init(path: String, element: Element.Type = Element.self, rowShape: [Int]) throws {
    guard let elementsPerRow = checkedProduct(rowShape), elementsPerRow > 0 else {
      preconditionFailure("a row has at least one element")
    }
    self.path = path
    self.rowShape = rowShape
    self.elementsPerRow = elementsPerRow
    file = try AtomicFile(path: path)
    try file.write(header)
  }

  private var header: [UInt8] {
    NPY.headerBytes(
      elementDescription: Element.npyDescription, rowCount: rowCount, rowShape: rowShape)
  }

  /// Appends whole rows.
  package func append(_ values: [Element]) throws {
    try values.withUnsafeBufferPointer { try append($0) }
  }

  /// Appends whole rows.
  package func append(_ values: UnsafeBufferPointer<Element>) throws {
    precondition(values.count % elementsPerRow == 0, "only whole rows are appended")
    try file.write(UnsafeRawBufferPointer(values))
    rowCount += values.count / elementsPerRow
  }

  /// Completes the header and gives the file its name. Nothing can be appended afterwards.
  package func close() throws {
    try file.rewriteStart(header)
    try file.commit()
  }
}
