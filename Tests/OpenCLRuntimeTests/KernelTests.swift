import OpenCLRuntime
import TestSupport
import Testing

@Suite(.usesDevice, .enabled(if: TestDevice.isPresent)) struct KernelTests {
  private func kernel(_ name: String, _ source: String, _ context: Context) throws -> Kernel {
    try Kernel(
      program: Program(
        context: context, source: source, options: TestSource.options, name: name, cache: nil),
      name: name)
  }

  @Test func aKernelAdds() throws {
    let context = try TestDevice.context()
    let queue = try CommandQueue(context: context, profiling: true)
    let kernel = try kernel("add", TestSource.add, context)
    #expect(kernel.argumentCount == 5)
    #expect(kernel.workGroupSizeLimit >= 1 && kernel.preferredMultiple >= 1)
    let a = (0..<100).map { Float($0) }
    let b = (0..<100).map { Float($0 * $0) }
    let output = try Memory(context: context, byteCount: 400, access: .writeOnly)
    do {
      // These two are last mentioned before the kernel runs, and must live until it has.
      let first = try Memory(context: context, byteCount: 400, access: .readOnly)
      let second = try Memory(context: context, byteCount: 400, access: .readOnly)
      try queue.write(a, to: first)
      try queue.write(b, to: second)
      try kernel.set(0, first)
      try kernel.set(1, second)
    }
    #expect(context.allocatedByteCount == 1200)
    try kernel.set(2, output)
    try kernel.set(3, Float(2))
    try kernel.set(4, Int32(100))
    let event = try #require(try queue.enqueue(kernel, globalSize: [104], localSize: [8]))
    try event.wait()
    #expect(try queue.read(Float.self, count: 100, from: output) == zip(a, b).map { $0 + 2 * $1 })
    let times = try event.profile()
    #expect(times.started <= times.ended)
    #expect(event.label == "kernel 'add'")
  }

  @Test(arguments: [1, 2, 3]) func rangesArriveInOrder(dimensions: Int) throws {
    let context = try TestDevice.context()
    let queue = try CommandQueue(context: context)
    let kernel = try kernel("coordinates", TestSource.coordinates, context)
    let global = Array([6, 4, 2].prefix(dimensions))
    let local = Array([3, 2, 1].prefix(dimensions))
    let count = global.reduce(1, *)
    let output = try Memory(context: context, byteCount: count * 4)
    try kernel.set(0, output)
    try kernel.set(1, UInt32(1000))
    try kernel.set(2, UInt64(5) << 32)
    #expect(try queue.enqueue(kernel, globalSize: global, localSize: local) == nil)
    var expected: [UInt32] = []
    for z in 0..<(dimensions > 2 ? 2 : 1) {
      for y in 0..<(dimensions > 1 ? 4 : 1) {
        for x in 0..<6 { expected.append(UInt32(x + 10 * y + 100 * z + 1005)) }
      }
    }
    #expect(try queue.read(UInt32.self, count: count, from: output) == expected)
  }

  @Test func errorsNameTheKernel() throws {
    let context = try TestDevice.context()
    let queue = try CommandQueue(context: context)
    let kernel = try kernel("add", TestSource.add, context)

    let index = #expect(throws: OpenCLError.self) { try kernel.set(7, Float(1)) }
    #expect(index?.symbol == "CL_INVALID_ARG_INDEX")
    #expect(index?.detail == "kernel 'add', argument 7 (it has 5)")
    #expect(throws: OpenCLError.self) { try kernel.set(-1, Float(1)) }
    let size = #expect(throws: OpenCLError.self) { try kernel.set(3, UInt64(1)) }
    #expect(size?.symbol == "CL_INVALID_ARG_SIZE")
    #expect(size?.detail?.contains("'add', argument 3") == true)

    let unset = #expect(throws: OpenCLError.self) {
      try queue.enqueue(kernel, globalSize: [8], localSize: [8])
    }
    #expect(unset?.symbol == "CL_INVALID_KERNEL_ARGS")
    #expect(unset?.detail?.contains("kernel 'add'") == true)

    let memory = try Memory(context: context, byteCount: 64)
    for argument in 0..<3 { try kernel.set(argument, memory) }
    try kernel.set(3, Float(0))
    try kernel.set(4, Int32(8))
    let uneven = #expect(throws: OpenCLError.self) {
      try queue.enqueue(kernel, globalSize: [10], localSize: [8])
    }
    #expect(uneven?.symbol == "CL_INVALID_WORK_GROUP_SIZE")
    #expect(uneven?.detail?.contains("global size (10, 1, 1)") == true)

    let missing = #expect(throws: OpenCLError.self) {
      try Kernel(program: kernel.program, name: "subtract")
    }
    #expect(missing?.symbol == "CL_INVALID_KERNEL_NAME")
    #expect(missing?.detail == "kernel 'subtract' of program 'add'")
  }
}
