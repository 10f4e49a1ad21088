import Compute
import OpenCLRuntime

extension OpenCLBackend {
  package func balanceLatents(
    counts: Indices, totals: Indices, frequency: Floats, bias: Floats, settings: LatentBalanceStep
  ) throws {
    let latents = counts.count
    precondition(
      totals.count == latents && frequency.count == latents && bias.count == latents,
      "one number for each latent")
    guard latents > 0 else { return }
    let kernel = try commonKernel("balanceLatents")
    var arguments = Arguments(kernel)
    try arguments.add(counts)
    try arguments.add(totals)
    try arguments.add(frequency)
    try arguments.add(bias)
    try arguments.add(latents)
    try arguments.add(settings.decay)
    try arguments.add(settings.gain)
    try arguments.add(settings.threshold)
    try arguments.add(settings.increment)
    try launch(kernel, as: kernel.name, global: (latents, 1), local: (localSize(kernel), 1))
  }
}
