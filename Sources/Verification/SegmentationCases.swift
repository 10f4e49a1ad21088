import Compute

extension OperationCases {
  static func segmentation(_ extent: Extent) -> [any OperationCase] {
    var sizes = [(1, 2), (135, 3), (73, 4), (33, 5), (17, 17), (1025, 2)]
    if extent == .full {
      sizes += [
        (8, 4), (1023, 3), (1033, 4), (4099, 5), (2048, 17), (70, 255), (530_001, 2),
      ]
    }
    let rows = sizes.flatMap { positions, classes -> [any OperationCase] in
      // Of many positions one case.
      guard positions < 10_000 else {
        return [
          SegmentationLossCase(
            positions: positions, classes: classes, course: .mixed, inPlace: true)
        ]
      }
      return SoftmaxCase.Inputs.allCases.flatMap { inputs in
        [false, true].map {
          SoftmaxCase(positions: positions, classes: classes, inputs: inputs, inPlace: $0)
        }
      }
        + SegmentationLossCase.Course.allCases.flatMap { course in
          [false, true].map {
            SegmentationLossCase(
              positions: positions, classes: classes, course: course, inPlace: $0)
          }
        }
    }
    let columns: [any OperationCase] = [
      SoftmaxCase(positions: 5, classes: 1, inputs: .plain, inPlace: false),
      SoftmaxCase(positions: 3, classes: 1000, inputs: .plain, inPlace: true),
    ]
    return rows + columns
  }
}

private struct SoftmaxCase: OperationCase {
  enum Inputs: String, CaseIterable, Sendable {
    /// Within a few units; up to 80 either way, with what overflows a plain exponential.
    case plain, large
  }

  let positions, classes: Int
  let inputs: Inputs
  let inPlace: Bool

  let operation = "softmax"
  var label: String { "\(positions)x\(classes), \(inputs)\(inPlace ? ", in place" : "")" }
  let tier = Tier.bound

  func run<B: Backend>(on bench: TestBench<B>) throws {
    var random = Verification.Inputs("softmax \(label)")
    let a = random.reals(positions * classes).map { $0 * (inputs == .plain ? 3 : 80) }
    let shape: Shape = [positions, classes]
    let logits =
      try inPlace ? bench.updated(a, shape, name: "a") : bench.input(a, shape, name: "a")
    let p = try inPlace ? logits : bench.output(shape, name: "p")
    try bench.backend.softmax(logits, into: p)
    try bench.expect("p", p, Oracle.softmax(a, classes: classes))
  }
}

private struct SegmentationLossCase: OperationCase {
  enum Course: String, CaseIterable, Sendable {
    /// Some labels ignored, some above the classes, and NaN where there is no label.
    case mixed
    case noneIgnored, allIgnored, lastClassAbsent, largeLogits, firstWeightZero, allWeightsZero
    case crossEntropyAlone, diceAlone
  }

  let positions, classes: Int
  let course: Course
  let inPlace: Bool

  let operation = "segmentationLoss"
  var label: String { "\(positions)x\(classes), \(course)\(inPlace ? ", in place" : "")" }
  let tier = Tier.bound

  func run<B: Backend>(on bench: TestBench<B>) throws {
    var random = Inputs("segmentation \(label)")
    var a = random.reals(positions * classes).map { $0 * (course == .largeLogits ? 80 : 3) }
    let present = course == .lastClassAbsent ? classes - 1 : classes
    var labels = random.order(positions, below: present).map { UInt8($0) }
    switch course {
    case .mixed:
      let lots = random.order(positions, below: 10)
      for (i, lot) in lots.enumerated() where lot < 3 {
        labels[i] = lot == 0 ? UInt8(min(classes, 255)) : SegmentationLoss.ignored
        if lot == 1 { a[i * classes + i % classes] = .nan }
      }
    case .allIgnored: labels = labels.map { _ in SegmentationLoss.ignored }
    default: break
    }
    var weights = random.fractions(classes).map { $0 + 0.25 }
    if course == .firstWeightZero { weights[0] = 0 }
    if course == .allWeightsZero { weights = weights.map { _ in 0 } }
    let settings = SegmentationLoss(
      crossEntropyWeight: course == .diceAlone ? 0 : 0.75,
      diceWeight: course == .crossEntropyAlone ? 0 : 1.5, smoothing: 0.5)

    let shape: Shape = [positions, classes]
    let logits =
      try inPlace
      ? bench.updated(a, shape, name: "a")
      : bench.input(a, shape, name: "a", comparing: course != .mixed)
    let gradient = try inPlace ? logits : bench.output(shape, name: "gradient")
    let figures = try bench.output([3], name: "figures")
    try bench.backend.segmentationLoss(
      logits, labels: bench.input(labels, [positions], name: "labels"),
      classWeights: bench.input(weights, [classes], name: "w"), settings: settings,
      gradient: gradient, figures: figures)
    let expected = Oracle.segmentationLoss(
      a, labels: labels, classWeights: weights, settings: settings)
    try bench.expect("figures", figures, expected.figures)
    try bench.expect("gradient", gradient, expected.gradient)
  }
}
