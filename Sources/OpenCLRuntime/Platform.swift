import COpenCL

/// One OpenCL implementation on this system. Platforms are never released, so this is a value.
package struct Platform: Sendable {
  // Unsafe is safe here: a platform's id is valid for the process' whole life.
  nonisolated(unsafe) let id: cl_platform_id
  /// Its place in the loader's order.
  package let index: Int
  package let name: String
  package let vendor: String
  package let version: String

  init(id: cl_platform_id, index: Int) throws {
    func text(_ parameter: Int32, _ title: String) throws -> String {
      try infoString("clGetPlatformInfo", "\(title) of platform \(index)") {
        clGetPlatformInfo(id, cl_platform_info(parameter), $0, $1, $2)
      }
    }
    self.id = id
    self.index = index
    name = try text(CL_PLATFORM_NAME, "the name")
    vendor = try text(CL_PLATFORM_VENDOR, "the vendor")
    version = try text(CL_PLATFORM_VERSION, "the version")
  }

  /// The ids of all platforms, in the loader's order; none where no driver is installed.
  static func identifiers() throws -> [cl_platform_id] {
    var count: cl_uint = 0
    do {
      try check("clGetPlatformIDs") { clGetPlatformIDs(0, nil, &count) }
    } catch let error as OpenCLError where error.code == OpenCLError.platformNotFound {
      return []
    }
    guard count > 0 else { return [] }
    var ids = [cl_platform_id?](repeating: nil, count: Int(min(count, 1024)))
    try check("clGetPlatformIDs") { clGetPlatformIDs(cl_uint(ids.count), &ids, nil) }
    return ids.compactMap { $0 }
  }

  /// The ids of all its devices, in the driver's order; none where it has none.
  func deviceIdentifiers() throws -> [cl_device_id] {
    let type = cl_device_type(CL_DEVICE_TYPE_ALL)
    var count: cl_uint = 0
    do {
      try check("clGetDeviceIDs", name) { clGetDeviceIDs(id, type, 0, nil, &count) }
    } catch let error as OpenCLError where error.code == CL_DEVICE_NOT_FOUND {
      return []
    }
    guard count > 0 else { return [] }
    var ids = [cl_device_id?](repeating: nil, count: Int(min(count, 1024)))
    try check("clGetDeviceIDs", name) {
      clGetDeviceIDs(id, type, cl_uint(ids.count), &ids, nil)
    }
    return ids.compactMap { $0 }
  }
}
