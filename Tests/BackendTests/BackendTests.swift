import Compute
import Foundation
import OpenCLBackend
import OpenCLRuntime
import RandomNumbers
import ReferenceBackend
import TestSupport
import Testing
import Verification

private func walk(_ cases: [any OperationCase], on backend: some Backend) throws {
  for operation in cases {
    let report = try operation.report(on: backend)
    #expect(
      report.comparison.passes,
      "\(report.operation) \(report.label) \(report.tier): \(report.comparison.failure ?? "")")
  }
}

@Suite struct ReferenceOperationTests {
  @Test(arguments: [1, 2, 5]) func everyCasePasses(threads: Int) throws {
    try walk(OperationCases.all(.full), on: ReferenceBackend(threads: threads))
  }

  /// The number of threads changes the division of work, never a bit.
  /// Memory that the system would promise twice over, and take the process for once it is used.
  @Test func moreMemoryThanTheMachineHasIsRefused() throws {
    let backend = ReferenceBackend()
    let total = Int(clamping: ProcessInfo.processInfo.physicalMemory)
    let first = try backend.allocate([1 << 16], of: UInt8.self)
    let asked = total - (1 << 12)
    let error = #expect(throws: BackendError.self) {
      _ = try backend.allocate([asked], of: UInt8.self)
    }
    #expect(
      "\(try #require(error))".contains(
        "cannot allocate \(asked) bytes: this machine has \(total) in all, of which"))
    withExtendedLifetime(first) {}
    #expect(throws: BackendError.self) { _ = try backend.allocate([.max / 2], of: Float.self) }
  }

  @Test func threadsDoNotChangeBits() throws {
    func product(threads: Int) throws -> [Float] {
      let backend = ReferenceBackend(threads: threads)
      let a = try backend.filled([37, 53], seed: 1)
      let b = try backend.filled([53, 29], seed: 2)
      let c = try backend.allocate([37, 29], of: Float.self)
      try backend.matmul(MatrixOperand(a), MatrixOperand(b), into: c, epilogue: .none)
      return try backend.download(c)
    }
    #expect(try product(threads: 1) == product(threads: 3))
  }
}

@Suite(.usesDevice) struct DeviceOperationTests {
  /// Both layouts of the kernels on the one device: the other family's kernels must be right too.
  @Test(arguments: DeviceFamily.allCases) func everyCasePasses(family: DeviceFamily) throws {
    guard let device = try TestDevice.find() else { return }
    let backend = try OpenCLBackend(device: device, family: family, tuning: .rule)
    try walk(OperationCases.all(.full), on: backend)
  }

  /// Every tile adds in the same order, whichever way its operands lie, so that tuning cannot
  /// change a result. Each variant with two of the four ways: the others differ in what is read.
  @Test func allMatmulVariantsGiveTheSameBits() throws {
    guard let device = try TestDevice.find() else { return }
    let backend = try OpenCLBackend(device: device, tuning: .rule)
    let ways = [(false, false), (true, false), (false, true), (true, true)]
    for (m, n, k) in [(65, 33, 300), (128, 200, 64), (7, 513, 1030)] {
      let (a, aTransposed) = try operand(m, k, seed: 1, on: backend)
      let (b, bTransposed) = try operand(k, n, seed: 2, on: backend)
      let bias = try backend.filled([n], seed: 3)
      var first: [Float]?
      for (index, variant) in DeviceFamily.allCases.flatMap(MatmulVariant.all(for:)).enumerated() {
        for (ta, tb) in [ways[index % 4], ways[(index + index / 4 % 2 * 2 + 1) % 4]] {
          let shape = MatmulShape(m: m, n: n, k: k, transposeA: ta, transposeB: tb)
          let c = try backend.filled([m, n], seed: 4)
          try backend.launchMatmul(
            variant, shape, ta ? aTransposed : a, tb ? bTransposed : b, into: c,
            epilogue: .bias(bias, .sigmoid))
          let result = try backend.download(c)
          let same = result == first ?? result
          #expect(same, "\(variant.name) at \(shape)")
          first = first ?? result
        }
      }
    }
  }

  /// A driver that miscompiles large tiles alone, which the cases of a self-test do not come to.
  @Test(arguments: DeviceFamily.allCases) func aWrongTileIsRefusedAtItsFirstUse(
    family: DeviceFamily
  ) throws {
    guard let device = try TestDevice.find() else { return }
    let (source, right, wrong) =
      family == .cpu
      ? (KernelSource.matmulBlock, "b16, x##i)", "MB > 48 ? b16.s1032547698badcfe : b16, x##i)")
      : (.tileGPU, "bv[j], acc[i][j])", "bv[TILE_M >= 64 ? 0 : j], acc[i][j])")
    let text = KernelSources.standard.text(of: source)
    #expect(text.contains(right))
    let backend = try OpenCLBackend(
      device: device, family: family, tuning: .rule,
      sources: .standard.replacing(source, with: text.replacingOccurrences(of: right, with: wrong)))
    let x = try backend.filled([512, 8, 8, 20], seed: 1)
    func product() throws {
      try backend.matmul(
        MatrixOperand(x.view(at: 0, shape: [800, 800])),
        MatrixOperand(x.view(at: 0, shape: [800, 16])),
        into: backend.allocate([800, 16], of: Float.self), epilogue: .none)
    }
    func expectRefusal(_ operation: String, _ body: () throws -> Void) {
      let error = #expect(throws: BackendError.self, performing: body)
      guard case .mismatch(operation, _)? = error else {
        Issue.record("\(operation): \(String(describing: error))")
        return
      }
    }
    let variants = MatmulVariant.all(for: family).sorted { $0.blockRows < $1.blockRows }
    backend.matmulVariant = variants.first
    try product()
    backend.matmulVariant = variants.last
    // Again where the error was passed over.
    for _ in 0..<2 { expectRefusal("matmul", product) }
    guard family == .gpu else { return }
    for outputs in [12, 13] {
      let y = try backend.allocate([512, 8, 8, outputs], of: Float.self)
      let w = try backend.filled([3, 3, 20, outputs], seed: 2)
      expectRefusal("convolution") {
        try backend.convolution(
          FeatureMap(x), weight: w, bias: nil, activation: .identity, geometry: .same(3),
          into: FeatureMap(y))
      }
      expectRefusal("convolutionGradient") {
        try backend.convolutionGradient(
          FeatureMap(x), FeatureMap(y), geometry: .same(3), into: w)
      }
    }
  }

  /// A matrix, and its transpose.
  private func operand(
    _ rows: Int, _ columns: Int, seed: UInt64, on backend: OpenCLBackend
  ) throws -> (OpenCLBackend.Floats, OpenCLBackend.Floats) {
    let matrix = try backend.filled([rows, columns], seed: seed)
    let values = try backend.download(matrix)
    let transposed = try backend.allocate([columns, rows], of: Float.self)
    try backend.upload(
      (0..<rows * columns).map { values[$0 % rows * columns + $0 / rows] }, into: transposed)
    return (matrix, transposed)
  }

  @Test func sameCallsGiveTheSameBits() throws {
    guard let device = try TestDevice.find() else { return }
    func run() throws -> [Float] {
      let backend = try OpenCLBackend(device: device, tuning: .rule)
      let y = try backend.filled([33, 785], seed: 1)
      let x = try backend.filled([33, 785], seed: 2)
      let gradient = try backend.allocate([33, 785], of: Float.self)
      let errors = try backend.allocate([33], of: Float.self)
      let counts = try backend.allocate([33], of: Float.self)
      try backend.reconstructionLoss(
        reconstruction: y, target: x, activation: .tanh, code: y, scale: 0.3, gradient: gradient,
        rowError: errors, rowL0: counts)
      return try backend.download(gradient) + backend.download(errors) + backend.download(counts)
    }
    #expect(try run() == run())
  }

  /// An upload is a copy: the array may change as soon as the call returns.
  @Test func uploadsKeepTheirValues() throws {
    guard let device = try TestDevice.find() else { return }
    let backend = try OpenCLBackend(device: device, tuning: .rule)
    let tensors = try (0..<50).map { index in
      let tensor = try backend.allocate([1000], of: Float.self)
      try backend.upload([Float](repeating: Float(index), count: 1000), into: tensor)
      return tensor
    }
    for (index, tensor) in tensors.enumerated() {
      #expect(try backend.download(tensor).allSatisfy { $0 == Float(index) })
    }
  }

  @Test func tooLargeATensorIsRefusedWithBothSizes() throws {
    guard let device = try TestDevice.find() else { return }
    let backend = try OpenCLBackend(device: device, tuning: .rule)
    // As large as indices may be, which go beyond the last by what a work-item handles.
    let most = Int(UInt32.max) - 65536
    let error = #expect(throws: OpenCLError.self) {
      _ = try backend.allocate([most], of: Float.self)
    }
    #expect("\(try #require(error))".contains("16"))
    #expect(throws: BackendError.self) { _ = try backend.allocate([most + 1], of: Float.self) }
  }

  @Test func tuningIsRememberedAndADamagedFileIsIgnored() throws {
    guard let device = try TestDevice.find() else { return }
    let folder = FileManager.default.temporaryDirectory.appendingPathComponent(
      "sparrow-tuning-\(UUID().uuidString)")
    defer { try? FileManager.default.removeItem(at: folder) }
    let tuning = MatmulTuning(file: folder.appendingPathComponent("t.json"), measures: true)
    let shape = MatmulShape(m: 2048, n: 64, k: 64)

    let first = try OpenCLBackend(device: device, tuning: tuning).matmulVariantName(for: shape)
    let file = try #require(tuning.file)
    let text = try String(contentsOf: file, encoding: .utf8)
    #expect(text.contains("2048x64x64") && text.contains(first))

    // What is remembered is taken without measuring.
    let other = try #require(
      MatmulVariant.candidates(
        for: shape, family: DeviceFamily(for: device.properties), on: device.properties
      ).map(\.name).first { $0 != first })
    try text.replacingOccurrences(
      of: "\"2048x64x64\" : \"\(first)\"", with: "\"2048x64x64\" : \"\(other)\""
    )
    .write(to: file, atomically: true, encoding: .utf8)
    #expect(
      try OpenCLBackend(device: device, tuning: tuning).matmulVariantName(for: shape) == other)

    try "{ not JSON".write(to: file, atomically: true, encoding: .utf8)
    _ = try OpenCLBackend(device: device, tuning: tuning).matmulVariantName(for: shape)
    #expect(try String(contentsOf: file, encoding: .utf8).contains("2048x64x64"))
  }
}

extension Backend {
  /// Uniform on [-1, 1).
  func filled(_ shape: Shape, seed: UInt64) throws -> Floats {
    var generator = SplitMix64(seed: seed)
    let tensor = try allocate(shape, of: Float.self)
    try upload((0..<shape.count).map { _ in 2 * generator.nextUniform() - 1 }, into: tensor)
    return tensor
  }
}
