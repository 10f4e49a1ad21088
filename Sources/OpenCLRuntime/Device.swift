import COpenCL

/// One OpenCL device. Root devices are never released, so it only remembers the id, and everything
/// about it is asked once.
package final class Device: Sendable {
  package typealias Kind = DeviceDescription.Kind

  // Unsafe is safe here: a root device's id is valid for the process' whole life.
  nonisolated(unsafe) package let id: cl_device_id
  /// All that is known of it, as plain values.
  package let properties: DeviceDescription

  package var name: String { properties.name }
  package var vendor: String { properties.vendor }
  package var version: String { properties.version }
  package var driverVersion: String { properties.driverVersion }
  package var platformName: String { properties.platformName }
  package var platformVersion: String { properties.platformVersion }
  package var kind: Kind { properties.kind }
  package var computeUnits: Int { properties.computeUnits }
  /// In bytes.
  package var globalMemory: UInt64 { properties.globalMemory }
  /// The largest single buffer, in bytes.
  package var maximumAllocation: UInt64 { properties.maximumAllocation }
  /// Per work-group, in bytes.
  package var localMemory: Int { properties.localMemory }
  /// Whether local memory is really global memory, as on CPUs.
  package var localMemoryIsGlobal: Bool { properties.localMemoryIsGlobal }
  package var maximumWorkGroupSize: Int { properties.maximumWorkGroupSize }
  package var maximumClockMHz: Int { properties.maximumClockMHz }
  package var platformIndex: Int { properties.platformIndex }
  package var deviceIndex: Int { properties.deviceIndex }
  /// In floats.
  package var preferredFloatVectorWidth: Int { properties.preferredFloatVectorWidth }
  /// In floats.
  package var nativeFloatVectorWidth: Int { properties.nativeFloatVectorWidth }
  package var isAvailable: Bool { properties.isAvailable }
  package var compilerAvailable: Bool { properties.compilerAvailable }
  /// The alignment of buffers, in bytes.
  package var alignment: Int { properties.alignment }
  /// Space-separated names.
  package var extensions: String { properties.extensions }
  /// `P:D`.
  package var designation: String { properties.designation }

  /// Asks the driver for everything in `properties`.
  init(id: cl_device_id, platform: Platform, index: Int) throws {
    let place = "device \(platform.index):\(index)"

    func text(_ parameter: Int32, _ title: String) throws -> String {
      try infoString("clGetDeviceInfo", "\(title) of \(place)") {
        clGetDeviceInfo(id, cl_device_info(parameter), $0, $1, $2)
      }
    }
    func value<Value: BitwiseCopyable>(
      _ parameter: Int32, _ title: String, as initial: Value
    ) throws -> Value {
      try info("clGetDeviceInfo", "\(title) of \(place)", initial: initial) {
        clGetDeviceInfo(id, cl_device_info(parameter), $0, $1, $2)
      }
    }
    func count(_ parameter: Int32, _ title: String) throws -> Int {
      Int(try value(parameter, title, as: cl_uint(0)))
    }
    func flag(_ parameter: Int32, _ title: String) throws -> Bool {
      try value(parameter, title, as: cl_bool(0)) != 0
    }
    func kind(_ type: cl_device_type) -> Kind {
      if type & cl_device_type(CL_DEVICE_TYPE_GPU) != 0 { return .gpu }
      if type & cl_device_type(CL_DEVICE_TYPE_CPU) != 0 { return .cpu }
      if type & cl_device_type(CL_DEVICE_TYPE_ACCELERATOR) != 0 { return .accelerator }
      return .other
    }

    let extensions = try text(CL_DEVICE_EXTENSIONS, "the extensions")
    let localMemory = try value(CL_DEVICE_LOCAL_MEM_SIZE, "the local memory", as: cl_ulong(0))
    let localType = try value(
      CL_DEVICE_LOCAL_MEM_TYPE, "the local memory's type", as: cl_device_local_mem_type(0))
    self.id = id
    properties = DeviceDescription(
      name: try text(CL_DEVICE_NAME, "the name"),
      vendor: try text(CL_DEVICE_VENDOR, "the vendor"),
      version: try text(CL_DEVICE_VERSION, "the version"),
      driverVersion: try text(CL_DRIVER_VERSION, "the driver's version"),
      platformName: platform.name,
      platformVersion: platform.version,
      kind: kind(try value(CL_DEVICE_TYPE, "the type", as: cl_device_type(0))),
      computeUnits: try count(CL_DEVICE_MAX_COMPUTE_UNITS, "the compute units"),
      globalMemory: try value(CL_DEVICE_GLOBAL_MEM_SIZE, "the memory", as: cl_ulong(0)),
      maximumAllocation: try value(
        CL_DEVICE_MAX_MEM_ALLOC_SIZE, "the largest buffer", as: cl_ulong(0)),
      localMemory: Int(clamping: localMemory),
      localMemoryIsGlobal: localType == cl_device_local_mem_type(CL_GLOBAL),
      maximumWorkGroupSize: try value(
        CL_DEVICE_MAX_WORK_GROUP_SIZE, "the largest work-group", as: 0),
      maximumClockMHz: try count(CL_DEVICE_MAX_CLOCK_FREQUENCY, "the clock"),
      platformIndex: platform.index,
      deviceIndex: index,
      preferredFloatVectorWidth: try count(
        CL_DEVICE_PREFERRED_VECTOR_WIDTH_FLOAT, "the preferred vector width"),
      nativeFloatVectorWidth: try count(
        CL_DEVICE_NATIVE_VECTOR_WIDTH_FLOAT, "the native vector width"),
      isAvailable: try flag(CL_DEVICE_AVAILABLE, "the availability"),
      compilerAvailable: try flag(CL_DEVICE_COMPILER_AVAILABLE, "the compiler's availability"),
      isFullProfile: try text(CL_DEVICE_PROFILE, "the profile") == "FULL_PROFILE",
      alignment: max(1, try count(CL_DEVICE_MEM_BASE_ADDR_ALIGN, "the alignment") / 8),
      extensions: extensions,
      unit: Self.unit(offering: extensions) { parameter, byteCount in
        var bytes = [UInt8](repeating: 0, count: byteCount)
        // A device is none the worse for not answering.
        try? check("clGetDeviceInfo") {
          clGetDeviceInfo(id, parameter, byteCount, &bytes, nil)
        }
        return bytes
      })
  }

  /// What tells a device from others of its model, by whichever extension it offers.
  ///
  /// - Parameter ask: gives the value of a parameter, of so many bytes; zeros where there is none.
  package static func unit(
    offering extensions: String, ask: (_ parameter: UInt32, _ byteCount: Int) -> [UInt8]
  ) -> String? {
    let names = extensions.split(separator: " ")
    // By their numbers, since older headers and Apple's have no names for them:
    // `CL_DEVICE_UUID_KHR`, `CL_DEVICE_PCI_BUS_INFO_KHR`, and `CL_DEVICE_PCI_DOMAIN_ID_NV`,
    // `CL_DEVICE_PCI_BUS_ID_NV`, `CL_DEVICE_PCI_SLOT_ID_NV`.
    let sources: [(name: String, prefix: String, parameters: [(UInt32, Int)])] = [
      ("cl_khr_device_uuid", "uuid", [(0x106A, 16)]),
      ("cl_khr_pci_bus_info", "pci", [(0x410F, 16)]),
      ("cl_nv_device_attribute_query", "nv", [(0x400A, 4), (0x4008, 4), (0x4009, 4)]),
    ]
    for (name, prefix, parameters) in sources where names.contains(Substring(name)) {
      let bytes = parameters.flatMap { ask($0.0, $0.1) }
      if bytes.contains(where: { $0 != 0 }) { return "\(prefix) \(bytes.hexadecimal)" }
    }
    return nil
  }
}
