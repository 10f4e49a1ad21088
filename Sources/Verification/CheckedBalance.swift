import Compute

extension CheckedBackend {
  package func balanceLatents(
    counts: Indices, totals: Indices, frequency: Floats, bias: Floats, settings: LatentBalanceStep
  ) throws {
    let expected = Oracle.balance(
      counts: try oracle.download(counts.onOracle()),
      totals: try oracle.download(totals.onOracle()), frequency: try host(frequency),
      bias: try host(bias), settings)
    try device.balanceLatents(
      counts: counts.onDevice(), totals: totals.onDevice(), frequency: frequency.onDevice(),
      bias: bias.onDevice(), settings: settings)
    try oracle.balanceLatents(
      counts: counts.onOracle(), totals: totals.onOracle(), frequency: frequency.onOracle(),
      bias: bias.onOracle(), settings: settings)
    try settle(
      "balanceLatents",
      [("frequency", frequency, expected.frequency), ("bias", bias, expected.bias)])
  }
}
