/// The shapes of a sparse code and of what is computed from it, checked once for every backend.
package struct SparseCodeShape {
  package let batch: Int
  /// How many latents each row keeps.
  package let kept: Int

  package init<S>(indices: Tensor<S, UInt32>, values: Tensor<S, Float>) {
    precondition(indices.shape.rank == 2 && indices.shape == values.shape, "\(indices.shape) kept")
    (batch, kept) = (indices.shape[0], indices.shape[1])
    precondition(kept >= 1, "a sparse code keeps a latent or more")
  }

  /// How many latents a dense code of `shape` has.
  package func latents(ofDense shape: Shape) -> Int {
    precondition(shape.rank == 2 && shape[0] == batch, "\(shape) for \(batch) rows")
    precondition(shape[1] >= kept, "\(kept) of \(shape[1]) latents")
    return shape[1]
  }

  /// The width of the rows of weights.
  package func width<S>(
    weight w: Tensor<S, Float>, bias: Tensor<S, Float>, rows: [Tensor<S, Float>]
  ) -> Int {
    precondition(w.shape.rank == 2 && w.shape[0] >= kept, "weights of \(w.shape)")
    let width = w.shape[1]
    precondition(bias.count == width, "bias of \(bias.shape) for \(width) columns")
    for tensor in rows {
      precondition(tensor.shape == [batch, width], "\(tensor.shape) for \(batch) rows of \(width)")
    }
    return width
  }

  package func check<S>(
    codeGradient: Tensor<S, Float>, rowError: Tensor<S, Float>, rowL0: Tensor<S, Float>
  ) {
    precondition(codeGradient.shape == [batch, kept], "\(codeGradient.shape) for the code")
    precondition(rowError.count == batch && rowL0.count == batch, "one figure for each row")
  }

  /// How many latents `sparseGroup` sorts by.
  package func latents<S>(
    offsets: Tensor<S, UInt32>, entries: Tensor<S, UInt32>, firings: Tensor<S, UInt32>
  ) -> Int {
    precondition(offsets.count == firings.count + 1, "\(offsets.shape) for \(firings.shape)")
    precondition(entries.count == batch * kept, "\(entries.shape) for \(batch) x \(kept) entries")
    return firings.count
  }
}

/// The shape of a batch whose entries are sorted by latent.
package struct SparseBatchShape {
  package let kept: Int
  package let width: Int
  package let latents: Int

  package init<S>(_ batch: SparseBatch<S>) {
    precondition(batch.values.shape.rank == 2 && batch.input.shape.rank == 2, "matrices")
    let rows = batch.values.shape[0]
    (kept, width) = (batch.values.shape[1], batch.input.shape[1])
    latents = batch.offsets.count - 1
    precondition(latents >= 1 && kept >= 1, "\(kept) of \(latents) latents")
    precondition(batch.codeGradient.shape == batch.values.shape, "\(batch.codeGradient.shape)")
    precondition(batch.entries.count == rows * kept, "\(batch.entries.shape) entries")
    precondition(batch.input.shape[0] == rows, "\(batch.input.shape) for \(rows) rows")
    precondition(batch.gradient.shape == batch.input.shape, "\(batch.gradient.shape)")
  }

  package func check<S>(
    decoder: Tensor<S, Float>, encoder: Tensor<S, Float>, bias: Tensor<S, Float>
  ) {
    precondition(decoder.shape == [latents, width], "\(decoder.shape) for the decoder")
    precondition(encoder.shape == [latents, width], "\(encoder.shape) for the encoder")
    precondition(bias.count == latents, "\(bias.shape) for \(latents) latents")
  }
}
