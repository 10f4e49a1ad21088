import Foundation
import OpenCLRuntime
import TestSupport
import Testing

@Suite(.usesDevice, .enabled(if: TestDevice.isPresent)) struct FaultInjectionTests {
  /// Every kind of call this module makes, once or more.
  private func workload(_ device: Device, cache: ProgramCache?) throws -> [Float] {
    let context = try Context(device: device)
    let queue = try CommandQueue(context: context, profiling: true)
    let program = try Program(
      context: context, source: TestSource.add, options: TestSource.options, name: "add",
      cache: cache)
    let kernel = try Kernel(program: program, name: "add")
    let input = try Memory(context: context, byteCount: 64)
    let output = try Memory(context: context, byteCount: 64)
    try queue.write((0..<16).map { Float($0) }, to: input, blocking: false)
    try queue.fill(output, with: Float(0))
    try queue.copy(from: input, to: output, byteCount: 32)
    try kernel.set(0, input)
    try kernel.set(1, input)
    try kernel.set(2, output)
    try kernel.set(3, Float(2))
    try kernel.set(4, Int32(16))
    let event = try queue.enqueue(kernel, globalSize: [16], localSize: [4])
    try event?.wait()
    _ = try event?.profile()
    try queue.marker().wait()
    let pending = try queue.readAsync(from: output, byteCount: 64)
    try queue.write((0..<16).map { Float($0) }, to: input, blocking: false)
    try queue.finish()
    _ = try pending.isComplete
    let early = try pending.wait(as: Float.self)
    let late = try queue.read(Float.self, count: 16, from: output)
    return early == late ? late : []
  }

  private let expected = (0..<16).map { Float($0 * 3) }

  @Test(arguments: [Int32(-5), -6, -14, -2, -36, -4]) func everyCallMayFail(code: Int32) throws {
    let device = try #require(try TestDevice.find())
    let whole = HandleLedger()
    let (result, calls) = try FaultInjection.countCalls {
      try whole.observe { try workload(device, cache: nil) }
    }
    #expect(result == expected)
    #expect(whole.madeCount > 10 && whole.liveCount == 0)
    #expect(calls > 30)

    var seen: Set<String> = []
    for call in 1...calls {
      let ledger = HandleLedger()
      FaultInjection.arm(failing: call, code: code)
      defer { FaultInjection.disarm() }
      do {
        _ = try ledger.observe { try workload(device, cache: nil) }
        Issue.record("call \(call) failed unnoticed")
      } catch let error as OpenCLError {
        #expect(error.code == code, "call \(call): \(error)")
        #expect(error.call.hasPrefix("cl"))
        seen.insert(error.call)
      }
      #expect(!FaultInjection.isArmed, "call \(call) was never made")
      #expect(ledger.liveCount == 0, "call \(call) leaks")
    }
    #expect(
      seen == [
        "clCreateContext", "clCreateCommandQueue", "clCreateProgramWithSource", "clBuildProgram",
        "clCreateKernel", "clGetKernelInfo", "clGetKernelWorkGroupInfo", "clCreateBuffer",
        "clEnqueueWriteBuffer", "clEnqueueFillBuffer", "clEnqueueCopyBuffer", "clSetKernelArg",
        "clEnqueueNDRangeKernel", "clWaitForEvents", "clGetEventProfilingInfo",
        "clEnqueueMarkerWithWaitList", "clEnqueueReadBuffer", "clFlush", "clFinish",
        "clGetEventInfo",
      ])
  }

  /// A command that is enqueued and aborted on the device: whoever asks how it ended is told.
  @Test func everyEventMayFail() throws {
    let device = try #require(try TestDevice.find())
    let (_, _, events) = try FaultInjection.count { try workload(device, cache: nil) }
    #expect(events >= 5)
    for event in 1...events {
      let ledger = HandleLedger()
      FaultInjection.arm(failingEvent: event, code: -6)
      defer { FaultInjection.disarm() }
      let error = #expect(throws: OpenCLError.self) {
        _ = try ledger.observe { try workload(device, cache: nil) }
      }
      #expect(error?.code == -6 && error?.detail?.contains("aborted on the device") == true)
      #expect(!FaultInjection.isArmed && ledger.liveCount == 0, "event \(event)")
    }
  }

  /// A device that is lost at some call answers no later one either: everything is let go of, and
  /// nothing waits for it.
  @Test func aDeviceMayBeLostAtAnyCall() throws {
    let device = try #require(try TestDevice.find())
    let (_, calls) = try FaultInjection.countCalls { try workload(device, cache: nil) }
    for call in 1...calls {
      let ledger = HandleLedger()
      FaultInjection.arm(failing: call, code: -2, lasting: true)
      let error = #expect(throws: OpenCLError.self) {
        _ = try ledger.observe { try workload(device, cache: nil) }
      }
      #expect(error?.code == -2 && FaultInjection.isArmed)
      FaultInjection.disarm()
      #expect(ledger.liveCount == 0, "call \(call) leaks")
    }
    #expect(try workload(device, cache: nil) == expected)
  }

  @Test func failuresOfAQueueAreCounted() throws {
    let context = try TestDevice.context()
    let queue = try CommandQueue(context: context)
    #expect(queue.failures.value == 0)
    // Refused before it did anything.
    FaultInjection.arm(failing: 1)
    #expect(throws: OpenCLError.self) { try queue.marker() }
    #expect(queue.failures.value == 1 && queue.failures.ofExecution == 0)
    FaultInjection.arm(failing: 1)
    #expect(throws: OpenCLError.self) { try queue.finish() }
    #expect(queue.failures.value == 2 && queue.failures.ofExecution == 1)
    FaultInjection.arm(failingEvent: 1)
    defer { FaultInjection.disarm() }
    #expect(throws: OpenCLError.self) { try queue.marker().wait() }
    #expect(queue.failures.value == 3 && queue.failures.ofExecution == 2)
    try queue.finish()
    #expect(queue.failures.value == 3 && queue.failures.ofExecution == 2)
  }

  /// With a cache some failures are made good by building anew; none may be noticed otherwise.
  @Test func failuresAroundTheCacheAreMadeGood() throws {
    let device = try #require(try TestDevice.find())
    try withTemporaryDirectory { directory in
      let cache = ProgramCache(directory: directory)
      _ = try workload(device, cache: cache)
      let (_, calls) = try FaultInjection.countCalls { try workload(device, cache: cache) }
      var madeGood = 0
      for call in 1...calls {
        let ledger = HandleLedger()
        FaultInjection.arm(failing: call)
        defer { FaultInjection.disarm() }
        do {
          let result = try ledger.observe { try workload(device, cache: cache) }
          #expect(result == expected)
          madeGood += 1
        } catch {
          #expect(error is OpenCLError)
        }
        #expect(ledger.liveCount == 0, "call \(call) leaks")
      }
      // The binary's way to the driver, and its build.
      #expect(madeGood == 2)
    }
  }

  @Test func itIsSpentOnceAndCanBeDisarmed() throws {
    let context = try TestDevice.context()
    let queue = try CommandQueue(context: context)
    FaultInjection.arm(failing: 2)
    try queue.flush()
    let error = #expect(throws: OpenCLError.self) { try queue.flush() }
    #expect(error == OpenCLError(call: "clFlush", code: -5))
    try queue.flush()
    FaultInjection.arm(failing: 1)
    #expect(FaultInjection.isArmed)
    FaultInjection.disarm()
    #expect(!FaultInjection.isArmed)
    try queue.flush()
  }

  @Test func otherThreadsAreNotDisturbed() throws {
    let context = try TestDevice.context()
    let queue = try CommandQueue(context: context)
    FaultInjection.arm(failing: 1)
    defer { FaultInjection.disarm() }
    let finished = DispatchSemaphore(value: 0)
    nonisolated(unsafe) var failure: (any Error)?
    Thread.detachNewThread {
      do { try queue.flush() } catch { failure = error }
      finished.signal()
    }
    finished.wait()
    #expect(failure == nil)
    #expect(FaultInjection.isArmed)
  }
}
