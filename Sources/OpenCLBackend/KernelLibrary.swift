import Kernels
import Logging
import OpenCLRuntime

private let logger = Logger(label: "sparrow.kernels")

/// The OpenCL C sources, each under the name of its file, and programs of several files.
package enum KernelSource: String, CaseIterable, Sendable {
  case activation, adam, optimizer, gather, lossRow, loss, columns, matmulBlock, matmulCPU,
    denseCPU
  /// The small kernels in one program: compilers take longer to begin than for such kernels.
  case common
  case matmulGPU, peak, balance, tickets, select, sparse, sparseLatents,
    sparseSums, codes, gates, convolutionCPU, winogradCPU, convolutionGPU
  case tileGPU, convolutionGradientGPU, convolutionPartsGPU
  case logarithm, strips, normalise, pool, segmentation
  /// What goes before every program, and before that where the compiler does not read its own
  /// declarations of functions.
  case bodies, declarations

  fileprivate var embedded: String {
    switch self {
    case .common: ""
    case .bodies: String(cString: sparrowKernelBodies)
    case .declarations: String(cString: sparrowKernelDeclarations)
    case .activation: String(cString: sparrowKernelActivation)
    case .adam: String(cString: sparrowKernelAdam)
    case .optimizer: String(cString: sparrowKernelOptimizer)
    case .gather: String(cString: sparrowKernelGather)
    case .lossRow: String(cString: sparrowKernelLossRow)
    case .loss: String(cString: sparrowKernelLoss)
    case .columns: String(cString: sparrowKernelColumns)
    case .matmulBlock: String(cString: sparrowKernelMatmulBlock)
    case .denseCPU: String(cString: sparrowKernelDenseCPU)
    case .matmulCPU: String(cString: sparrowKernelMatmulCPU)
    case .matmulGPU: String(cString: sparrowKernelMatmulGPU)
    case .peak: String(cString: sparrowKernelPeak)
    case .balance: String(cString: sparrowKernelBalance)
    case .tickets: String(cString: sparrowKernelTickets)
    case .select: String(cString: sparrowKernelSelect)
    case .sparse: String(cString: sparrowKernelSparse)
    case .sparseLatents: String(cString: sparrowKernelSparseLatents)
    case .sparseSums: String(cString: sparrowKernelSparseSums)
    case .codes: String(cString: sparrowKernelCodes)
    case .gates: String(cString: sparrowKernelGates)
    case .convolutionCPU: String(cString: sparrowKernelConvolutionCPU)
    case .winogradCPU: String(cString: sparrowKernelWinogradCPU)
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

/// The texts that programs are built from: those embedded in this build, or, in tests, altered ones
/// that stand for a driver which miscompiles.
package struct KernelSources: Sendable {
  package static let standard = KernelSources()

  private var altered: [KernelSource: String] = [:]

  private init() {}

  /// The text of a file.
  package func text(of source: KernelSource) -> String { altered[source] ?? source.embedded }

  /// These with another text for a file, in all programs that it is part of.
  package func replacing(_ source: KernelSource, with text: String) -> KernelSources {
    var result = self
    result.altered[source] = text
    return result
  }

  /// The whole text of the program: this file after those whose functions it calls.
  package func program(of source: KernelSource) -> String {
    func text(_ source: KernelSource) -> String { self.text(of: source) }
    let own = text(source)
    let pieces: [String] =
      switch source {
      case .common:
        // Those that may not contract a * b + c come last: they say so for what follows.
        [
          text(.activation), text(.lossRow), text(.loss), text(.columns), text(.adam),
          text(.gather), text(.balance),
        ]
      case .matmulGPU, .convolutionGPU: [text(.activation), text(.tileGPU), own]
      case .convolutionGradientGPU: [text(.tileGPU), own]
      case .gates, .segmentation: [text(.activation), text(.logarithm), own]
      case .normalise, .pool: [text(.strips), own]
      case .convolutionCPU: [text(.activation), text(.tickets), own, text(.winogradCPU)]
      case .matmulCPU:
        [text(.activation), text(.tickets), text(.matmulBlock), own]
      case .sparse: [text(.tickets), text(.select), text(.sparseSums), own]
      case .sparseLatents: [text(.tickets), text(.sparseSums), own]
      case .codes: [text(.select), own]
      case .denseCPU:
        // The block in three forms: straight on the way forward, one operand transposed on the way
        // back, the other for the gradients.
        [
          text(.activation), text(.lossRow), text(.tickets), text(.matmulBlock),
          Self.form("matmulBlockTransposed", transposeA: 0, transposeB: 1), text(.matmulBlock),
          Self.form("matmulBlockGradient", transposeA: 1, transposeB: 0), text(.matmulBlock), own,
        ]
      default: [own]
      }
    return ([text(.bodies)] + pieces).joined(separator: "\n")
  }

  /// What gives the function in the next copy of `matmul_block.cl` another name and form.
  private static func form(_ name: String, transposeA: Int, transposeB: Int) -> String {
    """
    #undef TRANSPOSE_A
    #define TRANSPOSE_A \(transposeA)
    #undef TRANSPOSE_B
    #define TRANSPOSE_B \(transposeB)
    #undef MATMUL_BLOCK
    #define MATMUL_BLOCK \(name)
    """
  }
}

/// Builds programs when they are first needed and keeps their kernels.
final class KernelLibrary {
  private let context: Context
  private let family: DeviceFamily
  private let cache: ProgramCache?
  private let sources: KernelSources
  /// Whether programs bring the declarations of OpenCL C's functions, where the compiler can do
  /// without its own.
  private(set) var declaresFunctions: Bool
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

  init(context: Context, family: DeviceFamily, cache: ProgramCache?, sources: KernelSources) {
    self.context = context
    self.family = family
    self.cache = cache
    self.sources = sources
    let device = context.device.properties
    declaresFunctions = device.isPoCL && device.kind == .cpu
  }

  /// What has been used so far, each as its program, its name, which operands it turns, how many
  /// channels it takes at once, and how many classes it is for.
  var kernelNames: Set<String> {
    Set(
      kernels.keys.map { key in
        let turned = ["A", "B"].filter { key.program.definitions["TRANSPOSE_\($0)"] == 1 }
        let classes = key.program.definitions["CLASSES"].map { " of \($0) classes" } ?? ""
        let width = key.program.definitions["WIDTH"].map { " by \($0)" } ?? ""
        return "\(key.program.source).\(key.name)" + turned.map { " \($0)^T" }.joined() + classes
          + width
      })
  }

  /// What has been built so far, each by its name and its macros.
  var programNames: Set<String> {
    Set(programs.keys.map { "\($0.source)" + Self.macros($0.definitions) })
  }

  private static func macros(_ definitions: [String: Int]) -> String {
    definitions.sorted { $0.key < $1.key }.map { " -D\($0.key)=\($0.value)" }.joined()
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
    // Which of the kernels that there are twice, for CPUs and for GPUs, are compiled.
    let options =
      "-cl-std=CL1.2 -DCPU=\(family == .cpu ? 1 : 0)" + Self.macros(key.definitions)
    let source = sources.program(of: key.source)
    func program(_ source: String, _ options: String) throws -> Program {
      try Program(
        context: context, source: source, options: options, name: key.source.rawValue, cache: cache)
    }
    if declaresFunctions {
      do {
        return try program(
          sources.text(of: .declarations) + source, options + Self.withoutDeclarations)
      } catch let error as OpenCLError where error.isBuildFailure {
        // Another version of the compiler may want its own, or the program is wrong anyway.
        logger.debug("\(error); from here on with the compiler's declarations")
        declaresFunctions = false
      }
    }
    return try program(source, options)
  }

  /// Makes PoCL's compiler think that it has read Clang's `opencl-c.h`.
  private static let withoutDeclarations = " -D_OPENCL_H_"
}
