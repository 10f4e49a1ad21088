import Compute

/// Where a named tensor lies in the arena.
package struct ParameterSlot: Hashable, Sendable {
  package let name: String
  package let shape: Shape
  /// In elements.
  package let offset: Int
}

/// The order of all parameters of a network in one flat array.
///
/// Every tensor starts at a multiple of 16 elements (64 bytes), for aligned vector access; the
/// elements between two tensors are zero and stay so, since their gradients are zero.
package struct ParameterLayout: Hashable, Sendable {
  package private(set) var slots: [ParameterSlot] = []
  /// Elements in all, padding included.
  package private(set) var count = 0

  package init() {}

  package mutating func append(_ name: String, _ shape: Shape) {
    slots.append(ParameterSlot(name: name, shape: shape, offset: count))
    count += (shape.count + 15) / 16 * 16
  }

  /// Parameters proper, padding not counted.
  package var parameterCount: Int { slots.reduce(0) { $0 + $1.shape.count } }
}

/// The parameters of a network and their gradients, each in one flat array of device memory, so
/// that the optimizer is one operation.
package final class ParameterArena<B: Backend> {
  package let layout: ParameterLayout
  package let values: B.Floats
  package let gradients: B.Floats

  /// All values and gradients zero.
  package init(_ layout: ParameterLayout, on backend: B) throws {
    self.layout = layout
    values = try backend.allocate([layout.count], of: Float.self)
    gradients = try backend.allocate([layout.count], of: Float.self)
    try backend.fill(values, with: 0)
    try backend.fill(gradients, with: 0)
  }

  package func value(_ slot: ParameterSlot) -> B.Floats {
    values.view(at: slot.offset, shape: slot.shape)
  }

  package func gradient(_ slot: ParameterSlot) -> B.Floats {
    gradients.view(at: slot.offset, shape: slot.shape)
  }
}
