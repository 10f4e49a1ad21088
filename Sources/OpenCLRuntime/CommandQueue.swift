import COpenCL

/// An in-order queue of commands for one device.
///
/// Enqueueing is safe from several threads, though the order among threads is then theirs to agree
/// on. Nothing here blocks but what says so.
package final class CommandQueue: @unchecked Sendable {
  // Unchecked because OpenCL guards its object itself; the list below is locked.
  private let handle: Handle
  package let context: Context
  package let isProfiling: Bool
  /// Grows with every call and command of this queue that fails: where it has grown, a kernel may
  /// have ended midway.
  package let failures = FailureCount()

  // The host memory of writes under way. An event callback could release each as it completes,
  // but would run Swift code on a driver's thread, even during exit; this list is swept by the
  // next write instead, and emptied by `finish`.
  private let underWay = Locked<[(event: Event, bytes: HostBytes)]>([])

  /// Wraps `clCreateCommandQueue`.
  ///
  /// - Parameter profiling: whether events carry times; every command then makes an event.
  package init(context: Context, profiling: Bool = false) throws {
    self.context = context
    isProfiling = profiling
    let properties = profiling ? cl_command_queue_properties(CL_QUEUE_PROFILING_ENABLE) : 0
    handle = try create(
      .queue, "clCreateCommandQueue", "device \(context.device.properties.summary)"
    ) {
      clCreateCommandQueue(context.handle.pointer, context.device.id, properties, $0)
    }
  }

  deinit {
    // Memory that the device is still to read must not be freed.
    if underWay.withLock({ !$0.isEmpty }) { attempt("clFinish") { clFinish(handle.pointer) } }
  }

  /// Blocks until all commands are complete. Wraps `clFinish`.
  package func finish() throws {
    try failures.noting(ofExecution: true) { try check("clFinish") { clFinish(handle.pointer) } }
    try sweep()
  }

  /// Hands all commands to the device. Wraps `clFlush`.
  package func flush() throws {
    try failures.noting(ofExecution: true) { try check("clFlush") { clFlush(handle.pointer) } }
  }

  // MARK: Writing

  /// Copies host bytes to the device. Wraps `clEnqueueWriteBuffer`.
  ///
  /// - Parameter blocking: when false, the caller keeps `source` alive and unchanged until the
  ///   command is complete; see the variants that take an array or `HostBytes` for safer ways.
  /// - Returns: an event if the queue profiles or `wantsEvent`.
  @discardableResult
  package func write(
    _ source: UnsafeRawBufferPointer, to memory: Memory, at byteOffset: Int = 0,
    blocking: Bool = true, wantsEvent: Bool = false
  ) throws -> Event? {
    checkRange(memory, byteOffset, source.count)
    guard let base = source.baseAddress, source.count > 0 else {
      return wantsEvent || isProfiling ? try marker() : nil
    }
    return try submit(
      "clEnqueueWriteBuffer", "writing \(source.count) bytes", wantsEvent: wantsEvent,
      waits: blocking
    ) {
      clEnqueueWriteBuffer(
        handle.pointer, memory.handle.pointer, cl_bool(blocking ? CL_TRUE : CL_FALSE), byteOffset,
        source.count,
        base, 0, nil, $0)
    }
  }

  /// Copies an array to the device; without `blocking` through a copy of it, so that the array
  /// may change or go at once.
  @discardableResult
  package func write<Element: BitwiseCopyable>(
    _ source: [Element], to memory: Memory, at byteOffset: Int = 0, blocking: Bool = true,
    wantsEvent: Bool = false
  ) throws -> Event? {
    try source.withUnsafeBytes { bytes in
      if blocking {
        return try write(bytes, to: memory, at: byteOffset, wantsEvent: wantsEvent)
      }
      return try write(HostBytes(copying: bytes), to: memory, at: byteOffset)
    }
  }

  /// Copies host bytes to the device without blocking, and keeps `source` alive until that is
  /// done. Its contents must not change before the event is complete.
  @discardableResult
  package func write(
    _ source: HostBytes, to memory: Memory, at byteOffset: Int = 0
  ) throws -> Event {
    try sweep()
    guard
      let event = try write(
        UnsafeRawBufferPointer(source.contents), to: memory, at: byteOffset, blocking: false,
        wantsEvent: true)
    else { return try marker() }
    underWay.withLock { $0.append((event, source)) }
    return event
  }

  /// Lets go of the host memory of completed writes. The queue is in order, so the first one that
  /// is not complete ends the search.
  ///
  /// - Throws: `OpenCLError` if a write failed on the device, once for each.
  private func sweep() throws {
    try underWay.withLock { list in
      var done = 0
      defer { list.removeFirst(done) }
      while done < list.count {
        let event = list[done].event
        let status = try event.status()
        guard status <= CL_COMPLETE else { return }
        done += 1
        if let failure = event.failure(status) {
          failures.note(ofExecution: true)
          // Freed memory that the device still read would be garbage there, such as row numbers
          // that lead a kernel out of its buffers.
          event.settle()
          throw failure
        }
      }
    }
  }

  // MARK: Reading

  /// Copies device bytes to the host, blocking. Wraps `clEnqueueReadBuffer`.
  package func read(
    from memory: Memory, at byteOffset: Int = 0, into target: UnsafeMutableRawBufferPointer
  ) throws {
    checkRange(memory, byteOffset, target.count)
    guard let base = target.baseAddress, target.count > 0 else { return }
    try submit("clEnqueueReadBuffer", "reading \(target.count) bytes", waits: true) {
      clEnqueueReadBuffer(
        handle.pointer, memory.handle.pointer, cl_bool(CL_TRUE), byteOffset, target.count, base, 0,
        nil, $0)
    }
  }

  /// Reads `count` elements, blocking.
  package func read<Element: BitwiseCopyable>(
    _ type: Element.Type, count: Int, from memory: Memory, at byteOffset: Int = 0
  ) throws -> [Element] {
    // Before the array is allocated, so that a wrong count is told as such.
    let (byteCount, overflow) = count.multipliedReportingOverflow(
      by: MemoryLayout<Element>.stride)
    precondition(!overflow, "a size that overflows")
    checkRange(memory, byteOffset, byteCount)
    // An empty array of its own would be the one that all threads share, and write into it.
    guard count > 0 else { return [] }
    return try [Element](unsafeUninitializedCapacity: count) { target, initialized in
      try read(
        from: memory, at: byteOffset,
        into: UnsafeMutableRawBufferPointer(start: target.baseAddress, count: byteCount))
      initialized = count
    }
  }

  /// Begins to copy device bytes to the host, and flushes so that polling makes progress.
  package func readAsync(
    from memory: Memory, at byteOffset: Int = 0, byteCount: Int
  ) throws -> PendingRead {
    checkRange(memory, byteOffset, byteCount)
    let bytes = try HostBytes(undefined: byteCount)
    guard byteCount > 0 else { return PendingRead(bytes: bytes, event: nil) }
    let event = try submit(
      "clEnqueueReadBuffer", "reading \(byteCount) bytes", wantsEvent: true
    ) {
      clEnqueueReadBuffer(
        handle.pointer, memory.handle.pointer, cl_bool(CL_FALSE), byteOffset, byteCount,
        bytes.contents.baseAddress, 0, nil, $0)
    }
    // Made before the flush can throw: it waits for the device when it goes.
    let pending = PendingRead(bytes: bytes, event: event)
    try flush()
    return pending
  }

  // MARK: On the device

  /// Copies bytes between buffers, which may be one where the ranges do not overlap. Wraps
  /// `clEnqueueCopyBuffer`.
  @discardableResult
  package func copy(
    from source: Memory, at sourceOffset: Int = 0, to target: Memory, at targetOffset: Int = 0,
    byteCount: Int, wantsEvent: Bool = false
  ) throws -> Event? {
    checkRange(source, sourceOffset, byteCount)
    checkRange(target, targetOffset, byteCount)
    guard byteCount > 0 else { return wantsEvent || isProfiling ? try marker() : nil }
    return try submit("clEnqueueCopyBuffer", "copying \(byteCount) bytes", wantsEvent: wantsEvent) {
      clEnqueueCopyBuffer(
        handle.pointer, source.handle.pointer, target.handle.pointer, sourceOffset, targetOffset,
        byteCount, 0, nil, $0)
    }
  }

  /// Fills bytes, all of the buffer from `byteOffset` where `byteCount` is nil.
  @discardableResult
  package func fill(
    _ memory: Memory, with pattern: UInt8, at byteOffset: Int = 0, byteCount: Int? = nil,
    wantsEvent: Bool = false
  ) throws -> Event? {
    try fill(memory, pattern, byteOffset, byteCount, wantsEvent)
  }

  /// Fills 32-bit words; offset and size are multiples of 4.
  @discardableResult
  package func fill(
    _ memory: Memory, with pattern: UInt32, at byteOffset: Int = 0, byteCount: Int? = nil,
    wantsEvent: Bool = false
  ) throws -> Event? {
    try fill(memory, pattern, byteOffset, byteCount, wantsEvent)
  }

  /// Fills floats; offset and size are multiples of 4.
  @discardableResult
  package func fill(
    _ memory: Memory, with pattern: Float, at byteOffset: Int = 0, byteCount: Int? = nil,
    wantsEvent: Bool = false
  ) throws -> Event? {
    try fill(memory, pattern.bitPattern, byteOffset, byteCount, wantsEvent)
  }

  /// Wraps `clEnqueueFillBuffer`.
  private func fill<Pattern: BitwiseCopyable>(
    _ memory: Memory, _ pattern: Pattern, _ byteOffset: Int, _ byteCount: Int?, _ wantsEvent: Bool
  ) throws -> Event? {
    let byteCount = byteCount ?? memory.byteCount - byteOffset
    checkRange(memory, byteOffset, byteCount)
    guard byteCount > 0 else { return wantsEvent || isProfiling ? try marker() : nil }
    var pattern = pattern
    // The queue is in order, so that the last one's event is that of all.
    var event: Event?
    for start in stride(from: byteOffset, to: byteOffset + byteCount, by: Self.mostFilled) {
      let count = min(Self.mostFilled, byteOffset + byteCount - start)
      event = try submit("clEnqueueFillBuffer", "filling \(count) bytes", wantsEvent: wantsEvent) {
        clEnqueueFillBuffer(
          handle.pointer, memory.handle.pointer, &pattern, MemoryLayout<Pattern>.size, start,
          count, 0, nil,
          $0)
      }
    }
    return event
  }

  /// In bytes; NVIDIA's driver has been known to hang, or to fail later, from 2 GiB on.
  private static let mostFilled = 1 << 30

  // MARK: Kernels

  /// Runs a kernel over a range of 1 to 3 dimensions. Wraps `clEnqueueNDRangeKernel`.
  ///
  /// - Parameter localSize: divides `globalSize` in each dimension; its product is at most
  ///   `kernel.workGroupSizeLimit`.
  @discardableResult
  package func enqueue(
    _ kernel: Kernel, globalSize: [Int], localSize: [Int], wantsEvent: Bool = false
  ) throws -> Event? {
    precondition((1...3).contains(globalSize.count), "a range has 1 to 3 dimensions")
    precondition(globalSize.count == localSize.count, "global and local sizes differ in dimensions")
    func triple(_ sizes: [Int]) -> (Int, Int, Int) {
      (sizes[0], sizes.count > 1 ? sizes[1] : 1, sizes.count > 2 ? sizes[2] : 1)
    }
    return try enqueue(
      kernel, global: triple(globalSize), local: triple(localSize), dimensions: globalSize.count,
      wantsEvent: wantsEvent)
  }

  /// The same without allocating; sizes beyond `dimensions` are ignored.
  @discardableResult
  package func enqueue(
    _ kernel: Kernel, global: (Int, Int, Int), local: (Int, Int, Int), dimensions: Int,
    wantsEvent: Bool = false
  ) throws -> Event? {
    precondition((1...3).contains(dimensions), "a range has 1 to 3 dimensions")
    func detail() -> String {
      "kernel '\(kernel.name)', global size \(global), local size \(local) in"
        + " \(dimensions) dimension(s), work-group limit \(kernel.workGroupSizeLimit)"
    }
    return try withUnsafeBytes(of: global) { globalBytes in
      try withUnsafeBytes(of: local) { localBytes in
        try submit(
          "clEnqueueNDRangeKernel", detail(), label: "kernel '\(kernel.name)'",
          wantsEvent: wantsEvent
        ) {
          clEnqueueNDRangeKernel(
            handle.pointer, kernel.handle.pointer, cl_uint(dimensions), nil,
            globalBytes.assumingMemoryBound(to: Int.self).baseAddress,
            localBytes.assumingMemoryBound(to: Int.self).baseAddress, 0, nil, $0)
        }
      }
    }
  }

  /// An event that is complete when all commands before it are. Wraps
  /// `clEnqueueMarkerWithWaitList`.
  package func marker() throws -> Event {
    var event: cl_event?
    try failures.noting {
      try check("clEnqueueMarkerWithWaitList") {
        clEnqueueMarkerWithWaitList(handle.pointer, 0, nil, &event)
      }
    }
    return Event(
      owning: try own(.event, "clEnqueueMarkerWithWaitList", event), label: "marker",
      failures: failures)
  }

  // MARK: Plumbing

  private func checkRange(_ memory: Memory, _ byteOffset: Int, _ byteCount: Int) {
    precondition(
      memory.contains(offset: byteOffset, byteCount: byteCount),
      "\(byteCount) bytes at \(byteOffset) of a buffer of \(memory.byteCount)")
  }

  /// Enqueues one command, with an event only where one is asked for or profiled: events cost time.
  ///
  /// - Parameter waits: whether the call waits for the command, and so for all before it.
  @discardableResult
  @inline(__always)
  private func submit(
    _ call: StaticString, _ detail: @autoclosure () -> String,
    label: @autoclosure () -> String? = nil, wantsEvent: Bool = false, waits: Bool = false,
    _ body: (UnsafeMutablePointer<cl_event?>?) -> cl_int
  ) throws -> Event? {
    do {
      guard wantsEvent || isProfiling else {
        try check(call, detail()) { body(nil) }
        return nil
      }
      var event: cl_event?
      try check(call, detail()) { body(&event) }
      return Event(
        owning: try own(.event, call, event), label: label() ?? detail(), failures: failures)
    } catch let error as OpenCLError {
      failures.note(ofExecution: waits)
      throw explained(error)
    }
  }

  /// Memory that a driver allocates lazily runs out here: says how much is in use.
  private func explained(_ error: OpenCLError) -> OpenCLError {
    let codes = [CL_MEM_OBJECT_ALLOCATION_FAILURE, CL_OUT_OF_RESOURCES, CL_OUT_OF_HOST_MEMORY]
    guard codes.contains(error.code) else { return error }
    let detail =
      "\(error.detail ?? ""); Sparrow holds \(readableSize(context.allocatedByteCount)) of"
      + " \(context.device.name)'s \(readableSize(context.device.globalMemory))"
    return OpenCLError(call: error.call, code: error.code, detail: detail)
  }
}
