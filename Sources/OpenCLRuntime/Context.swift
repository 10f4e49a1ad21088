import COpenCL

/// A context on one device: what memory, programs and queues are made in.
///
/// Released when it goes; everything made in it keeps it alive.
package final class Context: @unchecked Sendable {
  // Unchecked because the handle is an immutable pointer to an object that OpenCL itself guards
  // for use from several threads; the rest is immutable or locked.
  let handle: Handle
  package let device: Device
  private let allocated = Locked(UInt64(0))

  /// Wraps `clCreateContext`.
  package init(device: Device) throws {
    self.device = device
    var id: cl_device_id? = device.id
    handle = try create(.context, "clCreateContext", "device \(device.properties.summary)") {
      clCreateContext(nil, 1, &id, nil, nil, $0)
    }
  }

  /// The bytes in all memory objects of this context that are alive.
  package var allocatedByteCount: UInt64 { allocated.withLock { $0 } }

  /// Enters an allocation into the account if the device's memory has room for it.
  func reserve(_ byteCount: UInt64) -> Bool {
    allocated.withLock { total in
      let (sum, overflow) = total.addingReportingOverflow(byteCount)
      guard !overflow, sum <= device.globalMemory else { return false }
      total = sum
      return true
    }
  }

  /// Takes an allocation out of the account.
  func unreserve(_ byteCount: UInt64) { allocated.withLock { $0 -= byteCount } }
}
