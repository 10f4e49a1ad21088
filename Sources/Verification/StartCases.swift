extension OperationCases {
  /// What a device must get right before its first use: of every operation a case or two, at sizes
  /// that fill whole vectors and leave a rest. Products by larger tiles have a trial of their own when
  /// they are first used.
  ///
  /// On a driver that compiles slowly the time is that of compiling, which depends on how many
  /// programs there are and not on how many cases; what is compiled is kept.
  package static var start: [any OperationCase] { start(of: nil) }

  /// Those of some operations, by the keys of `startLabels`; of all when nil. Other names are passed
  /// over.
  package static func start(of operations: Set<String>?) -> [any OperationCase] {
    let byOperation = Dictionary(grouping: all(.quick), by: \.operation)
    return startLabels.flatMap { key, labels in
      guard operations?.contains(key) ?? true else { return [any OperationCase]() }
      return (byOperation[operation(ofKey: key)] ?? []).filter { labels.contains($0.label) }
    }
  }

  /// Cases of `all(.quick)` by operation and label, in both tiers where there are two. A product
  /// whose operands are stored otherwise, and a loss of another number of classes, is a program of
  /// its own, and so has a key of its own.
  package static var startLabels: [(key: String, value: [String])] { startGroups.flatMap { $0 } }

  /// `matmul` of `matmul B^T`.
  package static func operation(ofKey key: String) -> String { String(key.prefix { $0 != " " }) }

  /// The cases in parts that processes can share: those of operations with programs in common, in the
  /// order of `startGroups`; cases of operations in none of them are the last part.
  ///
  /// - Parameter formsApart: whether each case of the self-test is a part where operations are
  ///   compiled for each form of their operands, as products and convolutions are for GPUs.
  package static func parts(
    of cases: [any OperationCase], formsApart: Bool = false
  ) -> [[any OperationCase]] {
    Dictionary(grouping: cases) { place(of: $0, formsApart) }.sorted { $0.key < $1.key }.map(
      \.value)
  }

  /// The place of a case's part among all parts, with gaps.
  private static func place(of operation: any OperationCase, _ formsApart: Bool) -> Int {
    let group =
      startGroups.firstIndex {
        $0.contains { self.operation(ofKey: $0.key) == operation.operation }
      }
      ?? startGroups.count
    guard formsApart, operationsWithForms.contains(operation.operation) else { return group << 8 }
    let cases = startGroups[group].flatMap { key, labels in
      labels.map { (self.operation(ofKey: key), $0) }
    }
    let form = cases.firstIndex { $0 == (operation.operation, operation.label) } ?? 0
    return group << 8 | form
  }

  /// Those that are compiled for each form of their operands for GPUs.
  private static let operationsWithForms: Set = [
    "matmul", "convolution", "transposedConvolution", "convolutionGradient",
  ]

  private static let alignedConvolution =
    "1x5x7x16 to 20, kernel 3x3, stride 1, padding 1, identity, channels beside: both, aligned"

  /// What takes longest to compile comes last; processes that share the groups take the last first,
  /// and so end at about the same time. Groups of one program stand apart: what takes the second
  /// finds the program built.
  private static let startGroups: [KeyValuePairs<String, [String]>] = [
    [
      "maxPool": ["2x2 into 1x3x3x16 of 32"],
      "maxPoolBackward": ["2x2 from 1x3x3x16 of 32", "2x2 from 1x3x3x16 of 32, accumulating"],
    ],
    [
      "topK": ["17 of 4x65, reals", "17 of 4x65, equals"],
      "batchTopK": ["17 of 4x65, reals", "17 of 4x65, equals"],
      "jumpReLU": ["7x33"],
      "jumpReLUBackward": ["7x33"],
      "addL1Gradient": ["7x33"],
      "controlPenalty": ["65 rows, near"],
    ],
    [
      "denseGradients": ["5 rows, 17x16 16x15 15x33 33x2 2x7"],
      "denseBackward": ["5 rows, 17-16-15-33-2-7, relu sigmoid tanh identity relu"],
    ],
    [
      "momentumStep": ["33 parameters, momentum 0.9"],
      "accumulateAverage": ["33 parameters, decay 0.999"],
      "clampBelow": ["33"],
      "clipNorm": ["100, limit 0.25"],
      "normaliseRows": ["8x33"],
      "projectRows": ["8x33"],
      "addContractiveGradient": [
        "13 rows, 17 units of 33, a row each", "13 rows, 17 units of 33, a column each",
      ],
    ],
    [
      "hardConcrete": ["7x33"],
      "hardConcreteBackward": ["7x33"],
    ],
    [
      "softmax": ["33x5, plain"],
      "softmax of 2 classes": ["1025x2, plain"],
      "softmax of 3 classes": ["135x3, plain"],
      "softmax of 4 classes": ["73x4, plain"],
      "segmentationLoss": ["33x5, mixed"],
      "segmentationLoss of 2 classes": ["1025x2, mixed"],
      "segmentationLoss of 3 classes": ["135x3, mixed"],
      "segmentationLoss of 4 classes": ["73x4, mixed"],
    ],
    [
      "batchNormalise": [
        "1x6x7x33 relu, plain", "1x6x7x33 relu, plain, in place", "2x4x4x16 relu, plain, aligned",
      ],
      "batchNormaliseBackward": ["1x6x7x33 relu, dx apart", "2x4x4x16 relu, dx apart, aligned"],
    ],
    [
      "matmul": [
        "9x11x13 + bias, sigmoid", "activations at extreme arguments",
        "36x20x44 + column sums, aligned",
      ],
      "matmul A^T": ["9x11x13 A^T + column sums", "36x20x44 A^T + column sums, aligned"],
      "matmul A^T B^T": [
        "31x8x9 A^T B^T + column sums", "36x20x44 A^T B^T + column sums, aligned",
      ],
      "matmul B^T": [
        "9x11x13 B^T + bias, relu", "9x11x13 B^T * derivative of tanh",
        "36x20x44 B^T + column sums, aligned",
      ],
    ],
    [
      "sparseTopK": ["7x33, k = 9, random", "7x33, k = 9, equals"],
      "sparseScatter": ["7 rows, 9 of 33 latents, width 17"],
      "sparseDecode": ["7 rows, 9 of 33 latents, width 17"],
      "sparsePass": ["7 rows, 9 of 33 latents, width 17"],
    ],
    [
      "fill": ["1000"],
      "adam": ["100 parameters, step 1000"],
      "columnSums": ["17x33"],
      "countNonzero": ["33x17"],
      "gather": ["10 of 10 rows of 33", "10 of 10 rows of 33 less a mean"],
      "balanceLatents": ["65 latents"],
      "reconstructionLoss": ["5x33, 17 latents, sigmoid"],
    ],
    [
      "densePass": ["7 rows, 5-3-9, tanh identity"],
      "denseForward": ["5 rows, 17-16-15-33-2-7, relu sigmoid tanh identity relu"],
    ],
    [
      "convolution": [
        "1x5x7x16 to 17, kernel 3x3, stride 1, padding 1, relu",
        "1x5x7x3 to 17, kernel 3x3, stride 1, padding 1, tanh",
        "2x3x4x16 to 2, kernel 2x2, stride 2, padding 0, relu, no bias", alignedConvolution,
      ],
      "transposedConvolution": [
        "1x5x7x17 to 16, kernel 3x3, stride 1, padding 1, relu",
        "1x5x7x3 to 17, kernel 3x3, stride 1, padding 1, tanh",
        "2x3x4x16 to 2, kernel 2x2, stride 2, padding 0, relu, no bias", alignedConvolution,
      ],
      "convolutionGradient": [
        "1x7x6x5 to 16, kernel 2x3, stride 1, padding 3, identity, no bias, channels beside: both",
        "1x5x7x16 to 17, kernel 3x3, stride 1, padding 1, identity, no bias", alignedConvolution,
      ],
      "channelSums": ["1x5x205x33, channels beside: both"],
    ],
    [
      "sparseGroup": ["7 rows, 9 of 33 latents, width 17"],
      "sparseGradients": ["7 rows, 9 of 33 latents, width 17"],
      "sparseUpdate": ["7 rows, 9 of 33 latents, width 17, unit norm"],
    ],
  ]
}
