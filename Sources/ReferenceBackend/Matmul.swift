import Compute
import Foundation

extension Activation {
  /// f(x)
  func value(_ x: Float) -> Float {
    switch self {
    case .identity: x
    case .relu: x < 0 ? 0 : x
    case .sigmoid: 1 / (1 + exp(-x))
    case .tanh: Foundation.tanh(x)
    }
  }

  /// f'(x), from y = f(x)
  func derivative(at y: Float) -> Float {
    switch self {
    case .identity: 1
    case .relu: y > 0 ? 1 : 0
    case .sigmoid: y * (1 - y)
    case .tanh: 1 - y * y
    }
  }
}

extension ReferenceBackend {
  package func matmul(
    _ a: MatrixOperand<Storage>, _ b: MatrixOperand<Storage>, into c: Floats,
    epilogue: MatmulEpilogue<Storage>
  ) throws {
    let shape = MatmulShape(a, b, into: c, epilogue: epilogue)
    let (n, k) = (shape.n, shape.k)
    // The inner loop below runs along the rows of B and C, so that it needs B as it is multiplied.
    let transposed = shape.transposeB ? try transpose(b.tensor) : b.tensor
    let (left, right, product) = (a.tensor.shared, transposed.shared, c.shared)
    let (rowStride, depthStride) = shape.transposeA ? (1, shape.m) : (k, 1)

    parallel(shape.m) { rows in
      for i in rows {
        let row = product + i * n
        row.update(repeating: 0, count: n)
        for depth in 0..<k {
          let factor = left[i * rowStride + depth * depthStride]
          let addend = right + depth * n
          for j in 0..<n { row[j] += factor * addend[j] }
        }
      }
    }
    try apply(epilogue, to: product, shape: shape, right: transposed)
  }

  private func apply(
    _ epilogue: MatmulEpilogue<Storage>, to product: SharedPointer<Float>, shape: MatmulShape,
    right: Floats
  ) throws {
    let n = shape.n
    switch epilogue {
    case .none: break
    case .bias(let bias, let activation):
      let bias = bias.shared
      parallel(shape.m) { rows in
        for i in rows {
          let row = product + i * n
          for j in 0..<n { row[j] = activation.value(row[j] + bias[j]) }
        }
      }
    case .derivative(let activation, let y):
      let y = y.shared
      parallel(shape.m * n, grain: 4096) { elements in
        for i in elements { product[i] *= activation.derivative(at: y[i]) }
      }
    case .columnSums(let sums):
      try columnSums(of: right, into: sums)
    }
  }

  package func columnSums(of x: Floats, into s: Floats) throws {
    precondition(x.shape.rank == 2 && s.count == x.shape[1], "sums of \(x.shape) into \(s.shape)")
    let (rows, width) = (x.shape[0], x.shape[1])
    let (values, sums) = (x.pointer, s.pointer)
    sums.update(repeating: 0, count: width)
    for i in 0..<rows {
      for j in 0..<width { sums[j] += values[i * width + j] }
    }
  }

  private func transpose(_ x: Floats) throws -> Floats {
    let (rows, columns) = (x.shape[0], x.shape[1])
    let result = try allocate([columns, rows], of: Float.self)
    let (source, target) = (x.shared, result.shared)
    parallel(columns, grain: 64) { range in
      for j in range {
        for i in 0..<rows { target[j * rows + i] = source[i * columns + j] }
      }
    }
    return result
  }
}
