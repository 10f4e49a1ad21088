import Compute
import OpenCLRuntime

extension OpenCLBackend {
  package func matmul(
    _ a: MatrixOperand<Storage>, _ b: MatrixOperand<Storage>, into c: Floats,
    epilogue: MatmulEpilogue<Storage>
  ) throws {
    let shape = MatmulShape(a, b, into: c, epilogue: epilogue)
    guard c.count > 0 else { return }
    let variant = try matmulVariant ?? matmulPlanner.variant(for: shape, on: self)
    try launchMatmul(variant, shape, a.tensor, b.tensor, into: c, epilogue: epilogue)
  }

  /// Enqueues the product with a variant of the caller's choice.
  package func launchMatmul(
    _ variant: MatmulVariant, _ shape: MatmulShape, _ a: Floats, _ b: Floats, into c: Floats,
    epilogue: MatmulEpilogue<Storage>
  ) throws {
    precondition(shape.k > 0, "a product over no terms")
    let kernel = try matmulKernel(variant, shape, a, b)

    // Arguments that an epilogue does not use still need a buffer: C serves.
    var (code, extra, sums): (Int32, Floats, Floats) = (0, c, c)
    var activation = Activation.identity
    switch epilogue {
    case .none: break
    case .bias(let bias, let function): (code, extra, activation) = (1, bias, function)
    case .derivative(let function, let y): (code, extra, activation) = (2, y, function)
    case .columnSums(let tensor): (code, sums) = (3, tensor)
    }
    var arguments = Arguments(kernel)
    try arguments.add(a)
    try arguments.add(b)
    try arguments.add(c)
    try arguments.add(extra)
    try arguments.add(sums)
    try arguments.add(shape.m)
    try arguments.add(shape.n)
    try arguments.add(shape.k)
    try arguments.add(code)
    try arguments.add(activation.code)
    if variant.source == .matmulCPU {
      try launchByTicket(
        kernel, &arguments, as: "matmul \(shape)", blocks: variant.groups(for: shape))
      return
    }
    let columns = (shape.n + variant.blockColumns - 1) / variant.blockColumns
    let rows = (shape.m + variant.blockRows - 1) / variant.blockRows
    try launch(
      kernel, as: "matmul \(shape)",
      global: (columns * variant.local.columns, rows * variant.local.rows), local: variant.local)
  }

  private func matmulKernel(
    _ variant: MatmulVariant, _ shape: MatmulShape, _ a: Floats, _ b: Floats
  ) throws -> Kernel {
    // On GPUs four elements at once where a row as stored, and so every row, starts at a multiple of
    // four.
    func width(_ row: Int, _ operand: Floats) -> Int {
      variant.source == .matmulGPU && row % 4 == 0 && operand.offset % 4 == 0 ? 4 : 1
    }
    let widthA = width(shape.transposeA ? shape.m : shape.k, a)
    let widthB = width(shape.transposeB ? shape.k : shape.n, b)
    let (turnsA, turnsB) = (shape.transposeA ? 1 : 0, shape.transposeB ? 1 : 0)
    func definitions() -> [String: Int] {
      var definitions = variant.definitions
      definitions["TRANSPOSE_A"] = turnsA
      definitions["TRANSPOSE_B"] = turnsB
      if variant.source == .matmulGPU {
        definitions["VECTOR_A"] = widthA
        definitions["VECTOR_B"] = widthB
      }
      return definitions
    }
    let operands = turnsA | turnsB << 1 | widthA << 2 | widthB << 5
    let form = variant.form | UInt64(operands) << 40
    try tryMatmul(
      variant, form: form, transposeA: shape.transposeA, transposeB: shape.transposeB,
      widthA: widthA, widthB: widthB)
    return try library.kernel("matmul", from: variant.source, form: form, definitions())
  }

  /// The name of the variant that products of this shape use.
  package func matmulVariantName(for shape: MatmulShape) throws -> String {
    try matmulPlanner.variant(for: shape, on: self).name
  }
}
