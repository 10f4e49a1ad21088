/// What the world does to a backend.
package enum BackendError: Error, CustomStringConvertible {
  /// Memory for `bytes` bytes could not be had.
  case outOfMemory(bytes: Int, detail: String)
  /// A checked operation differed from the oracle by more than its bound.
  case mismatch(operation: String, detail: String)

  package var description: String {
    switch self {
    case .outOfMemory(let bytes, let detail):
      "cannot allocate \(bytes) bytes: \(detail)"
    case .mismatch(let operation, let detail):
      "\(operation) differs from the reference: \(detail)"
    }
  }
}
