import Crypto
import Foundation
import OpenCLBackend
import OpenCLRuntime
import Verification

/// What a verdict holds for: the device, its driver, and what was run on it. With any change of it
/// the self-test is run again.
package struct SelfTestIdentity: Sendable, Equatable, Codable {
  package let platform, platformVersion, device, vendor, version, driver: String
  /// The kernels' layout.
  package let layout: String
  /// SHA-256 over the kernels' texts and the list of cases, in hexadecimal digits.
  package let program: String

  package init(
    _ device: DeviceDescription, family: DeviceFamily? = nil, sources: KernelSources = .standard,
    cases: [any OperationCase] = OperationCases.start
  ) {
    platform = device.platformName
    platformVersion = device.platformVersion
    self.device = device.name
    vendor = device.vendor
    version = device.version
    driver = device.driverVersion
    layout = (family ?? DeviceFamily(for: device)).rawValue
    program = Self.digest(
      KernelSource.allCases.map(sources.text(of:))
        + cases.map { "\($0.operation) \($0.label) \($0.tier.rawValue)" })
  }

  /// Everything above in one name.
  package var digest: String {
    Self.digest([
      platform, platformVersion, device, vendor, version, driver, layout, program,
    ])
  }

  /// SHA-256 over the texts, each preceded by its length.
  private static func digest(_ texts: [String]) -> String {
    var hash = SHA256()
    for text in texts {
      let bytes = Array(text.utf8)
      withUnsafeBytes(of: UInt64(bytes.count).littleEndian) { hash.update(bufferPointer: $0) }
      hash.update(data: bytes)
    }
    return hash.finalize().map { byte in
      let digits = String(byte, radix: 16)
      return byte < 16 ? "0\(digits)" : digits
    }.joined()
  }
}
