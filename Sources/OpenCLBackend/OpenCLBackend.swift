import Compute
import Foundation
import OpenCLRuntime

/// The operations on an OpenCL device, in one in-order queue.
///
/// Not safe for use by several threads at once: a kernel's arguments are set before each launch.
package final class OpenCLBackend: Backend {
  package typealias Storage = Memory

  package let device: Device
  package let family: DeviceFamily
  package let name: String
  let context: Context
  let queue: CommandQueue
  let library: KernelLibrary
  /// Two zeros that kernels of the CPU family draw their blocks from and leave as zeros
  /// (`Kernels/matmul_block.cl`). One pair serves all launches, since the queue is in order.
  let tickets: Memory
  /// What convolutions of the CPU family read beyond an image's edge.
  let zeros: Memory
  /// How many of them there are.
  static let zeroCount = 256
  /// The queue's failures when both were last known to be zeros.
  private var failuresSeen = 0
  /// What one launch of an operation leaves for the next.
  let scratch = Scratch()
  /// Whether a tile has a trial before its first use; not where all that it computes is judged anyway.
  package var triesTiles = true
  /// The programs of tiles that have had their trial (`TileTrial.swift`).
  var tried: Set<TrialKey> = []
  let matmulPlanner: MatmulPlanner
  /// The variant that every product uses; by the planner's choice when nil. For checks of each.
  package var matmulVariant: MatmulVariant?
  /// The tile that every convolution on a GPU uses; by its shape when nil. For checks of each.
  package var convolutionTile: ConvolutionTile?
  /// Where event times are collected, if they are.
  package let profile: OperationProfile?

  /// - Parameters:
  ///   - family: the layout of the kernels; by the device's properties when nil.
  ///   - cache: where compiled programs are kept between processes.
  ///   - tuning: where the choice of matmul variants is kept and whether it is measured.
  ///   - profiling: whether every launch is timed by events.
  ///   - sources: what the programs are built from.
  package init(
    device: Device, family: DeviceFamily? = nil, cache: ProgramCache? = .standard(),
    tuning: MatmulTuning = .standard(), profiling: Bool = false,
    sources: KernelSources = .standard
  ) throws {
    self.device = device
    self.family = family ?? DeviceFamily(for: device.properties)
    name = "\(device.name) (\(device.platformName))"
    context = try Context(device: device)
    queue = try CommandQueue(context: context, profiling: profiling)
    library = KernelLibrary(context: context, family: self.family, cache: cache, sources: sources)
    tickets = try Memory(context: context, byteCount: 2 * MemoryLayout<UInt32>.stride)
    try queue.fill(tickets, with: UInt32(0))
    zeros = try Memory(
      context: context, byteCount: Self.zeroCount * MemoryLayout<Float>.stride)
    try queue.fill(zeros, with: UInt32(0))
    profile = profiling ? OperationProfile() : nil
    matmulPlanner = MatmulPlanner(
      family: self.family, device: device.properties, tuning: tuning)
  }

  /// Rows of sixteen floats, of a product or a convolution, that a CPU device holds in registers.
  var registerRows: Int { MatmulVariant.registerRows(on: device.properties) }

  /// The kernels that have been used so far, as `program.kernel`: what a list of cases covers.
  package var kernelNames: Set<String> { library.kernelNames }
  /// The programs that have been built so far, each with its macros.
  package var programNames: Set<String> { library.programNames }

  /// Whether programs bring the declarations of OpenCL C's functions; see `KernelLibrary`.
  package var declaresFunctions: Bool { library.declaresFunctions }

  // MARK: Memory

  /// Of all tensors that are alive and of what operations keep.
  package var allocatedByteCount: UInt64 { context.allocatedByteCount }

  /// A tenth is left for what operations keep, and for other programs.
  package var freeMemory: FreeMemory {
    let free = device.globalMemory / 10 * 9
    return FreeMemory(
      largest: min(
        Int(clamping: device.maximumAllocation), Self.mostElements * MemoryLayout<Float>.stride),
      total: Int(clamping: free - min(free, allocatedByteCount)))
  }

  /// Indices have 32 bits, with room to go beyond the last by what a work-item handles.
  private static let mostElements = Int(UInt32.max) - (1 << 16)

  package func allocate<Element: Scalar>(
    _ shape: Shape, of type: Element.Type
  ) throws -> Tensor<Storage, Element> {
    let (bytes, overflow) = shape.count.multipliedReportingOverflow(
      by: MemoryLayout<Element>.stride)
    guard !overflow, shape.count <= Self.mostElements else {
      throw BackendError.outOfMemory(
        bytes: overflow ? .max : bytes,
        detail: "a tensor of \(shape) has more than \(Self.mostElements) elements")
    }
    return Tensor(storage: try Memory(context: context, byteCount: bytes), shape: shape)
  }

  package func upload<Element: Scalar>(
    _ values: [Element], into tensor: Tensor<Storage, Element>
  ) throws {
    precondition(values.count == tensor.count, "\(values.count) values into \(tensor.shape)")
    // Large arrays are not worth a second copy to save the wait.
    try queue.write(
      values, to: tensor.storage, at: tensor.byteOffset, blocking: tensor.byteCount > 1 << 22)
  }

  package func download<Element: Scalar>(_ tensor: Tensor<Storage, Element>) throws -> [Element] {
    try queue.read(Element.self, count: tensor.count, from: tensor.storage, at: tensor.byteOffset)
  }

  package func beginDownload(_ tensor: Floats) throws -> any PendingDownload {
    Download(
      try queue.readAsync(
        from: tensor.storage, at: tensor.byteOffset, byteCount: tensor.byteCount))
  }

  /// By the driver's own means: a kernel would have to be compiled before the first step.
  package func fill(_ y: Floats, with value: Float) throws {
    let event = try queue.fill(
      y.storage, with: value, at: y.byteOffset, byteCount: y.byteCount)
    if let profile, let event { profile.add("fill", event) }
  }

  package func finish() throws { try queue.finish() }

  package var executionFailureCount: Int { queue.failures.ofExecution }

  private final class Download: PendingDownload {
    private let read: PendingRead
    init(_ read: PendingRead) { self.read = read }
    var isComplete: Bool { get throws { try read.isComplete } }
    func wait() throws -> [Float] { try read.wait(as: Float.self) }
  }

  // MARK: Launching

  /// Work-items that share a row in `reconstructionLossGroup`.
  static var lossGroup: Int { 64 }

  /// A kernel of the program of small kernels.
  func commonKernel(_ name: String) throws -> Kernel {
    try library.kernel(
      name, from: .common, form: 0,
      [
        "BLOCK": family.elementwiseBlock, "COLUMNS": family.columns, "LOSS_GROUP": Self.lossGroup,
        "GATHER_BLOCK": family.gatherBlock, "GATHER_ROWS": family.gatherRows,
      ])
  }

  /// Enqueues a kernel whose arguments are set, over `global` work-items rounded up to whole
  /// work-groups.
  ///
  /// - Parameters:
  ///   - label: what the profile counts it as.
  ///   - planes: work-groups in the third dimension, of one work-item's depth.
  func launch(
    _ kernel: Kernel, as label: @autoclosure () -> String, global: (Int, Int),
    local: (columns: Int, rows: Int), planes: Int = 1
  ) throws {
    func rounded(_ size: Int, _ unit: Int) -> Int { (size + unit - 1) / unit * unit }
    let event = try queue.enqueue(
      kernel, global: (rounded(global.0, local.0), rounded(global.1, local.1), planes),
      local: (local.0, local.1, 1), dimensions: planes > 1 ? 3 : 2)
    if let profile, let event { profile.add(label(), event) }
  }

  /// Enqueues a kernel that draws `blocks` blocks by ticket, its last argument.
  func launchByTicket(
    _ kernel: Kernel, _ arguments: inout Arguments, as label: @autoclosure () -> String, blocks: Int
  ) throws {
    try arguments.add(tickets)
    // A kernel that ended midway has not returned its tickets.
    let failures = queue.failures.value
    if failures != failuresSeen {
      try queue.fill(tickets, with: UInt32(0))
      try queue.fill(zeros, with: UInt32(0))
      failuresSeen = failures
    }
    try launch(
      kernel, as: label(), global: (min(device.computeUnits, blocks), 1), local: (1, 1))
  }

  /// The kernel's work-group size in one dimension: the family's, or less where the kernel allows
  /// only that.
  func localSize(_ kernel: Kernel) -> Int { min(family.localSize, kernel.workGroupSizeLimit) }
}

extension Tensor {
  var byteOffset: Int { offset * MemoryLayout<Element>.stride }
}

/// Sets a kernel's arguments in order; a tensor is a buffer and the offset of its first element.
struct Arguments {
  private let kernel: Kernel
  private var index = 0

  init(_ kernel: Kernel) { self.kernel = kernel }

  mutating func add<Element>(_ tensor: Tensor<Memory, Element>) throws {
    try kernel.set(index, tensor.storage)
    try kernel.set(index + 1, UInt32(tensor.offset))
    index += 2
  }

  /// A whole buffer.
  mutating func add(_ memory: Memory) throws {
    try kernel.set(index, memory)
    index += 1
  }

  /// A count or a size; tensors have less than 2^32 elements.
  mutating func add(_ value: Int) throws {
    try kernel.set(index, UInt32(value))
    index += 1
  }

  mutating func add(_ value: Float) throws {
    try kernel.set(index, value)
    index += 1
  }

  mutating func add(_ value: Int32) throws {
    try kernel.set(index, value)
    index += 1
  }
}

extension OpenCLBackend {
  /// The rate of fused multiply-adds in registers, in GFLOPS: the best of a few launches.
  package func measuredPeak() throws -> Double {
    let kernel = try library.kernel("peak", from: .peak)
    let items = family == .cpu ? 16 * device.computeUnits : 2048 * device.computeUnits
    let rounds = family == .cpu ? 100_000 : 20_000
    let result = try allocate([items], of: Float.self)
    var arguments = Arguments(kernel)
    try arguments.add(result)
    try arguments.add(rounds)
    try arguments.add(Float(0.999))
    try arguments.add(Float(0.001))
    var best = 0.0
    for _ in 0..<5 {
      let start = ContinuousClock.now
      try launch(kernel, as: "peak", global: (items, 1), local: (localSize(kernel), 1))
      try finish()
      let seconds = (ContinuousClock.now - start) / .seconds(1)
      best = max(best, Double(items) * Double(rounds) * 2 * 8 * 12 / seconds / 1e9)
    }
    return best
  }
}
