import Compute
import Networks

/// What each latent adds to a reconstruction: the atoms of the dictionary that was learned.
package struct LearnedDictionary: Sendable {
  package enum Kind: String, Sendable {
    /// The decoder is one layer: an atom is the latent's row of its weight.
    case weights
    /// The decoder is deeper: an atom is decode(a e_j) - decode(0), a the latent's amplitude and
    /// e_j the code that is 1 there and 0 elsewhere.
    case responses
  }

  package let kind: Kind
  /// One for each latent asked for, each of `inputs` values.
  package let atoms: [[Float]]

  /// - Parameters:
  ///   - latents: which, in the order of the result.
  ///   - amplitudes: a of each of `latents`, such as its mean active value.
  package init<B: Backend>(
    of network: Autoencoder<B>, latents: [Int], amplitudes: [Float],
    progress: (_ done: Int, _ total: Int) -> Void = { _, _ in }
  ) throws {
    precondition(latents.count == amplitudes.count, "one amplitude for each latent")
    let configuration = network.configuration
    let (width, size) = (configuration.latents, configuration.inputs)
    precondition(latents.allSatisfy { (0..<width).contains($0) }, "latents below \(width)")
    if configuration.layerCount - configuration.encoderLayers == 1,
      let slot = network.arena.layout.slots.first(where: { $0.name == "decoder.0.weight" }),
      slot.shape == [width, size]
    {
      let weight = try network.backend.download(network.arena.value(slot))
      kind = .weights
      atoms = latents.map { Array(weight[$0 * size..<($0 + 1) * size]) }
      return
    }
    kind = .responses
    let batch = min(256, latents.count + 1)
    let workspace = try Workspace(configuration, batch: batch, on: network.backend)
    var silence: [Float] = []
    var atoms: [[Float]] = []
    // Row 0 of every batch is the zero code.
    for start in stride(from: 0, to: latents.count, by: max(1, batch - 1)) {
      let range = start..<min(start + batch - 1, latents.count)
      let rows = workspace.prefix(range.count + 1)
      var codes = [Float](repeating: 0, count: (range.count + 1) * width)
      for (row, index) in range.enumerated() {
        codes[(row + 1) * width + latents[index]] = amplitudes[index]
      }
      try network.backend.upload(codes, into: rows.code)
      try network.decode(rows)
      let outputs = try network.backend.download(rows.reconstruction)
      silence = Array(outputs[..<size])
      for row in 1...range.count {
        atoms.append(zip(outputs[row * size..<(row + 1) * size], silence).map { $0 - $1 })
      }
      progress(range.upperBound, latents.count)
    }
    self.atoms = atoms
  }
}
