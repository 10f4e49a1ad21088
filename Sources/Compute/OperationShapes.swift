/// The shapes of each operation, checked once for every backend.
package struct MatmulShape: Hashable, Sendable, CustomStringConvertible {
  package let m: Int
  package let n: Int
  package let k: Int
  package let transposeA: Bool
  package let transposeB: Bool

  package init(m: Int, n: Int, k: Int, transposeA: Bool = false, transposeB: Bool = false) {
    self.m = m
    self.n = n
    self.k = k
    self.transposeA = transposeA
    self.transposeB = transposeB
  }

  /// - Precondition: the operands, the result and the epilogue's tensors fit each other.
  package init<S>(
    _ a: MatrixOperand<S>, _ b: MatrixOperand<S>, into c: Tensor<S, Float>,
    epilogue: MatmulEpilogue<S>
  ) {
    self.init(
      m: a.rows, n: b.columns, k: a.columns, transposeA: a.isTransposed,
      transposeB: b.isTransposed)
    precondition(b.rows == k, "inner dimensions differ: \(a.tensor.shape), \(b.tensor.shape)")
    precondition(c.shape == [m, n], "the product is \(m)x\(n), the result \(c.shape)")
    switch epilogue {
    case .none: break
    case .bias(let bias, _): precondition(bias.count == n, "bias of \(bias.shape) for \(n) columns")
    case .derivative(_, let y): precondition(y.shape == c.shape, "derivative at \(y.shape)")
    case .columnSums(let s): precondition(s.count == n, "sums of \(n) columns into \(s.shape)")
    }
  }

  /// 2 M N K
  package var floatingPointOperations: Double { 2 * Double(m) * Double(n) * Double(k) }

  package var description: String {
    "\(m)x\(n)x\(k)" + (transposeA ? " A^T" : "") + (transposeB ? " B^T" : "")
  }
}

package struct LossShape {
  package let batch: Int
  package let width: Int
  package let latents: Int

  package init<S>(
    reconstruction y: Tensor<S, Float>, target x: Tensor<S, Float>, code z: Tensor<S, Float>,
    gradient: Tensor<S, Float>, rowError: Tensor<S, Float>, rowL0: Tensor<S, Float>
  ) {
    precondition(y.shape.rank == 2 && z.shape.rank == 2, "the loss takes matrices")
    (batch, width, latents) = (y.shape[0], y.shape[1], z.shape[1])
    precondition(x.shape == y.shape && gradient.shape == y.shape, "\(x.shape) against \(y.shape)")
    precondition(z.shape[0] == batch, "a code of \(z.shape) for \(batch) rows")
    precondition(rowError.count == batch && rowL0.count == batch, "one figure for each row")
  }
}

package struct GatherShape {
  package let batch: Int
  package let width: Int

  package init<S>(
    _ pixels: Tensor<S, UInt8>, order: Tensor<S, UInt32>, start: Int, mean: Tensor<S, Float>?,
    into x: Tensor<S, Float>
  ) {
    precondition(pixels.shape.rank == 2 && x.shape.rank == 2, "gather takes matrices")
    (batch, width) = (x.shape[0], x.shape[1])
    precondition(pixels.shape[1] == width, "rows of \(pixels.shape[1]) into rows of \(width)")
    precondition(start >= 0 && start + batch <= order.count, "the order ends before the batch")
    if let mean {
      precondition(mean.count == width, "a mean of \(mean.shape) for rows of \(width)")
    }
  }
}

/// Of the contractive gradient: how many units, and how many weights each has.
package struct ContractiveShape {
  package let batch: Int
  package let latents: Int
  package let width: Int

  package init<S>(
    code z: Tensor<S, Float>, weight w: Tensor<S, Float>, unitsAreRows: Bool,
    gradient g: Tensor<S, Float>, penalty: Tensor<S, Float>
  ) {
    precondition(z.shape.rank == 2 && w.shape.rank == 2, "the penalty takes matrices")
    (batch, latents) = (z.shape[0], z.shape[1])
    width = w.shape[unitsAreRows ? 1 : 0]
    precondition(
      w.shape[unitsAreRows ? 0 : 1] == latents, "weights of \(w.shape) for \(latents) units")
    precondition(g.shape == w.shape, "a gradient of \(g.shape) for weights of \(w.shape)")
    precondition(penalty.count == 1, "one penalty, not \(penalty.shape)")
  }
}
