/// What keeps a segmentation from being done, in one line.
package struct SegmentationError: Error, CustomStringConvertible {
  package let description: String

  package init(_ description: String) { self.description = description }
}
