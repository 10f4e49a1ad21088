import COpenCL

/// One `__kernel` function with its arguments.
///
/// Not Sendable: between setting arguments and enqueueing, one kernel object belongs to one thread.
/// Make one per thread, all from the same program.
package final class Kernel {
  let handle: Handle
  package let program: Program
  package let name: String
  package let argumentCount: Int
  /// The largest work-group this kernel can run with on the device
  /// (`CL_KERNEL_WORK_GROUP_SIZE`), which its registers may hold below the device's own.
  package let workGroupSizeLimit: Int
  /// Work-group sizes are best a multiple of this.
  package let preferredMultiple: Int
  /// Per work-item, in bytes, as the driver tells it.
  package let privateMemory: UInt64
  /// Per work-group, in bytes, of what the source declares itself.
  package let localMemory: UInt64

  // OpenCL does not retain a kernel's arguments before it is enqueued, and Swift may release a
  // buffer after its last mention, which is the setting of an argument; so they are retained here
  // until replaced.
  private var retained: [Memory?]

  /// Wraps `clCreateKernel` and asks for the limits above.
  package init(program: Program, name: String) throws {
    let label = "kernel '\(name)' of program '\(program.name)'"
    let handle = try create(.kernel, "clCreateKernel", label) {
      clCreateKernel(program.handle.pointer, name, $0)
    }
    let pointer = handle.pointer
    func workGroup<Value: BitwiseCopyable>(_ parameter: Int32, as value: Value) throws -> Value {
      try info("clGetKernelWorkGroupInfo", label, initial: value) {
        clGetKernelWorkGroupInfo(
          pointer, program.context.device.id, cl_kernel_work_group_info(parameter), $0, $1, $2)
      }
    }
    argumentCount = Int(
      try info("clGetKernelInfo", label, initial: cl_uint(0)) {
        clGetKernelInfo(pointer, cl_kernel_info(CL_KERNEL_NUM_ARGS), $0, $1, $2)
      })
    workGroupSizeLimit = try workGroup(CL_KERNEL_WORK_GROUP_SIZE, as: 0)
    preferredMultiple = try workGroup(CL_KERNEL_PREFERRED_WORK_GROUP_SIZE_MULTIPLE, as: 0)
    privateMemory = try workGroup(CL_KERNEL_PRIVATE_MEM_SIZE, as: cl_ulong(0))
    localMemory = try workGroup(CL_KERNEL_LOCAL_MEM_SIZE, as: cl_ulong(0))
    self.handle = handle
    self.program = program
    self.name = name
    retained = Array(repeating: nil, count: argumentCount)
  }

  /// Sets a `__global` or `__constant` pointer, and keeps `memory` alive until it is replaced.
  package func set(_ index: Int, _ memory: Memory) throws {
    var buffer: cl_mem? = memory.handle.pointer
    try set(index, byteCount: MemoryLayout<cl_mem?>.size, value: &buffer)
    retained[index] = memory
  }

  /// Sets a `float`.
  package func set(_ index: Int, _ value: Float) throws {
    var value = value
    try set(index, byteCount: MemoryLayout<Float>.size, value: &value)
  }

  /// Sets an `int`.
  package func set(_ index: Int, _ value: Int32) throws {
    var value = value
    try set(index, byteCount: MemoryLayout<Int32>.size, value: &value)
  }

  /// Sets a `uint`.
  package func set(_ index: Int, _ value: UInt32) throws {
    var value = value
    try set(index, byteCount: MemoryLayout<UInt32>.size, value: &value)
  }

  /// Sets a `ulong`.
  package func set(_ index: Int, _ value: UInt64) throws {
    var value = value
    try set(index, byteCount: MemoryLayout<UInt64>.size, value: &value)
  }

  /// Wraps `clSetKernelArg`. An index out of range does not reach the driver: Intel's CPU runtime
  /// crashes on some.
  private func set(_ index: Int, byteCount: Int, value: UnsafeRawPointer) throws {
    func detail() -> String { "kernel '\(name)', argument \(index) (it has \(argumentCount))" }
    guard retained.indices.contains(index) else {
      throw OpenCLError(
        call: "clSetKernelArg", code: cl_int(CL_INVALID_ARG_INDEX), detail: detail())
    }
    try check("clSetKernelArg", detail()) {
      clSetKernelArg(handle.pointer, cl_uint(index), byteCount, value)
    }
  }
}
