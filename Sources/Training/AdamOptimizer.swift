import Compute
import Networks

/// Adam (Kingma & Ba 2014) over a parameter arena, with its two moments in device memory.
package final class AdamOptimizer<B: Backend> {
  package let firstMoment: B.Floats
  package let secondMoment: B.Floats
  /// Steps taken.
  package private(set) var stepCount = 0

  package init(_ arena: ParameterArena<B>, on backend: B) throws {
    firstMoment = try backend.allocate(arena.values.shape, of: Float.self)
    secondMoment = try backend.allocate(arena.values.shape, of: Float.self)
    try backend.fill(firstMoment, with: 0)
    try backend.fill(secondMoment, with: 0)
  }

  package func step(_ arena: ParameterArena<B>, learningRate: Double, on backend: B) throws {
    stepCount += 1
    try backend.adam(
      parameters: arena.values, gradients: arena.gradients, firstMoment: firstMoment,
      secondMoment: secondMoment, step: AdamStep(step: stepCount, learningRate: learningRate))
  }
}
