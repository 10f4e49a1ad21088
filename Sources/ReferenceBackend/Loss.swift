import Compute

extension ReferenceBackend {
  package func reconstructionLoss(
    reconstruction y: Floats, target x: Floats, activation: Activation, code z: Floats,
    scale: Float, gradient: Floats, rowError: Floats, rowL0: Floats
  ) throws {
    let shape = LossShape(
      reconstruction: y, target: x, code: z, gradient: gradient, rowError: rowError, rowL0: rowL0)
    let (width, latents) = (shape.width, shape.latents)
    let (output, input, code) = (y.shared, x.shared, z.shared)
    let (slope, errors, counts) = (gradient.shared, rowError.shared, rowL0.shared)
    parallel(shape.batch) { rows in
      for i in rows {
        var error: Float = 0
        for j in i * width..<(i + 1) * width {
          let value = output[j]
          let difference = value - input[j]
          error += difference * difference
          slope[j] = scale * difference * activation.derivative(at: value)
        }
        errors[i] = error

        var active: Float = 0
        for j in i * latents..<(i + 1) * latents where code[j] != 0 { active += 1 }
        counts[i] = active
      }
    }
  }

  package func countNonzero(_ z: Floats, accumulatingInto counts: Indices) throws {
    precondition(z.shape.rank == 2 && counts.count == z.shape[1], "\(z.shape) into \(counts.shape)")
    let (rows, width) = (z.shape[0], z.shape[1])
    let (code, total) = (z.pointer, counts.pointer)
    for i in 0..<rows {
      for j in 0..<width where code[i * width + j] != 0 { total[j] &+= 1 }
    }
  }
}
