/// The shapes of the code layers' operations, checked once for every backend.
package struct CodeShape {
  package let batch: Int
  package let latents: Int

  /// Matrices of one shape, and what has an entry for each latent.
  package init<S>(_ matrices: Tensor<S, Float>..., latents vectors: [Tensor<S, Float>] = []) {
    precondition(!matrices.isEmpty && matrices[0].shape.rank == 2, "a code is a matrix")
    let shape = matrices[0].shape
    precondition(matrices.allSatisfy { $0.shape == shape }, "\(matrices.map(\.shape)) differ")
    (batch, latents) = (shape[0], shape[1])
    let width = shape[1]
    precondition(
      vectors.allSatisfy { $0.count == width }, "\(vectors.map(\.shape)) for \(width) latents")
  }

  /// - Precondition: 1 <= k <= latents.
  package func requireKept(_ k: Int) {
    precondition(k >= 1 && k <= latents, "\(k) of \(latents) latents cannot be kept")
  }
}
