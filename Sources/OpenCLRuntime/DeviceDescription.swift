import Foundation

/// What a device is, in plain values: the input of device selection and of listings.
package struct DeviceDescription: Sendable, Equatable {
  /// The kind of a device. One that reports several is the first of them in this order.
  package enum Kind: String, Sendable, CaseIterable {
    case gpu, cpu, accelerator, other

    /// For sentences: `GPU`, `CPU`, `accelerator`, `other device`.
    package var label: String {
      switch self {
      case .gpu: "GPU"
      case .cpu: "CPU"
      case .accelerator: "accelerator"
      case .other: "other device"
      }
    }
  }

  package var name: String
  package var vendor: String
  /// As the driver says it: `OpenCL <major>.<minor> <vendor's text>`.
  package var version: String
  package var driverVersion: String
  package var platformName: String
  package var platformVersion: String
  package var kind: Kind
  package var computeUnits: Int
  /// In bytes.
  package var globalMemory: UInt64
  /// The largest single buffer, in bytes.
  package var maximumAllocation: UInt64
  /// Per work-group, in bytes.
  package var localMemory: Int
  /// Whether local memory is really global memory, as on CPUs, so that tiling through it only
  /// costs.
  package var localMemoryIsGlobal: Bool
  package var maximumWorkGroupSize: Int
  package var maximumClockMHz: Int
  /// The place of the platform among all platforms, as the loader orders them.
  package var platformIndex: Int
  /// The place of the device among its platform's.
  package var deviceIndex: Int
  /// In floats.
  package var preferredFloatVectorWidth: Int
  /// In floats.
  package var nativeFloatVectorWidth: Int
  package var isAvailable: Bool
  package var compilerAvailable: Bool
  /// Whether the device follows the full profile; an embedded one may round and overflow otherwise.
  package var isFullProfile: Bool
  /// The alignment of buffers and sub-buffers, in bytes.
  package var alignment: Int
  /// Space-separated names.
  package var extensions: String
  /// What tells it from others of its model in this machine, its UUID or its place on the PCI bus;
  /// nil where the driver does not say.
  package var unit: String?
  /// Why it must not be used though it offers all that is needed, as the end of a sentence: set
  /// where a self-test has failed.
  package var refusal: String?

  /// Whether the platform is PoCL, whose compiler is Clang within this process.
  package var isPoCL: Bool { platformName == "Portable Computing Language" }

  /// Whether the platform keeps compiled kernels on disk itself, as PoCL does: it compiles a kernel
  /// when it is first launched, and to hand out a program's binary would compile all of them, and
  /// once more each that is launched.
  package var keepsPrograms: Bool {
    isPoCL && ProcessInfo.processInfo.environment["POCL_KERNEL_CACHE"] != "0"
  }

  package init(
    name: String, vendor: String = "", version: String = "OpenCL 1.2",
    driverVersion: String = "", platformName: String = "", platformVersion: String = "OpenCL 1.2",
    kind: Kind, computeUnits: Int = 1, globalMemory: UInt64 = 1 << 30,
    maximumAllocation: UInt64 = 1 << 28, localMemory: Int = 1 << 15,
    localMemoryIsGlobal: Bool = false, maximumWorkGroupSize: Int = 256,
    maximumClockMHz: Int = 1000, platformIndex: Int = 0, deviceIndex: Int = 0,
    preferredFloatVectorWidth: Int = 1, nativeFloatVectorWidth: Int = 1, isAvailable: Bool = true,
    compilerAvailable: Bool = true, isFullProfile: Bool = true, alignment: Int = 128,
    extensions: String = "", unit: String? = nil
  ) {
    self.name = name
    self.vendor = vendor
    self.version = version
    self.driverVersion = driverVersion
    self.platformName = platformName
    self.platformVersion = platformVersion
    self.kind = kind
    self.computeUnits = computeUnits
    self.globalMemory = globalMemory
    self.maximumAllocation = maximumAllocation
    self.localMemory = localMemory
    self.localMemoryIsGlobal = localMemoryIsGlobal
    self.maximumWorkGroupSize = maximumWorkGroupSize
    self.maximumClockMHz = maximumClockMHz
    self.platformIndex = platformIndex
    self.deviceIndex = deviceIndex
    self.preferredFloatVectorWidth = preferredFloatVectorWidth
    self.nativeFloatVectorWidth = nativeFloatVectorWidth
    self.isAvailable = isAvailable
    self.compilerAvailable = compilerAvailable
    self.isFullProfile = isFullProfile
    self.alignment = alignment
    self.extensions = extensions
    self.unit = unit
  }

  /// `P:D`, the platform's and the device's index: what `--device` takes.
  package var designation: String { "\(platformIndex):\(deviceIndex)" }

  /// For sentences and lists: `0:1 Radeon RX 580 (GPU, AMD Accelerated Parallel Processing)`.
  package var summary: String { "\(designation) \(name) (\(kind.label), \(platformName))" }

  /// The version's numbers, or nil where the driver's text does not follow the specification.
  package var versionNumbers: (major: Int, minor: Int)? {
    let words = version.split(separator: " ")
    guard words.count >= 2, words[0] == "OpenCL" else { return nil }
    let numbers = words[1].split(separator: ".")
    guard numbers.count == 2, let major = Int(numbers[0]), let minor = Int(numbers[1]) else {
      return nil
    }
    return (major, minor)
  }

  /// Compute units times clock: a crude rank among devices of one kind, with no unit.
  var rank: Double { Double(computeUnits) * Double(max(maximumClockMHz, 1)) }

  /// The least memory with which training is worth a start, in bytes.
  package static let minimumGlobalMemory: UInt64 = 128 << 20
  /// The least size of the largest buffer, in bytes: MNIST's training images need 45 MiB.
  package static let minimumAllocation: UInt64 = 64 << 20

  /// Why Sparrow cannot use the device, as the end of a sentence (`has no compiler`), or nil when
  /// it can.
  package var obstacle: String? {
    if let refusal { return refusal }
    if !isAvailable { return "is not available" }
    if !compilerAvailable { return "has no compiler" }
    guard let versionNumbers else { return "does not say which OpenCL it has ('\(version)')" }
    if versionNumbers < (1, 2) {
      return "has OpenCL \(versionNumbers.major).\(versionNumbers.minor), and 1.2 is needed"
    }
    if !isFullProfile { return "follows only the embedded profile" }
    if globalMemory < Self.minimumGlobalMemory {
      return "has only \(readableSize(globalMemory)) of memory"
    }
    if maximumAllocation < Self.minimumAllocation {
      return "allows buffers of at most \(readableSize(maximumAllocation))"
    }
    return nil
  }
}
