import Foundation
import OpenCLRuntime
import TestSupport
import Testing

@Suite(.usesDevice, .enabled(if: TestDevice.isPresent)) struct CommandQueueTests {
  private let numbers = (0..<1000).map { Float($0) }

  @Test func bytesSurviveTheRoundTripWhollyAndInPart() throws {
    let context = try TestDevice.context()
    let queue = try CommandQueue(context: context)
    let memory = try Memory(context: context, byteCount: 4000)
    #expect(try queue.write(numbers, to: memory) == nil)
    #expect(try queue.read(Float.self, count: 1000, from: memory) == numbers)
    #expect(try queue.read(Float.self, count: 7, from: memory, at: 52) == Array(numbers[13..<20]))
    try queue.write([Float(-1), -2], to: memory, at: 3992)
    #expect(try queue.read(Float.self, count: 3, from: memory, at: 3988) == [997, -1, -2])
  }

  @Test func nothingMovesWhereNothingIsAsked() throws {
    let context = try TestDevice.context()
    let queue = try CommandQueue(context: context)
    let empty = try Memory(context: context, byteCount: 0)
    #expect(empty.byteCount == 0)
    try queue.write([Float](), to: empty)
    try queue.write([Float](), to: empty, blocking: false)
    #expect(try queue.read(Float.self, count: 0, from: empty) == [])
    try queue.fill(empty, with: UInt8(1))
    try queue.copy(from: empty, to: empty, byteCount: 0)
    #expect(try queue.readAsync(from: empty, byteCount: 0).wait().isEmpty)
    try queue.finish()
  }

  @Test func hostMemoryOfWritesUnderWayIsKept() throws {
    let context = try TestDevice.context()
    let queue = try CommandQueue(context: context)
    let memory = try Memory(context: context, byteCount: 1 << 20)
    weak var watched: HostBytes?
    for round in 0..<50 {
      let value = UInt32(round)
      try queue.write(
        [UInt32](repeating: value, count: 1 << 18), to: memory, blocking: false)
    }
    do {
      let bytes = try HostBytes(byteCount: 1 << 20)
      bytes.contents.storeBytes(of: 77, toByteOffset: 4, as: UInt32.self)
      watched = bytes
      #expect(try queue.write(bytes, to: memory).label.contains("writing"))
    }
    #expect(try queue.read(UInt32.self, count: 3, from: memory) == [0, 77, 0])
    try queue.finish()
    #expect(watched == nil)
  }

  /// A status that tells of a failure says nothing of whether the device still reads.
  @Test func hostMemoryOfAWriteThatFailedIsKeptUntilItHasEnded() throws {
    let context = try TestDevice.context()
    let queue = try CommandQueue(context: context)
    let large = try Memory(context: context, byteCount: 1 << 26)
    let small = try Memory(context: context, byteCount: 40)
    for round in 0..<10 {
      // What keeps the device busy while the write waits.
      for _ in 0..<4 { try queue.fill(large, with: UInt8(round)) }
      try queue.write(Array(numbers[0..<10]), to: small, blocking: false)
      FaultInjection.arm(failingEvent: 1)
      defer { FaultInjection.disarm() }
      #expect(throws: OpenCLError.self) { try queue.write([Float(0)], to: large, blocking: false) }
      #expect(try queue.read(Float.self, count: 10, from: small) == Array(numbers[0..<10]))
    }
  }

  @Test func aQueueThatGoesWaitsForItsWrites() throws {
    let context = try TestDevice.context()
    let memory = try Memory(context: context, byteCount: 1 << 22)
    do {
      let queue = try CommandQueue(context: context)
      for value in 0..<8 {
        try queue.write(
          [UInt32](repeating: UInt32(value), count: 1 << 20), to: memory, blocking: false)
      }
    }
    let queue = try CommandQueue(context: context)
    #expect(try queue.read(UInt32.self, count: 1, from: memory, at: (1 << 22) - 4) == [7])
  }

  @Test func pendingReads() throws {
    let context = try TestDevice.context()
    let queue = try CommandQueue(context: context)
    let memory = try Memory(context: context, byteCount: 4000)
    try queue.write(numbers, to: memory)
    let read = try queue.readAsync(from: memory, at: 400, byteCount: 40)
    try queue.fill(memory, with: Float(0))
    #expect(try read.wait(as: Float.self) == Array(numbers[100..<110]))
    #expect(try read.isComplete)
    #expect(try read.wait().count == 40)
    // One that nobody waits for must not leave the device writing into freed memory.
    for _ in 0..<20 { _ = try queue.readAsync(from: memory, byteCount: 4000) }
    try queue.finish()
  }

  @Test func copiesAndFills() throws {
    let context = try TestDevice.context()
    let queue = try CommandQueue(context: context)
    let source = try Memory(context: context, byteCount: 40)
    let target = try Memory(context: context, byteCount: 40)
    try queue.write(Array(numbers[0..<10]), to: source)
    try queue.fill(target, with: Float(0.5))
    try queue.copy(from: source, at: 8, to: target, at: 16, byteCount: 12)
    #expect(
      try queue.read(Float.self, count: 10, from: target)
        == [0.5, 0.5, 0.5, 0.5, 2, 3, 4, 0.5, 0.5, 0.5])
    try queue.fill(target, with: UInt32(0x0102_0304), at: 36)
    try queue.fill(target, with: UInt8(9), at: 1, byteCount: 2)
    let bytes = try queue.read(UInt8.self, count: 40, from: target)
    #expect(Array(bytes[0..<4]) == [0, 9, 9, 0x3F])
    #expect(Array(bytes[36...]) == [4, 3, 2, 1])
  }

  @Test func eventsAreMadeOnlyOnRequestOrToProfile() throws {
    let context = try TestDevice.context()
    let memory = try Memory(context: context, byteCount: 4000)
    let plain = try CommandQueue(context: context)
    #expect(try plain.fill(memory, with: UInt8(0)) == nil)
    let asked = try #require(try plain.fill(memory, with: UInt8(0), wantsEvent: true))
    try asked.wait()
    #expect(try asked.isComplete)
    let error = #expect(throws: OpenCLError.self) { try asked.profile() }
    #expect(error?.symbol == "CL_PROFILING_INFO_NOT_AVAILABLE")

    let profiling = try CommandQueue(context: context, profiling: true)
    let event = try #require(try profiling.write(numbers, to: memory))
    try event.wait()
    let times = try event.profile()
    #expect(times.queued <= times.submitted && times.submitted <= times.started)
    #expect(times.started <= times.ended && times.ended > 0)
    let marker = try profiling.marker()
    try profiling.flush()
    try marker.wait()
    #expect(try marker.isComplete)
  }

  @Test func buffersBeyondTheDeviceAreRefusedWithTheSizes() throws {
    let context = try TestDevice.context()
    let device = context.device
    let asked = try #require(Int(exactly: device.maximumAllocation + 1))
    let error = #expect(throws: OpenCLError.self) { try Memory(context: context, byteCount: asked) }
    #expect(error?.call == "clCreateBuffer")
    #expect(error?.symbol == "CL_INVALID_BUFFER_SIZE")
    #expect(error?.description.contains("\(asked) bytes") == true)
    #expect(error?.description.contains("\(device.maximumAllocation) bytes") == true)
    #expect(error?.description.contains("\(device.globalMemory) bytes") == true)
    #expect(error?.description.contains("\n") == false)
    #expect(throws: OpenCLError.self) { try Memory(context: context, byteCount: Int.max) }
    #expect(context.allocatedByteCount == 0)
  }

  @Test func theContextKeepsAccountOfItsBuffers() throws {
    let context = try TestDevice.context()
    do {
      let memory = try Memory(context: context, byteCount: 1 << 16)
      #expect(context.allocatedByteCount == 1 << 16)
      _ = memory
      FaultInjection.arm(failing: 1, code: -4)
      let error = #expect(throws: OpenCLError.self) {
        try Memory(context: context, byteCount: 1 << 20)
      }
      #expect(error?.symbol == "CL_MEM_OBJECT_ALLOCATION_FAILURE")
      #expect(error?.description.contains("asked for 1.0 MiB (1048576 bytes)") == true)
      #expect(context.allocatedByteCount == 1 << 16)
      withExtendedLifetime(memory) {}
    }
    #expect(context.allocatedByteCount == 0)
  }

  @Test func commandsThatRunOutOfMemorySayHowMuchIsInUse() throws {
    let context = try TestDevice.context()
    let queue = try CommandQueue(context: context)
    let memory = try Memory(context: context, byteCount: 1 << 20)
    FaultInjection.arm(failing: 1, code: -4)
    let error = #expect(throws: OpenCLError.self) { try queue.fill(memory, with: UInt8(0)) }
    #expect(error?.call == "clEnqueueFillBuffer")
    #expect(error?.description.contains("Sparrow holds 1.0 MiB") == true)
  }
}
