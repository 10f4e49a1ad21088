import Compute

/// Products and convolutions are compiled for each tile and each width of what is moved at once, more
/// programs than a self-test of a few seconds can compile. So each makes one product of whole numbers
/// before its first use in a process, at sizes that leave a rest of every tile, and is held to equality.
extension OpenCLBackend {
  /// What a program of a tile is known by, among those of its kind.
  struct TrialKey: Hashable {
    let kind: TileKind
    let form: UInt64
  }

  enum TileKind { case matmul, convolution, convolutionGradient }

  /// Runs `trial` unless the program has had its trial.
  private func once(_ kind: TileKind, _ form: UInt64, _ trial: () throws -> Void) throws {
    let key = TrialKey(kind: kind, form: form)
    guard triesTiles, tried.insert(key).inserted else { return }
    do {
      try trial()
    } catch {
      tried.remove(key)
      throw error
    }
  }

  // MARK: Products

  /// - Throws: `BackendError.mismatch` where a product of whole numbers is not exact.
  func tryMatmul(
    _ variant: MatmulVariant, form: UInt64, transposeA: Bool, transposeB: Bool, widthA: Int,
    widthB: Int
  ) throws {
    try once(.matmul, form) {
      let extra = widthA == 4 || widthB == 4 ? 4 : 5
      let depth = variant.definitions["KC"] ?? 2 * (variant.definitions["TILE_K"] ?? 0)
      let shape = MatmulShape(
        m: variant.blockRows + extra, n: variant.blockColumns + extra, k: depth + extra,
        transposeA: transposeA, transposeB: transposeB)
      let (m, n, k) = (shape.m, shape.n, shape.k)
      let a = WholeNumbers(count: m * k, salt: 1)
      let b = WholeNumbers(count: k * n, salt: 2)
      // At an odd offset for a width of 1.
      let deviceA = try place(a, transposeA ? [k, m] : [m, k], offset: widthA == 4 ? 4 : 3)
      let deviceB = try place(b, transposeB ? [n, k] : [k, n], offset: widthB == 4 ? 4 : 3)
      let c = try allocate([m, n], of: Float.self)
      func product(_ epilogue: MatmulEpilogue<Storage>) throws -> [Float] {
        try fill(c, with: .nan)
        try launchMatmul(variant, shape, deviceA, deviceB, into: c, epilogue: epilogue)
        // A device that fails is told from one that miscomputes.
        try finish()
        return try download(c)
      }
      func fail(_ detail: String) -> BackendError {
        .mismatch(
          operation: "matmul", detail: "\(shape) of whole numbers by \(variant.name): \(detail)")
      }

      let sums = try allocate([n], of: Float.self)
      let plain = try product(.columnSums(into: sums))
      // Freivalds: C r = A (B r) for a random r, which a wrong row meets once in a million times.
      let r = WholeNumbers.large(count: n)
      var br = [Int](repeating: 0, count: k)
      for l in 0..<k {
        for j in 0..<n { br[l] += b.values[transposeB ? j * k + l : l * n + j] * r[j] }
      }
      for i in 0..<m {
        var (wanted, got) = (0, 0)
        for l in 0..<k { wanted += a.values[transposeA ? l * m + i : i * k + l] * br[l] }
        for j in 0..<n {
          guard let value = Int(exactly: plain[i * n + j]) else {
            throw fail("\(plain[i * n + j]) in row \(i), column \(j)")
          }
          got += value * r[j]
        }
        guard got == wanted else { throw fail("row \(i) is wrong") }
      }
      let columnSums = try download(sums)
      for j in 0..<n {
        let sum = (0..<k).reduce(0) { $0 + b.values[transposeB ? j * k + $1 : $1 * n + j] }
        guard columnSums[j] == Float(sum) else {
          throw fail("the sum of B's column \(j) is \(columnSums[j])")
        }
      }
      // What is left is element by element of a product that is right.
      let bias = WholeNumbers(count: n, salt: 3)
      let biased = try product(.bias(place(bias, [n], offset: 3), .relu))
      let y = WholeNumbers(count: m * n, salt: 4)
      let slopes = try product(.derivative(of: .relu, at: place(y, [m, n], offset: 3)))
      for i in 0..<m * n {
        let value = plain[i] + Float(bias.values[i % n])
        guard biased[i] == max(value, 0), slopes[i] == (y.values[i] > 0 ? plain[i] : 0) else {
          throw fail("\(biased[i]) with a bias, \(slopes[i]) with a derivative, from \(plain[i])")
        }
      }
    }
  }

  // MARK: Convolutions on GPUs

  /// - Throws: `BackendError.mismatch` where a convolution of whole numbers, or its adjoint, is not
  ///   exact.
  func tryConvolution(_ tile: ConvolutionTile, form: UInt64, source: Int, target: Int) throws {
    try once(.convolution, form) {
      let positions = (height: 9, width: tile.rows / 8 + 1)
      let (few, many) = (source == 4 ? 20 : 5, tile.columns + (target == 4 ? 4 : 5))
      let before = convolutionTile
      convolutionTile = tile
      defer { convolutionTile = before }
      for isAdjoint in [false, true] {
        // The channels that are read are few either way, and those written more than a tile has.
        let trial = ConvolutionTrial(
          height: positions.height, width: positions.width,
          inputs: isAdjoint ? many : few, outputs: isAdjoint ? few : many,
          geometry: isAdjoint ? ConvolutionGeometry(kernel: 3, stride: 2, padding: 1) : .same(3))
        let (from, into) = isAdjoint ? (trial.small, trial.large) : (trial.large, trial.small)
        let x = WholeNumbers(count: from.count, salt: 5)
        let w = WholeNumbers(count: trial.weights.count, salt: 6)
        let bias = WholeNumbers(count: into.dimensions[3], salt: 7)
        let y = FeatureMap(try place(nil, into, offset: target == 4 ? 4 : 3))
        let deviceX = FeatureMap(try place(x, from, offset: source == 4 ? 4 : 3))
        let deviceW = try place(w, trial.weights, offset: 4)
        let deviceBias = try place(bias, [bias.values.count], offset: 3)
        let convolve = isAdjoint ? transposedConvolution : convolution
        try convolve(deviceX, deviceW, deviceBias, .relu, trial.geometry, y)
        try finish()
        let got = try download(y.tensor)
        let wanted =
          isAdjoint ? trial.adjoint(x.values, w.values) : trial.forward(x.values, w.values)
        for i in got.indices {
          let value = max(wanted[i] + bias.values[i % bias.values.count], 0)
          guard got[i] == Float(value) else {
            throw BackendError.mismatch(
              operation: isAdjoint ? "transposedConvolution" : "convolution",
              detail: "element \(i) of one of whole numbers by \(tile.definitions) is \(got[i]), "
                + "not \(value)")
          }
        }
      }
    }
  }

  /// - Throws: `BackendError.mismatch` where a gradient of whole numbers is not exact.
  func tryConvolutionGradient(
    _ tile: ConvolutionTile, form: UInt64, source: Int, gradient: Int
  ) throws {
    try once(.convolutionGradient, form) {
      // So many that the gradient is by this tile.
      let most = tile.columns <= 32 ? tile.columns : tile.columns + 4
      let trial = ConvolutionTrial(
        height: 9, width: 17, inputs: source == 4 ? 20 : 19,
        outputs: gradient == 4 ? most : most - 3, geometry: .same(3))
      let x = WholeNumbers(count: trial.large.count, salt: 8)
      let g = WholeNumbers(count: trial.small.count, salt: 9)
      let dw = try allocate(trial.weights, of: Float.self)
      try convolutionGradient(
        FeatureMap(place(x, trial.large, offset: source == 4 ? 4 : 3)),
        FeatureMap(place(g, trial.small, offset: gradient == 4 ? 4 : 3)),
        geometry: trial.geometry, into: dw)
      try finish()
      let got = try download(dw)
      let wanted = trial.gradient(x.values, g.values)
      for i in got.indices where got[i] != Float(wanted[i]) {
        throw BackendError.mismatch(
          operation: "convolutionGradient",
          detail: "element \(i) of one of whole numbers by \(tile.definitions) is \(got[i]), "
            + "not \(wanted[i])")
      }
    }
  }

  /// A tensor at an offset within a larger one; NaN where there are no values.
  private func place(_ numbers: WholeNumbers?, _ shape: Shape, offset: Int) throws -> Floats {
    let whole = try allocate([shape.count + 2 * offset], of: Float.self)
    let part = whole.view(at: offset, shape: shape)
    if let numbers {
      try upload(numbers.values.map { Float($0) }, into: part)
    } else {
      try fill(part, with: .nan)
    }
    return part
  }
}

/// Reproducible numbers of which no two neighbours, rows or columns are alike.
private struct WholeNumbers {
  /// From -8 to 8, so that a sum of fewer than 2^18 products is exact in single precision.
  let values: [Int]

  init(count: Int, salt: UInt64) {
    values = (0..<count).map { Int(Self.mixed(UInt64($0), salt) % 17) - 8 }
  }

  /// From 0 to 2^20.
  static func large(count: Int) -> [Int] {
    (0..<count).map { Int(mixed(UInt64($0), 10) >> 44) }
  }

  /// The finalizer of SplitMix64 (Steele, Lea, Flood, 2014).
  private static func mixed(_ index: UInt64, _ salt: UInt64) -> UInt64 {
    var z = (index &+ salt << 32) &* 0x9E37_79B9_7F4A_7C15
    z = (z ^ z >> 30) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ z >> 27) &* 0x94D0_49BB_1331_11EB
    return z ^ z >> 31
  }
}

/// One image's convolution in plain loops over whole numbers.
private struct ConvolutionTrial {
  let height, width, inputs, outputs: Int
  let geometry: ConvolutionGeometry

  var large: Shape { [1, height, width, inputs] }
  var small: Shape { [1, geometry.outputHeight(height), geometry.outputWidth(width), outputs] }
  var weights: Shape { [geometry.kernelHeight, geometry.kernelWidth, inputs, outputs] }

  /// Calls `body` with the pixel of the larger map, the tap and the pixel of the smaller map of
  /// every product that is not with a zero of the padding.
  private func each(_ body: (_ large: Int, _ tap: Int, _ small: Int) -> Void) {
    let outputWidth = small.dimensions[2]
    for row in 0..<small.dimensions[1] {
      for column in 0..<outputWidth {
        for down in 0..<geometry.kernelHeight {
          for along in 0..<geometry.kernelWidth {
            let y = row * geometry.stride + down - geometry.padding
            let x = column * geometry.stride + along - geometry.padding
            guard y >= 0, y < height, x >= 0, x < width else { continue }
            body(y * width + x, down * geometry.kernelWidth + along, row * outputWidth + column)
          }
        }
      }
    }
  }

  func forward(_ x: [Int], _ w: [Int]) -> [Int] {
    var y = [Int](repeating: 0, count: small.count)
    each { large, tap, small in
      for i in 0..<inputs {
        let value = x[large * inputs + i]
        for o in 0..<outputs {
          y[small * outputs + o] += value * w[(tap * inputs + i) * outputs + o]
        }
      }
    }
    return y
  }

  func adjoint(_ x: [Int], _ w: [Int]) -> [Int] {
    var y = [Int](repeating: 0, count: large.count)
    each { large, tap, small in
      for i in 0..<inputs {
        for o in 0..<outputs {
          y[large * inputs + i] += x[small * outputs + o] * w[(tap * inputs + i) * outputs + o]
        }
      }
    }
    return y
  }

  func gradient(_ x: [Int], _ g: [Int]) -> [Int] {
    var dw = [Int](repeating: 0, count: weights.count)
    each { large, tap, small in
      for i in 0..<inputs {
        let value = x[large * inputs + i]
        for o in 0..<outputs {
          dw[(tap * inputs + i) * outputs + o] += value * g[small * outputs + o]
        }
      }
    }
    return dw
  }
}
