import Kernels
import OpenCLRuntime

/// The OpenCL C sources, each under the name of its file.
package enum KernelSource: String, Sendable {
  case activation, elementwise, gather, loss, columns, matmulBlock, matmulCPU, denseCPU, matmulGPU
  case peak

  var text: String {
    switch self {
    case .activation: String(cString: sparrowKernelActivation)
    case .elementwise: String(cString: sparrowKernelElementwise)
    case .gather: String(cString: sparrowKernelGather)
    case .loss: String(cString: sparrowKernelLoss)
    case .columns: String(cString: sparrowKernelColumns)
    case .matmulBlock: String(cString: sparrowKernelMatmulBlock)
    case .denseCPU: String(cString: sparrowKernelDenseCPU)
    case .matmulCPU: String(cString: sparrowKernelMatmulCPU)
    case .matmulGPU: String(cString: sparrowKernelMatmulGPU)
    case .peak: String(cString: sparrowKernelPeak)
    }
  }
}

extension KernelSource {
  /// The files whose functions this one calls, in the order of compilation.
  var prerequisites: [KernelSource] {
    switch self {
    case .loss, .matmulGPU: [.activation]
    case .matmulCPU, .denseCPU: [.activation, .matmulBlock]
    default: []
    }
  }
}

/// Builds programs when they are first needed and keeps their kernels.
final class KernelLibrary {
  private let context: Context
  private let cache: ProgramCache?
  private var kernels: [Key: Kernel] = [:]
  private var programs: [ProgramKey: Program] = [:]

  private struct ProgramKey: Hashable {
    let source: KernelSource
    let definitions: [String: Int]
  }

  private struct Key: Hashable {
    let program: ProgramKey
    let name: String
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

  private func build(_ key: ProgramKey) throws -> Program {
    let macros = key.definitions.sorted { $0.key < $1.key }.map { " -D\($0.key)=\($0.value)" }
    return try Program(
      context: context,
      source: (key.source.prerequisites + [key.source]).map(\.text).joined(separator: "\n"),
      options: "-cl-std=CL1.2" + macros.joined(), name: key.source.rawValue, cache: cache)
  }
}
