import Foundation

/// What tells one run of the machine, from its start to its end, from another.
package enum BootIdentity {
  /// nil where the system does not say.
  package static let current: String? = {
    #if os(Linux)
      guard
        let text = try? String(
          contentsOfFile: "/proc/sys/kernel/random/boot_id", encoding: .utf8)
      else { return nil }
      let name = text.trimmingCharacters(in: .whitespacesAndNewlines)
      return name.isEmpty ? nil : name
    #elseif canImport(Darwin)
      var time = timeval()
      var size = MemoryLayout<timeval>.size
      guard sysctlbyname("kern.boottime", &time, &size, nil, 0) == 0 else { return nil }
      return "\(time.tv_sec)"
    #else
      return nil
    #endif
  }()
}
