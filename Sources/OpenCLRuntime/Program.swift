import COpenCL
import Foundation

/// A built OpenCL C program.
package final class Program: @unchecked Sendable {
  // Unchecked because everything here is immutable, and OpenCL guards its object itself.
  /// Where the executable came from.
  package enum Origin: Sendable { case source, cache }

  let handle: Handle
  package let context: Context
  package let name: String
  package let origin: Origin

  private static let builds = Locked(0)

  /// How many programs this process has built from source.
  package static var buildCount: Int { builds.withLock { $0 } }

  /// Builds `source`, or takes the executable from `cache`.
  ///
  /// A cache entry that the driver does not take is built anew and replaced.
  ///
  /// - Parameters:
  ///   - options: the compiler's, such as `-cl-std=CL1.2 -DTILE=8`.
  ///   - name: for errors.
  /// - Throws: `OpenCLError`; for a program that does not build, with its name and the build log.
  package init(
    context: Context, source: String, options: String, name: String, cache: ProgramCache?
  ) throws {
    self.context = context
    self.name = name
    let cache = cache.flatMap { $0.takes(context.device.properties) ? $0 : nil }
    let key = cache.map { _ in
      ProgramCache.Key(device: context.device.properties, options: options, source: source)
    }
    if let cache, let key, let binary = cache.load(key) {
      do {
        handle = try Self.build(binary: binary, in: context, options: options, name: name)
        origin = .cache
        return
      } catch {
        logger.debug("program '\(name)' is built anew, its cache entry failed: \(error)")
      }
    }
    handle = try Self.build(source: source, in: context, options: options, name: name)
    origin = .source
    if let cache, let key {
      do {
        cache.store(try binary(), for: key)
      } catch {
        // A program without a binary works as well, only not from the cache.
        logger.debug("program '\(name)' is not cached: \(error)")
      }
    }
  }

  /// The executable as the driver would take it back.
  func binary() throws -> [UInt8] {
    let size = try info("clGetProgramInfo", "the binary's size of '\(name)'", initial: 0) {
      clGetProgramInfo(handle.pointer, cl_program_info(CL_PROGRAM_BINARY_SIZES), $0, $1, $2)
    }
    guard size > 0, size <= ProgramCache.maximumBinaryByteCount else {
      throw OpenCLError(
        call: "clGetProgramInfo", code: cl_int(CL_INVALID_BINARY),
        detail: "'\(name)' has a binary of \(size) bytes")
    }
    return try [UInt8](unsafeUninitializedCapacity: size) { target, count in
      var pointer = target.baseAddress
      try check("clGetProgramInfo", "the binary of '\(name)'") {
        clGetProgramInfo(
          handle.pointer, cl_program_info(CL_PROGRAM_BINARIES),
          MemoryLayout<UnsafeMutablePointer<UInt8>?>.size, &pointer, nil)
      }
      count = size
    }
  }

  private static func build(
    source: String, in context: Context, options: String, name: String
  ) throws -> Handle {
    let handle = try create(.program, "clCreateProgramWithSource", "program '\(name)'") { code in
      source.withCString { text in
        var text: UnsafePointer<CChar>? = text
        return clCreateProgramWithSource(context.handle.pointer, 1, &text, nil, code)
      }
    }
    builds.withLock { $0 += 1 }
    return try finish(handle, in: context, options: options, name: name)
  }

  private static func build(
    binary: [UInt8], in context: Context, options: String, name: String
  ) throws -> Handle {
    let handle = try create(.program, "clCreateProgramWithBinary", "program '\(name)'") { code in
      binary.withUnsafeBufferPointer { bytes in
        var device: cl_device_id? = context.device.id
        var size = bytes.count
        var pointer = bytes.baseAddress
        return clCreateProgramWithBinary(
          context.handle.pointer, 1, &device, &size, &pointer, nil, code)
      }
    }
    return try finish(handle, in: context, options: options, name: name)
  }

  /// Wraps `clBuildProgram`.
  private static func finish(
    _ program: consuming Handle, in context: Context, options: String, name: String
  ) throws -> Handle {
    var device: cl_device_id? = context.device.id
    let pointer = program.pointer
    do {
      try check("clBuildProgram") { clBuildProgram(pointer, 1, &device, options, nil, nil) }
    } catch let error as OpenCLError {
      // A log that cannot be read must not hide the build's own error.
      let log = try? infoString("clGetProgramBuildInfo", nil) {
        clGetProgramBuildInfo(
          pointer, context.device.id, cl_program_build_info(CL_PROGRAM_BUILD_LOG), $0, $1, $2)
      }
      let head = "program '\(name)' on \(context.device.name), options '\(options)'"
      let detail = [head, log ?? ""].filter { !$0.isEmpty }.joined(separator: "\n")
      throw OpenCLError(call: error.call, code: error.code, detail: detail)
    }
    return program
  }
}
