import Compute

/// One operation at one shape with its inputs: what the tests of every backend, `sparrow check` and
/// the conformance run walk.
package protocol OperationCase: Sendable {
  /// The operation's name in `Backend`.
  var operation: String { get }
  /// Its shapes and options, for a person to read.
  var label: String { get }
  /// The exact tier has integer-valued inputs and demands equality; the bound tier has random ones.
  var tier: Tier { get }
  /// Whether every tensor starts at a multiple of four elements of its buffer, as most do in training,
  /// or at an odd one. Kernels that move four elements at once are other programs.
  var isAligned: Bool { get }
  /// The names of tensors that are not, all the same.
  var ragged: [String] { get }
  /// Runs the operation and states through `bench.expect` what its outputs must be.
  func run<B: Backend>(on bench: TestBench<B>) throws
}

package enum Tier: String, Sendable, Codable { case exact, bound }

/// How a case went on a backend.
package struct CaseReport: Sendable {
  package let operation: String
  package let label: String
  package let tier: Tier
  package let comparison: Comparison
}

/// A case whose tensors start at multiples of four elements, and its maps' channels within a pixel.
private struct AlignedCase: OperationCase {
  let base: any OperationCase
  let isAligned = true
  let ragged: [String]

  var operation: String { base.operation }
  var label: String {
    base.label + ", aligned" + ragged.map { ", but for \($0)" }.joined()
  }
  var tier: Tier { base.tier }
  func run<B: Backend>(on bench: TestBench<B>) throws { try base.run(on: bench) }
}

extension OperationCase {
  package var isAligned: Bool { false }
  package var ragged: [String] { [] }

  /// The same with aligned tensors.
  var aligned: any OperationCase { aligned(but: []) }

  /// The same with all tensors but some aligned.
  func aligned(but ragged: [String]) -> any OperationCase {
    AlignedCase(base: self, ragged: ragged)
  }

  /// Runs the case: outputs filled with NaN beforehand, every buffer between canaries.
  package func report<B: Backend>(on backend: B) throws -> CaseReport {
    let bench = TestBench(backend, isAligned: isAligned, ragged: ragged)
    try run(on: bench)
    return CaseReport(
      operation: operation, label: label, tier: tier, comparison: try bench.conclude())
  }
}

/// Gives a case its tensors, each within a larger buffer whose rest must not change.
package final class TestBench<B: Backend> {
  package let backend: B
  private var comparison = Comparison()
  private var guards: [() throws -> String?] = []

  /// `OperationCase.isAligned`.
  let isAligned: Bool
  private let ragged: [String]

  init(_ backend: B, isAligned: Bool, ragged: [String]) {
    self.backend = backend
    self.isAligned = isAligned
    self.ragged = ragged
  }

  /// A tensor that the operation must leave as it is.
  ///
  /// - Parameter comparing: false where the values hold NaN, which is unlike itself.
  package func input<Element: CanaryScalar>(
    _ values: [Element], _ shape: Shape, name: String, comparing: Bool = true
  ) throws -> Tensor<B.Storage, Element> {
    let tensor = try place(values, shape, name: name)
    guards.append { [backend] in
      try !comparing || backend.download(tensor) == values ? nil : "\(name) was written to"
    }
    return tensor
  }

  /// A tensor that the operation updates.
  package func updated<Element: CanaryScalar>(
    _ values: [Element], _ shape: Shape, name: String
  ) throws -> Tensor<B.Storage, Element> {
    try place(values, shape, name: name)
  }

  /// A tensor that the operation overwrites: NaN before.
  package func output(_ shape: Shape, name: String) throws -> B.Floats {
    try place([Float](repeating: .nan, count: shape.count), shape, name: name)
  }

  private func place<Element: CanaryScalar>(
    _ values: [Element], _ shape: Shape, name: String
  ) throws -> Tensor<B.Storage, Element> {
    precondition(values.count == shape.count, "\(name): \(values.count) values for \(shape)")
    // What lies before a tensor and behind it.
    let margin = isAligned && !ragged.contains(name) ? 20 : 19
    let canaries = [Element](repeating: Element.canary, count: margin)
    let whole = try backend.allocate([values.count + 2 * margin], of: Element.self)
    try backend.upload(canaries + values + canaries, into: whole)
    guards.append { [backend] in
      let after = try backend.download(whole)
      let intact =
        after.prefix(margin).elementsEqual(canaries)
        && after.suffix(margin).elementsEqual(canaries)
      return intact ? nil : "memory beside \(name) was written to"
    }
    return whole.view(at: margin, shape: shape)
  }

  package func expect<Element: CanaryScalar>(
    _ name: String, _ tensor: Tensor<B.Storage, Element>, _ expectation: Expectation
  ) throws {
    let values = try backend.download(tensor).map(\.asDouble)
    comparison.merge(Comparison(name, got: values, expectation: expectation))
  }

  fileprivate func conclude() throws -> Comparison {
    for check in guards {
      if let damage = try check() {
        comparison.failure = comparison.failure ?? damage
        comparison.worstRatio = .infinity
      }
    }
    return comparison
  }
}

/// A scalar with a value that no operation computes.
package protocol CanaryScalar: Scalar {
  static var canary: Self { get }
  var asDouble: Double { get }
}

extension Float: CanaryScalar {
  package static var canary: Float { -1.2345678e33 }
  package var asDouble: Double { Double(self) }
}
extension UInt8: CanaryScalar {
  package static var canary: UInt8 { 0xA5 }
  package var asDouble: Double { Double(self) }
}
extension UInt32: CanaryScalar {
  package static var canary: UInt32 { 0xDEAD_BEEF }
  package var asDouble: Double { Double(self) }
}
