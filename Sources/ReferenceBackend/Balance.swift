import Compute

extension ReferenceBackend {
  package func balanceLatents(
    counts: Indices, totals: Indices, frequency: Floats, bias: Floats, settings: LatentBalanceStep
  ) throws {
    let latents = counts.count
    precondition(
      totals.count == latents && frequency.count == latents && bias.count == latents,
      "one number for each latent")
    let gain = settings.gain
    for j in 0..<latents {
      let count = counts.pointer[j]
      let share = (gain * Float(count)).addingProduct(settings.decay, frequency.pointer[j])
      totals.pointer[j] &+= count
      counts.pointer[j] = 0
      frequency.pointer[j] = share
      if share < settings.threshold { bias.pointer[j] += settings.increment }
    }
  }
}
