import Compute
import Foundation
import Logging
import OpenCLRuntime

private let logger = Logger(label: "sparrow.matmul")

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

  /// Choices by shape class, for each device, driver and set of variants.
  package typealias Memory = [String: [String: String]]

  /// No file of ours comes near.
  private static let maximumByteCount = 1 << 22

  /// What the file remembers; nothing where it is absent or damaged, since it can be measured anew.
  package var memory: Memory {
    guard let file,
      let data = ProgramCache.content(of: file, maximum: Self.maximumByteCount)
    else { return [:] }
    return (try? JSONDecoder().decode(Memory.self, from: data)) ?? [:]
  }
}

/// Chooses a variant for each shape: from the cache, by a short measurement, or by a rule.
///
/// All variants give the same bits, so that the choice, and a noisy measurement, can only cost
/// time.
final class MatmulPlanner {
  private let tuning: MatmulTuning
  private let family: DeviceFamily
  /// What the cache's entries hold for: the device, its driver, and these variants.
  private let identity: String
  private var chosen: [MatmulShape: MatmulVariant] = [:]
  private lazy var remembered = tuning.memory[identity] ?? [:]

  init(family: DeviceFamily, device: DeviceDescription, tuning: MatmulTuning) {
    self.tuning = tuning
    self.family = family
    identity = [
      device.platformName, device.platformVersion, device.name, device.driverVersion,
      "\(device.computeUnits)",
      MatmulVariant.all(for: family).map(\.name).joined(separator: ","),
    ].joined(separator: "|")
  }

  func variant(for shape: MatmulShape, on backend: OpenCLBackend) throws -> MatmulVariant {
    if let variant = chosen[shape] { return variant }
    let variant = try choose(shape, on: backend)
    chosen[shape] = variant
    return variant
  }

  private func choose(_ shape: MatmulShape, on backend: OpenCLBackend) throws -> MatmulVariant {
    let candidates = MatmulVariant.candidates(
      for: shape, family: family, on: backend.device.properties)
    let usual = candidates[0]
    guard tuning.measures, candidates.count > 1 else { return usual }
    let key = Self.shapeClass(shape)
    if let name = remembered[key], let variant = candidates.first(where: { $0.name == name }) {
      return variant
    }
    // Small products take microseconds whatever the tiles; measuring them costs more than it gains.
    guard shape.floatingPointOperations >= 1e5 else { return usual }
    let fastest = try measure(shape, candidates, on: backend)
    remembered[key] = fastest.name
    store()
    return fastest
  }

  /// Shapes whose sides agree up to the next power of two share a choice, unless the rows of one's A
  /// lie so far apart that they take each other's place in a CPU's first cache, by multiples of 4 KiB.
  private static func shapeClass(_ shape: MatmulShape) -> String {
    func rounded(_ side: Int) -> Int {
      side <= 1 ? 1 : 1 << (Int.bitWidth - (side - 1).leadingZeroBitCount)
    }
    let sides = MatmulShape(
      m: rounded(shape.m), n: rounded(shape.n), k: rounded(shape.k),
      transposeA: shape.transposeA, transposeB: shape.transposeB)
    return sides.description + (!shape.transposeA && shape.k % 1024 == 0 ? " apart" : "")
  }

  // MARK: Measuring

  /// The fastest candidate in a few rounds on memory of its own; the first unless another is faster
  /// by more than chance would have it.
  private func measure(
    _ shape: MatmulShape, _ candidates: [MatmulVariant], on backend: OpenCLBackend
  ) throws -> MatmulVariant {
    let usual = candidates[0]
    // A part of a very large product tells the same, if it keeps the device as busy.
    let side = family == .cpu ? 1024 : 4096
    let part = MatmulShape(
      m: min(shape.m, side), n: min(shape.n, side), k: min(shape.k, 1024),
      transposeA: shape.transposeA, transposeB: shape.transposeB)
    let a = try backend.allocate(
      part.transposeA ? [part.k, part.m] : [part.m, part.k], of: Float.self)
    let b = try backend.allocate(
      part.transposeB ? [part.n, part.k] : [part.k, part.n], of: Float.self)
    let c = try backend.allocate([part.m, part.n], of: Float.self)
    for tensor in [a, b] { try backend.fill(tensor, with: 0.5) }

    func time(_ variant: MatmulVariant, launches: Int) throws -> Double {
      let start = ContinuousClock.now
      for _ in 0..<launches {
        try backend.launchMatmul(variant, part, a, b, into: c, epilogue: .none)
      }
      try backend.finish()
      return (ContinuousClock.now - start) / .seconds(1) / Double(launches)
    }
    var best: [MatmulVariant: Double] = [:]
    var usable: [MatmulVariant] = []
    for variant in candidates {
      do {
        _ = try time(variant, launches: 1)
        usable.append(variant)
      } catch let error as OpenCLError where variant != usual {
        // A tile may ask for more local memory or registers than this device has.
        logger.debug("\(variant.name) cannot run here: \(error)")
      }
    }
    for _ in 0..<4 {
      for variant in usable {
        let once = best[variant] ?? 1e-3
        let seconds = try time(variant, launches: max(2, min(20, Int(2e-3 / once))))
        best[variant] = min(best[variant] ?? .infinity, seconds)
      }
    }
    let fastest = usable.min { best[$0, default: .infinity] < best[$1, default: .infinity] }
    guard let fastest, let time = best[fastest], let usualTime = best[usual] else { return usual }
    return time < 0.95 * usualTime ? fastest : usual
  }

  // MARK: Remembering

  private func store() {
    guard let file = tuning.file else { return }
    var memory = tuning.memory
    memory[identity, default: [:]].merge(remembered) { _, new in new }
    do {
      let encoder = JSONEncoder()
      encoder.outputFormatting = [.sortedKeys, .prettyPrinted]
      try FileManager.default.createDirectory(
        at: file.deletingLastPathComponent(), withIntermediateDirectories: true)
      try encoder.encode(memory).write(to: file, options: .atomic)
    } catch {
      logger.warning("the tuning of matmul cannot be remembered: \(error.localizedDescription)")
    }
  }
}
