import Imaging
import Networks

/// What an optimizer, or all of training, carries from step to step, by name.
package struct TrainingState: Sendable {
  package var stepCount: Int
  /// The arrays named in `arenaTensors` are laid out as the arena, padding included.
  package var tensors: [(name: String, values: [Float])]
  /// Counts, such as how often each latent fired.
  package var counts: [(name: String, values: [UInt32])]

  package init(
    stepCount: Int, tensors: [(name: String, values: [Float])],
    counts: [(name: String, values: [UInt32])] = []
  ) {
    self.stepCount = stepCount
    self.tensors = tensors
    self.counts = counts
  }

  /// The tensor of a name, if it is there.
  package subscript(_ name: String) -> [Float]? { tensors.first { $0.name == name }?.values }

  /// The tensors of these names alone.
  package func part(_ names: [String]) -> TrainingState {
    TrainingState(stepCount: stepCount, tensors: tensors.filter { names.contains($0.name) })
  }

  package var isFinite: Bool { tensors.allSatisfy { $0.values.allSatisfy(\.isFinite) } }

  /// What has an element for each of the network's parameters.
  private static let arenaTensors: Set = [
    "parameters", "first_moment", "second_moment", "velocity", "average", "kept",
  ]

  /// The first element in which two states differ, by bits, in words; nil where they are the same.
  package func difference(from other: TrainingState, layout: ParameterLayout) -> String? {
    for (name, values) in tensors {
      guard let others = other[name], others.count == values.count else { return "no \(name)" }
      guard
        let index = values.indices.first(where: {
          values[$0].bitPattern != others[$0].bitPattern
        })
      else { continue }
      var place = "\(name)[\(index)]"
      if Self.arenaTensors.contains(name),
        let slot = layout.slots.last(where: { $0.offset <= index })
      {
        place = "\(name) of \(slot.name)[\(index - slot.offset)]"
      }
      return "\(place) is \(values[index]) and \(others[index])"
    }
    for (name, values) in counts {
      guard let others = other.counts.first(where: { $0.name == name })?.values,
        others.count == values.count
      else { return "no \(name)" }
      if let index = values.indices.first(where: { values[$0] != others[$0] }) {
        return "\(name)[\(index)] is \(values[index]) and \(others[index])"
      }
    }
    return nil
  }
}

/// A state of training in a file: `parameters/encoder.0.weight`, `first_moment/encoder.0.weight` and
/// so on, each of its shape, and the rest of one dimension.
extension TrainingState {
  package func entries(_ layout: ParameterLayout) -> [Safetensors.Entry] {
    tensors.flatMap { name, values -> [Safetensors.Entry] in
      guard Self.arenaTensors.contains(name) else {
        return [Safetensors.Entry(name: name, shape: [values.count], values: values)]
      }
      return layout.slots.map { slot in
        Safetensors.Entry(
          name: "\(name)/\(slot.name)", shape: slot.shape.dimensions,
          values: Array(values[slot.offset..<slot.offset + slot.shape.count]))
      }
    }
      + counts.map {
        Safetensors.Entry(name: $0.name, shape: [$0.values.count], elements: .u32($0.values))
      }
  }

  /// - Throws: `FileError` where an array that is laid out as the arena lacks a part.
  package init(
    stepCount: Int, _ entries: [Safetensors.Entry], layout: ParameterLayout, path: String
  ) throws {
    self.init(stepCount: stepCount, tensors: [])
    let places = Dictionary(entries.map { ($0.name, $0) }) { first, _ in first }
    for entry in entries {
      let parts = entry.name.split(separator: "/", maxSplits: 1)
      guard parts.count == 2 else {
        guard !Self.arenaTensors.contains(entry.name) else {
          throw FileError(path: path, reason: "tensor \"\(entry.name)\" is not in parts")
        }
        switch entry.elements {
        case .f32(let values): tensors.append((entry.name, values))
        case .u32(let values): counts.append((entry.name, values))
        case .f64: throw FileError(path: path, reason: "tensor \"\(entry.name)\" is of type F64")
        }
        continue
      }
      let name = String(parts[0])
      guard Self.arenaTensors.contains(name), !tensors.contains(where: { $0.name == name }) else {
        continue
      }
      // All of them before anything is allocated: a description may promise any size.
      let found = try layout.slots.map { slot in
        guard let part = places["\(name)/\(slot.name)"], part.shape == slot.shape.dimensions,
          let elements = part.floats
        else {
          throw FileError(
            path: path, reason: "no tensor \"\(name)/\(slot.name)\" of shape \(slot.shape)")
        }
        return elements
      }
      var values = [Float](repeating: 0, count: layout.count)
      for (slot, elements) in zip(layout.slots, found) {
        values.replaceSubrange(slot.offset..<slot.offset + slot.shape.count, with: elements)
      }
      tensors.append((name, values))
    }
  }
}
