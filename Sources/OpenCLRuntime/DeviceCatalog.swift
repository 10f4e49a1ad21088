import Foundation

/// The OpenCL devices of this system.
package enum DeviceCatalog {
  /// A platform with what could be learned about it.
  package struct Entry: Sendable {
    /// The platform's place in the loader's order.
    package let index: Int
    /// nil when even its name could not be asked.
    package let platform: Platform?
    package let devices: [Device]
    /// One line for each thing that went wrong.
    package let problems: [String]
  }

  /// Every device of every platform, in the loader's order; none where there is no loader's driver
  /// or no device. A platform or device that answers with an error is logged and left out, and
  /// does not hide the others.
  ///
  /// - Throws: `OpenCLError` when the platforms themselves cannot be listed.
  package static func devices() throws -> [Device] {
    try survey().flatMap { entry in
      for problem in entry.problems { logger.warning("\(problem)") }
      return entry.devices
    }
  }

  /// Every platform, with its devices and its problems: what a listing shows.
  ///
  /// - Throws: `OpenCLError` when the platforms themselves cannot be listed.
  package static func survey() throws -> [Entry] {
    try asking.withLock { _ in try ask() }
  }

  /// PoCL 3.1 sets its devices up during the first question about them, and a thread that asks
  /// meanwhile is shown devices that are not ready: their name is a null pointer, which it reads.
  private static let asking = Locked(())

  private static func ask() throws -> [Entry] {
    _ = preparation
    return try Platform.identifiers().enumerated().map { index, id in
      do {
        let platform = try Platform(id: id, index: index)
        return entry(for: platform)
      } catch {
        return Entry(
          index: index, platform: nil, devices: [],
          problems: ["platform \(index) is left out: \(error)"])
      }
    }
  }

  /// What must be said to a driver before its first call.
  ///
  /// PoCL's threads, one for each core, are otherwise often put on one core together, which halves
  /// the speed; `POCL_AFFINITY=0` leaves their placing to the system. And without a place for its
  /// cache PoCL has no device.
  private static let preparation: Void = {
    if ThreadPlacing.canBind() { setenv("POCL_AFFINITY", "1", 0) }
    if let folder = DriverCache.substitute() { setenv("POCL_CACHE_DIR", folder, 0) }
  }()

  private static func entry(for platform: Platform) -> Entry {
    var devices: [Device] = []
    var problems: [String] = []
    do {
      for (index, id) in try platform.deviceIdentifiers().enumerated() {
        do {
          devices.append(try Device(id: id, platform: platform, index: index))
        } catch {
          problems.append("device \(platform.index):\(index) is left out: \(error)")
        }
      }
    } catch {
      problems.append("platform \(platform.index) (\(platform.name)) is left out: \(error)")
    }
    return Entry(
      index: platform.index, platform: platform, devices: devices, problems: problems)
  }
}
