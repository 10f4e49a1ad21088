import Compute
import OpenCLRuntime

/// Device memory for what one launch of an operation leaves for the next; it grows and never
/// shrinks. One serves all operations, since the queue is in order.
final class Scratch {
  private var memory: Memory?
  private var capacity = 0

  /// At least `count` floats, whose contents last until the next operation.
  func floats(_ count: Int, in context: Context) throws -> Tensor<Memory, Float> {
    if let memory, capacity >= count { return Tensor(storage: memory, shape: [count]) }
    let enlarged = max(count, 1024)
    let fresh = try Memory(context: context, byteCount: enlarged * MemoryLayout<Float>.stride)
    (memory, capacity) = (fresh, enlarged)
    return Tensor(storage: fresh, shape: [count])
  }
}
