import Compute
import OpenCLRuntime

extension OpenCLBackend {
  package func softmax(_ a: Floats, into p: Floats) throws {
    precondition(a.shape.rank == 2 && p.shape == a.shape, "\(a.shape) into \(p.shape)")
    guard a.count > 0 else { return }
    let (positions, classes) = (a.shape[0], a.shape[1])
    let band = 1024
    let kernel = try segmentationKernel(
      family == .cpu ? "softmaxBand" : "softmaxEach", classes: classes)
    var arguments = Arguments(kernel)
    try arguments.add(a)
    try arguments.add(p)
    try arguments.add(positions)
    try arguments.add(classes)
    try arguments.add(band)
    try launch(
      kernel, as: "softmax",
      global: (family == .cpu ? (positions + band - 1) / band : positions, 1),
      local: (localSize(kernel), 1))
  }

  package func segmentationLoss(
    _ a: Floats, labels: Bytes, classWeights w: Floats, settings: SegmentationLoss,
    gradient: Floats, figures: Floats
  ) throws {
    let shape = SegmentationShape(
      a, labels: labels, classWeights: w, settings: settings, gradient: gradient,
      figures: figures)
    let (positions, classes) = (shape.positions, shape.classes)
    guard positions > 0 else { return try fill(figures, with: 0) }
    // Not more bands than are quickly added up, by the shape alone.
    let band = max(1024, ((positions + 511) / 512 + 7) / 8 * 8)
    let bands = (positions + band - 1) / band
    let sumsCount = bands * 3 * (classes + 1)
    let kept = try scratch.floats(sumsCount + 3 * classes, in: context)
    let parts = kept.view(at: 0, shape: [sumsCount])
    let factors = kept.view(at: sumsCount, shape: [3 * classes])

    let sums = try segmentationKernel(
      family == .cpu ? "segmentationSumsBand" : "segmentationSumsGroup", classes: classes)
    var arguments = Arguments(sums)
    try arguments.add(a)
    try arguments.add(labels)
    try arguments.add(w)
    try arguments.add(gradient)
    try arguments.add(positions)
    try arguments.add(classes)
    try arguments.add(band)
    try arguments.add(parts)
    try launch(
      sums, as: sums.name, global: (bands * groupSize, 1), local: (groupSize, 1))

    let total = try segmentationKernel("segmentationTotal", classes: classes)
    arguments = Arguments(total)
    try arguments.add(parts)
    try arguments.add(bands)
    try arguments.add(classes)
    try arguments.add(w)
    try arguments.add(settings.crossEntropyWeight)
    try arguments.add(settings.diceWeight)
    try arguments.add(settings.smoothing)
    try arguments.add(factors)
    try arguments.add(figures)
    try launch(total, as: total.name, global: (groupSize, 1), local: (groupSize, 1))

    let slope = try segmentationKernel(
      family == .cpu ? "segmentationSlopeBand" : "segmentationSlopeEach", classes: classes)
    arguments = Arguments(slope)
    try arguments.add(labels)
    try arguments.add(factors)
    try arguments.add(positions)
    try arguments.add(classes)
    try arguments.add(band)
    try arguments.add(gradient)
    try launch(
      slope, as: slope.name, global: (family == .cpu ? bands : positions, 1),
      local: (localSize(slope), 1))
  }

  /// The work-items of a group that takes a band: `GROUP` in the kernels.
  private var groupSize: Int { family == .cpu ? 1 : 64 }

  /// A program for each of some numbers of classes, and one for all others.
  private func segmentationKernel(_ name: String, classes: Int) throws -> Kernel {
    let known = SegmentationLoss.specialClassCounts.contains(classes) ? classes : 0
    return try library.kernel(
      name, from: .segmentation, ["GROUP": groupSize, "CLASSES": known])
  }
}
