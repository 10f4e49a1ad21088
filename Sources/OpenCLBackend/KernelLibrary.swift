import Kernels
import OpenCLRuntime

/// The OpenCL C sources, each under the name of its file.
package enum KernelSource: String, Sendable {
  case activation, elementwise, optimizer, gather, lossRow, loss, columns, matmulBlock, matmulCPU,
    denseCPU
  case densePassCPU, matmulGPU, peak, balance, tickets, select, sparse, codes,
    gates, convolutionCPU, convolutionGPU
  case tileGPU, convolutionGradientGPU, convolutionPartsGPU
  case logarithm, strips, normalise, pool, segmentation

  var text: String {
    switch self {
    case .activation: String(cString: sparrowKernelActivation)
    case .elementwise: String(cString: sparrowKernelElementwise)
    case .optimizer: String(cString: sparrowKernelOptimizer)
    case .gather: String(cString: sparrowKernelGather)
    case .lossRow: String(cString: sparrowKernelLossRow)
    case .loss: String(cString: sparrowKernelLoss)
    case .columns: String(cString: sparrowKernelColumns)
    case .matmulBlock: String(cString: sparrowKernelMatmulBlock)
    case .denseCPU, .densePassCPU: String(cString: sparrowKernelDenseCPU)
    case .matmulCPU: String(cString: sparrowKernelMatmulCPU)
    case .matmulGPU: String(cString: sparrowKernelMatmulGPU)
    case .peak: String(cString: sparrowKernelPeak)
    case .balance: String(cString: sparrowKernelBalance)
    case .tickets: String(cString: sparrowKernelTickets)
    case .select: String(cString: sparrowKernelSelect)
    case .sparse: String(cString: sparrowKernelSparse)
    case .codes: String(cString: sparrowKernelCodes)
    case .gates: String(cString: sparrowKernelGates)
    case .convolutionCPU: String(cString: sparrowKernelConvolutionCPU)
    case .convolutionGPU: String(cString: sparrowKernelConvolutionGPU)
    case .tileGPU: String(cString: sparrowKernelTileGPU)
    case .convolutionGradientGPU: String(cString: sparrowKernelConvolutionGradientGPU)
    case .convolutionPartsGPU: String(cString: sparrowKernelConvolutionPartsGPU)
    case .logarithm: String(cString: sparrowKernelLogarithm)
    case .strips: String(cString: sparrowKernelStrips)
    case .normalise: String(cString: sparrowKernelNormalise)
    case .pool: String(cString: sparrowKernelPool)
    case .segmentation: String(cString: sparrowKernelSegmentation)
    }
  }
}

extension KernelSource {
  /// The whole text of the program: this file after those whose functions it calls.
  var program: String {
    let pieces: [String] =
      switch self {
      case .loss: [Self.activation.text, Self.lossRow.text, text]
      case .matmulGPU, .convolutionGPU: [Self.activation.text, Self.tileGPU.text, text]
      case .convolutionGradientGPU: [Self.tileGPU.text, text]
      case .gates, .segmentation: [Self.activation.text, Self.logarithm.text, text]
      case .normalise, .pool: [Self.strips.text, text]
      case .convolutionCPU: [Self.activation.text, Self.tickets.text, text]
      case .matmulCPU, .denseCPU:
        [Self.activation.text, Self.tickets.text, Self.matmulBlock.text, text]
      case .sparse: [Self.tickets.text, Self.select.text, text]
      case .codes: [Self.select.text, text]
      case .densePassCPU:
        // The block in two forms: straight on the way forward, transposed on the way back.
        [
          Self.activation.text, Self.lossRow.text, Self.tickets.text, Self.matmulBlock.text,
          """
          #undef TRANSPOSE_B
          #define TRANSPOSE_B 1
          #undef MATMUL_BLOCK
          #define MATMUL_BLOCK matmulBlockTransposed
          """, Self.matmulBlock.text, text,
        ]
      default: [text]
      }
    return pieces.joined(separator: "\n")
  }
}

/// Builds programs when they are first needed and keeps their kernels.
final class KernelLibrary {
  private let context: Context
  private let cache: ProgramCache?
  private var kernels: [Key: Kernel] = [:]
  private var programs: [ProgramKey: Program] = [:]
  private var forms: [FormKey: Kernel] = [:]

  private struct ProgramKey: Hashable {
    let source: KernelSource
    let definitions: [String: Int]
  }

  private struct Key: Hashable {
    let program: ProgramKey
    let name: String
  }

  private struct FormKey: Hashable {
    let source: KernelSource
    let name: String
    let form: UInt64
  }

  init(context: Context, cache: ProgramCache?) {
    self.context = context
    self.cache = cache
  }

  /// The kernel `name` of `source` built with `definitions` as macros.
  ///
  /// - Throws: `OpenCLError` with the build log where it does not build.
  func kernel(
    _ name: String, from source: KernelSource, _ definitions: [String: Int] = [:]
  ) throws -> Kernel {
    let programKey = ProgramKey(source: source, definitions: definitions)
    let key = Key(program: programKey, name: name)
    if let kernel = kernels[key] { return kernel }
    let program = try programs[programKey] ?? build(programKey)
    programs[programKey] = program
    let kernel = try Kernel(program: program, name: name)
    kernels[key] = kernel
    return kernel
  }

  /// A kernel with many macros, for which `form` stands: to put them together for each launch would
  /// take longer than to launch.
  func kernel(
    _ name: String, from source: KernelSource, form: UInt64,
    _ definitions: @autoclosure () -> [String: Int]
  ) throws -> Kernel {
    let key = FormKey(source: source, name: name, form: form)
    if let kernel = forms[key] { return kernel }
    let kernel = try kernel(name, from: source, definitions())
    forms[key] = kernel
    return kernel
  }

  private func build(_ key: ProgramKey) throws -> Program {
    let macros = key.definitions.sorted { $0.key < $1.key }.map { " -D\($0.key)=\($0.value)" }
    return try Program(
      context: context,
      source: key.source.program,
      options: "-cl-std=CL1.2" + macros.joined(), name: key.source.rawValue, cache: cache)
  }
}
