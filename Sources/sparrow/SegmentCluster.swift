import ArgumentParser
import Compute
import Foundation
import Imaging
import Networks
import Segmentation
import Training

struct SegmentCluster: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "cluster",
    abstract: "Group the pixels of images by their codes, without any label.",
    discussion: """
      k-means over the codes of a pretrained front end, a position of the code standing for a \
      square of pixels. The output folder receives a mask for each image, whose values are the \
      clusters from 0 on, and the same as an overlay. With --labels each cluster is matched to a \
      class, for the figures alone: the masks do not change.

      Examples:
        sparrow segment cluster --model runs/front --images imgs --k 4 \\
          --output clusters
        sparrow segment cluster --model runs/front --images imgs --k 6 \\
          --labels masks --output clusters --json
      """)

  @Option(
    name: .customLong("model"),
    help: ArgumentHelp(
      "What `sparrow segment pretrain` made: a run or its model file.", valueName: "run"),
    completion: .file(extensions: ["safetensors"]))
  var model: String
  @Option(help: "The image or folder of images to group.", completion: .file())
  var images: String
  @Option(parsing: .unconditional, help: "How many clusters.") var k: Int
  @Option(
    help: "Label images, matched by base name, to score the clusters with.",
    completion: .directory)
  var labels: String?
  @Option(
    help: ArgumentHelp("Which label values are which class.", valueName: "classes"))
  var classes: String?
  @Option(parsing: .unconditional, help: "The seed of the start.") var seed: UInt64 = 0
  @OptionGroup var device: DeviceOptions
  @Option(
    help: ArgumentHelp("The folder to write; made where absent.", valueName: "folder"),
    completion: .directory)
  var output: String
  @OptionGroup var json: JSONOption

  func validate() throws {
    try requirePath(output, "--output")
    guard (2...255).contains(k) else {
      throw ValidationError("--k must be from 2 to 255, not \(k)")
    }
    if classes != nil, labels == nil { throw ValidationError("--classes needs --labels") }
    _ = try namedClasses()
  }

  private func namedClasses() throws -> ClassMap? {
    guard let classes else { return nil }
    do {
      return try ClassMap(parsing: classes)
    } catch {
      throw ValidationError("--classes \(classes): \(error)")
    }
  }

  func run() throws {
    let model = try PretrainedModel(path: modelPath(model))
    try Folder.requireWritable(in: output)
    let folder = try labels.map { try LabelledFolder(images: images, labels: $0) }
    let map = try folder.map { try namedClasses() ?? $0.inferClasses() }
    let (loaded, failures) = try readImages(images)
    for image in loaded { try model.description.normalisation.check(image.image, path: image.path) }
    let names = OutputNames(
      sources: try ImageCases.list(images).flatMap(\.paths)
        + (folder?.pairs.map(\.labelPath) ?? []))
    for image in loaded {
      for ending in [".png", "-overlay.png"] {
        try names.claim("\(output)/\(image.name)\(ending)", for: image.path)
      }
    }
    let result = try device.run(
      Job(model: model, images: loaded, k: k, seed: seed))
    try Folder.make(output)
    for (image, labels) in zip(loaded, result.labels) {
      let base = "\(output)/\(image.name)"
      let (width, height) = (image.image.width, image.image.height)
      try ImageFile.writePNG(
        Image(width: width, height: height, channels: 1, samples: labels), to: base + ".png")
      try ImageFile.writePNG(
        SegmentationPicture.overlay(
          image.image, labels: labels, names: (0..<k).map { "cluster \($0)" },
          normalisation: model.description.normalisation), to: base + "-overlay.png")
    }
    if let folder, let map {
      let report = try score(result.labels, of: loaded, folder, map)
      try json.isOn
        ? Console.result(String(decoding: report.json(), as: UTF8.self))
        : Console.result(report.table())
    } else if json.isOn {
      try Console.result(
        json: Output(
          k: k, images: loaded.count, inertia: JSONNumber(result.inertia), device: result.device))
    }
    if !json.isOn {
      try Console.result("Written: \(counted(loaded.count, "mask")) and overlays to \(output)")
    }
    try report(failures)
  }

  private struct Output: Encodable {
    let k, images: Int
    let inertia: JSONNumber
    let device: String
  }

  private func score(
    _ clusters: [[UInt8]], of images: [LabelledImage], _ folder: LabelledFolder, _ classes: ClassMap
  ) throws -> SegmentationReport {
    var truths: [(image: Int, labels: [UInt8])] = []
    var overlaps = [UInt64](repeating: 0, count: k * classes.count)
    let read = Set(images.map(\.path))
    for pair in folder.pairs where read.contains(pair.image.paths[0]) {
      for labelled in try pair.read(classes: classes) {
        guard let index = images.firstIndex(where: { $0.name == labelled.name }) else { continue }
        let truth = labelled.labels ?? []
        for (cluster, label) in zip(clusters[index], truth)
        where label != SegmentationLoss.ignored {
          overlaps[Int(cluster) * classes.count + Int(label)] += 1
        }
        truths.append((index, truth))
      }
    }
    let assigned = Assignment.classes(
      ofClusters: overlaps, clusters: k, classes: classes.count)
    var report = SegmentationReport(classes: classes.names)
    for (index, truth) in truths {
      let image = images[index]
      report.add(
        image.name, prediction: clusters[index].map { UInt8(assigned[Int($0)]) }, truth: truth,
        width: image.image.width, height: image.image.height)
    }
    return report
  }

  private struct Job: BackendTask {
    let model: PretrainedModel
    let images: [LabelledImage]
    let k: Int
    let seed: UInt64

    private var network: ConvolutionalConfiguration { model.description.training.network }
    var operations: Set<String>? { network.operations(for: .encoding) }
    var trainingOperations: Set<String>? { network.operations(for: .pretraining) }

    func run<B: Backend>(
      on backend: B
    ) throws -> (labels: [[UInt8]], inertia: Double, device: String) {
      let clustering = try CodeClustering(model, on: backend)
      let progress = FileProgress("encoding")
      var codes: [CodeClustering<B>.Codes] = []
      for (index, image) in images.enumerated() {
        codes.append(try clustering.codes(of: image.image))
        progress.show(index + 1, of: images.count)
      }
      progress.finish()
      let clusters = try clustering.fit(codes, clusters: k, seed: seed)
      let labels = zip(images, codes).map { image, codes in
        clustering.labels(
          codes, clusters: clusters, width: image.image.width, height: image.image.height)
      }
      return (labels, clusters.inertia, backend.name)
    }
  }
}
