import Compute
import Verification

/// Products and convolutions are compiled for each tile and each width of what is moved at once, more
/// programs than a self-test of a few seconds can compile. So each has a trial before its first use
/// in a process: `TileCases`.
extension OpenCLBackend {
  /// What a program of a tile is known by, among those of its kind.
  struct TrialKey: Hashable {
    let kind: TileKind
    let form: UInt64
  }

  enum TileKind { case matmul, convolution, convolutionGradient }

  /// Runs cases with a tile unless its program has had its trial.
  ///
  /// - Throws: `BackendError.mismatch` where one fails.
  private func once<Tile>(
    _ kind: TileKind, _ form: UInt64, _ choice: ReferenceWritableKeyPath<OpenCLBackend, Tile?>,
    _ tile: Tile, _ name: @autoclosure () -> String, _ cases: @autoclosure () -> [any OperationCase]
  ) throws {
    let key = TrialKey(kind: kind, form: form)
    guard triesTiles, tried.insert(key).inserted else { return }
    let before = self[keyPath: choice]
    defer { self[keyPath: choice] = before }
    self[keyPath: choice] = tile
    do {
      for operation in cases() {
        let report = try operation.report(on: self)
        guard let failure = report.comparison.failure else { continue }
        // A device that fails is told from one that miscomputes.
        try finish()
        throw BackendError.mismatch(
          operation: report.operation, detail: "\(report.label) by \(name()): \(failure)")
      }
    } catch {
      tried.remove(key)
      throw error
    }
  }

  func tryMatmul(
    _ variant: MatmulVariant, form: UInt64, transposeA: Bool, transposeB: Bool, widthA: Int,
    widthB: Int
  ) throws {
    try once(
      .matmul, form, \.matmulVariant, variant, variant.name,
      TileCases.matmul(
        rows: variant.blockRows, columns: variant.blockColumns,
        depth: variant.definitions["KC"] ?? 2 * (variant.definitions["TILE_K"] ?? 0),
        transposeA: transposeA, transposeB: transposeB, widthA: widthA, widthB: widthB))
  }

  func tryConvolution(_ tile: ConvolutionTile, form: UInt64, source: Int, target: Int) throws {
    try once(
      .convolution, form, \.convolutionTile, tile, "\(tile.definitions)",
      TileCases.convolution(
        pixels: tile.rows, channels: tile.columns, sourceWidth: source, targetWidth: target))
  }

  /// - Parameter tile: that of the gradients to as many channels.
  func tryConvolutionGradient(
    _ tile: ConvolutionTile, form: UInt64, source: Int, gradient: Int
  ) throws {
    try once(
      .convolutionGradient, form, \.convolutionTile, tile, "\(tile.definitions)",
      TileCases.convolutionGradient(
        outputs: tile.columns <= 32 ? tile.columns : tile.columns + 4, sourceWidth: source,
        gradientWidth: gradient))
  }
}
