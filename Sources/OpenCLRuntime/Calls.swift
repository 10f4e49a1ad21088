import COpenCL
import Foundation
import Logging

/// What this module has to say beside throwing: failed releases, skipped platforms, the cache.
let logger = Logger(label: "sparrow.opencl")

/// Makes one OpenCL call and throws what it returns unless that is `CL_SUCCESS`. Every call that
/// can throw passes here (or through `create`), so that `FaultInjection` can fail each of them.
///
/// - Parameters:
///   - call: the C function's name.
///   - detail: what it was called on; evaluated only on failure.
@inline(__always)
func check(
  _ call: StaticString, _ detail: @autoclosure () -> String? = nil, _ body: () -> cl_int
) throws {
  let code = sparrow_fault_due() ? sparrow_fault_code() : body()
  if code != CL_SUCCESS {
    throw OpenCLError(call: "\(call)", code: code, detail: detail())
  }
}

/// Makes one OpenCL call that returns a new object and reports its error through a pointer.
@inline(__always)
func create(
  _ kind: Handle.Kind, _ call: StaticString, _ detail: @autoclosure () -> String? = nil,
  _ body: (UnsafeMutablePointer<cl_int>) -> OpaquePointer?
) throws -> Handle {
  var object: OpaquePointer?
  try check(call, detail()) {
    var code = cl_int(CL_SUCCESS)
    object = body(&code)
    return code
  }
  return try own(kind, call, object)
}

/// Takes over an object that a successful call has returned.
func own(_ kind: Handle.Kind, _ call: StaticString, _ object: OpaquePointer?) throws -> Handle {
  guard let object else {
    throw OpenCLError(
      call: "\(call)", code: cl_int(CL_OUT_OF_HOST_MEMORY),
      detail: "the driver reported success but returned no object")
  }
  return Handle(owning: object, kind)
}

/// Makes one OpenCL call in a `deinit`, which cannot throw: a failure is logged.
func attempt(_ call: StaticString, _ body: () -> cl_int) {
  let code = body()
  if code != CL_SUCCESS {
    logger.warning("\(call) failed with \(OpenCLError.symbol(of: code)) (\(code))")
  }
}

/// The four arguments every `clGet...Info` function ends with: parameter's value size, value,
/// size returned; bound to its object and parameter by the caller.
typealias InfoQuery = (Int, UnsafeMutableRawPointer?, UnsafeMutablePointer<Int>?) -> cl_int

/// Queries a value of fixed size.
func info<Value: BitwiseCopyable>(
  _ call: StaticString, _ detail: @autoclosure () -> String?, initial: Value, _ query: InfoQuery
) throws -> Value {
  var value = initial
  try check(call, detail()) { query(MemoryLayout<Value>.size, &value, nil) }
  return value
}

/// Queries a string, such as a name or a build log; invalid UTF-8 is repaired, spaces trimmed.
func infoString(
  _ call: StaticString, _ detail: @autoclosure () -> String?, _ query: InfoQuery
) throws -> String {
  var size = 0
  try check(call, detail()) { query(0, nil, &size) }
  // No driver has a name or a log of this size; a broken one may claim so.
  guard size > 0, size <= 1 << 28 else { return "" }
  var bytes = [UInt8](repeating: 0, count: size)
  try check(call, detail()) { query(size, &bytes, nil) }
  let text = String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
  return text.trimmingCharacters(in: .whitespacesAndNewlines)
}

/// A size in the unit a reader would choose, with the exact number of bytes: `1.5 GiB (1610612736
/// bytes)`.
func readableSize(_ byteCount: UInt64) -> String {
  let units = ["KiB", "MiB", "GiB", "TiB", "PiB"]
  var value = Double(byteCount)
  var unit = "bytes"
  for next in units where value >= 1024 {
    value /= 1024
    unit = next
  }
  if unit == "bytes" { return "\(byteCount) bytes" }
  return String(format: "%.1f", value) + " \(unit) (\(byteCount) bytes)"
}
