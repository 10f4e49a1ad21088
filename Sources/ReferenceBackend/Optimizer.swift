import Compute

extension ReferenceBackend {
  package func adam(
    parameters p: Floats, gradients g: Floats, firstMoment m: Floats, secondMoment v: Floats,
    step: AdamStep
  ) throws {
    precondition(g.count == p.count && m.count == p.count && v.count == p.count, "one arena shape")
    let (parameter, gradient, first, second) = (p.shared, g.shared, m.shared, v.shared)
    parallel(p.count, grain: 4096) { elements in
      for i in elements {
        let slope = gradient[i]
        let mean = step.beta1 * first[i] + (1 - step.beta1) * slope
        let square = step.beta2 * second[i] + (1 - step.beta2) * slope * slope
        first[i] = mean
        second[i] = square
        parameter[i] -=
          step.stepSize * mean / (square.squareRoot() * step.secondMomentScale + step.epsilon)
      }
    }
  }

  package func fill(_ y: Floats, with value: Float) throws {
    y.pointer.update(repeating: value, count: y.count)
  }
}
