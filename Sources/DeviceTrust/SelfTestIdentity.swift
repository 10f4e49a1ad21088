import Crypto
import Foundation
import Imaging
import OpenCLBackend
import OpenCLRuntime
import Verification

/// What a verdict holds for: the device, its driver, the build of Sparrow, and what was run on it.
/// With any change of it the self-test is run again.
package struct SelfTestIdentity: Sendable, Equatable, Codable {
  package let platform, platformVersion, device, vendor, version, driver: String
  /// What tells the device from others of its model; empty where the driver does not say.
  package let unit: String
  /// The build of Sparrow, whose own code takes part in what is computed.
  package let build: String
  /// The kernels' layout.
  package let layout: String
  /// SHA-256 over the kernels' texts and the list of cases, in hexadecimal digits.
  package let program: String

  package init(
    _ device: DeviceDescription, family: DeviceFamily? = nil, sources: KernelSources = .standard,
    cases: [any OperationCase] = OperationCases.start, build: String = BuildIdentity.current
  ) {
    platform = device.platformName
    platformVersion = device.platformVersion
    self.device = device.name
    vendor = device.vendor
    version = device.version
    driver = device.driverVersion
    unit = device.unit ?? ""
    self.build = build
    layout = (family ?? DeviceFamily(for: device)).rawValue
    program = Self.digest(
      KernelSource.allCases.map(sources.text(of:))
        + cases.map { "\($0.operation) \($0.label) \($0.tier.rawValue)" })
  }

  /// Everything above in one name.
  package var digest: String {
    Self.digest([
      platform, platformVersion, device, vendor, version, driver, unit, build, layout, program,
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
    return hash.finalize().hexadecimal
  }
}
