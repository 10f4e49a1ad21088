import Foundation
import Imaging
import Segmentation
import TestSupport
import Testing

@Suite struct SegmentTests {
  @Test func trainingLeavesAModelItsFiguresAndAPicture() async throws {
    let cells = try await Cells.shared.value
    #expect(cells.training.output.contains("Written: \(cells.model)/model.safetensors"))
    let metrics = try String(contentsOfFile: cells.model + "/metrics.csv", encoding: .utf8)
    #expect(metrics.hasPrefix("step,loss,cross_entropy,dice,seconds\n3,"))
    let picture = try ImageFile.read(cells.model + "/training.png")
    #expect(picture.channels == 3 && picture.width > 4 * 256)
    let again = try await Tool.onReference(
      "segment", "train", "--images", cells.images, "--labels", cells.labels, "--output",
      cells.model)
    #expect(again.status == 1 && again.errors.contains("already holds a run"))
  }

  /// More views change the figures; two are the default, and the older spelling of eight is
  /// understood.
  @Test func viewsAreAveraged() async throws {
    let cells = try await Cells.shared.value
    let (two, eight) = (
      try await cells.figures(of: cells.model, "--views", "2"),
      try await cells.figures(of: cells.model, "--views", "8")
    )
    #expect(try await cells.figures(of: cells.model, "--views", "1") != two && two != eight)
    #expect(try await cells.figures(of: cells.model) == two)
    #expect(try await cells.figures(of: cells.model, "--symmetries") == eight)
    let wrong = try await Tool.onReference(
      "segment", "predict", "--model", cells.model, "--images", cells.images, "--output",
      cells.file("views"), "--views", "3")
    #expect(wrong.status == 64 && wrong.errors.contains("--views"), "\(wrong.errors)")
  }

  @Test func aTileLargerThanAllImagesIsTheImage() async throws {
    let cells = try await Cells.shared.value
    #expect(
      try await cells.figures(of: cells.model, "--tile", "\(Int.max)")
        == cells.figures(of: cells.model))
  }

  @Test func everyPageIsAnImage() async throws {
    let cells = try await Cells.shared.value
    let folder = try TemporaryFolder()
    for kind in ["images", "labels"] {
      let source = kind == "images" ? cells.images : cells.labels
      let files = try FileManager.default.contentsOfDirectory(atPath: source).sorted()
      let pages = try files.map { try ImageFile.read("\(source)/\($0)") }
      _ = try folder.makeFolder(kind)
      try folder.write(
        PagedTIFF.bytes(pages.map(\.samples), width: pages[0].width, height: pages[0].height),
        to: "\(kind)/s.tif")
    }
    let (images, labels) = (folder.file("images"), folder.file("labels"))
    let apart = try await cells.figures(of: cells.model)
    let together = try await Tool.onReference(
      "segment", "evaluate", "--model", cells.model, "--images", images, "--labels", labels)
    #expect(together.output == apart, "\(together.errors)")
    let training = try await Tool.onReference(
      "segment", "train", "--images", images, "--labels", labels, "--preset", "small", "--steps",
      "3", "--batch", "1", "--classes", "cytoplasm=0,membrane=128,nucleus=255", "--output",
      folder.file("model"))
    #expect(training.errors.contains("Data: 3 labelled images"), "\(training.errors)")
    #expect(
      try SegmenterModel(path: folder.file("model/model.safetensors")).parameters
        == SegmenterModel(path: cells.model + "/model.safetensors").parameters)
    let masks = try await Tool.onReference(
      "segment", "predict", "--model", cells.model, "--images", images, "--output",
      folder.file("masks"))
    #expect(masks.output == "Written: 3 masks to \(folder.file("masks"))\n", "\(masks.errors)")
  }

  /// By their names, in whatever order they are given.
  @Test func classesAreThoseOfTheModel() async throws {
    let cells = try await Cells.shared.value
    let own = try await cells.figures(of: cells.model)
    #expect(
      try await cells.figures(
        of: cells.model, "--classes", "nucleus=255,membrane=128,cytoplasm=0") == own)
    #expect(try await cells.figures(of: cells.model, "--ignore", "7") == own)
    let data = ["--images", cells.images, "--labels", cells.labels, "--device", "reference"]
    for (arguments, words) in [
      (["--classes", "cell=255,membrane=128,cytoplasm=0"], "the model's classes are cytoplasm, m"),
      (["--classes", "membrane=128,cytoplasm=0"], "the model's classes are cytoplasm, membrane"),
      (["--ignore", "0"], "--ignore 0: value 0 belongs to"),
      (["--ignore", "-3"], "--ignore must be from 0 to 65535, not -3"),
    ] {
      let outcome = try await Tool.run(
        ["segment", "evaluate", "--model", cells.model] + data + arguments)
      #expect(outcome.status != 0 && outcome.errors.contains(words), "\(outcome.errors)")
    }
  }

  /// What beside the masks is no mask does not hinder.
  @Test func predictionsAreScoredAsTheModelIs() async throws {
    let cells = try await Cells.shared.value
    let output = cells.file("scored")
    let masks = try await Tool.onReference(
      "segment", "predict", "--model", cells.model, "--images", cells.images, "--output", output,
      "--overlay", "--probabilities", "--uncertainty")
    #expect(masks.status == 0, "\(masks.errors)")
    let scored = try await Tool.run(
      "segment", "evaluate", "--predictions", output, "--labels", cells.labels, "--classes",
      "cytoplasm=0,membrane=128,nucleus=255")
    #expect(try await scored.output == cells.figures(of: cells.model, "--views", "8"))
    for flag in ["--tile", "--max-memory", "--device"] {
      let wrong = try await Tool.run(
        "segment", "evaluate", "--predictions", output, "--labels", cells.labels, flag, "1")
      #expect(wrong.status == 64 && wrong.errors.contains("\(flag) is of --model"))
    }
  }

  /// A model adapts to images as much as it was told in training, unless a prediction asks for
  /// something else.
  @Test func modelsAdaptToImages() async throws {
    let cells = try await Cells.shared.value
    let adapting = cells.file("adapting")
    let folders = ["--images", cells.images, "--labels", cells.labels, "--device", "reference"]
    let training = try await Tool.run(
      [
        "segment", "train", "--output", adapting, "--preset", "small", "--crop", "32", "--steps",
        "4", "--adapt", "0.5",
      ] + folders)
    try #require(training.status == 0, "\(training.errors)")
    let adapted = try await cells.figures(of: adapting)
    #expect(try await cells.figures(of: adapting, "--adapt", "0.5") == adapted)
    #expect(try await cells.figures(of: adapting, "--adapt=0") != adapted)
    for wrong in ["1.5", "-0.1", "nan"] {
      let run = try await Tool.run(
        ["segment", "evaluate", "--model", adapting, "--adapt", wrong] + folders)
      #expect(
        run.status == 64 && run.errors.contains("--adapt \(wrong) is not within 0 and 1"),
        "\(run.errors)")
    }
    let masks = try await Tool.onReference(
      "segment", "evaluate", "--predictions", cells.labels, "--labels", cells.labels, "--adapt",
      "0.5")
    #expect(masks.status == 64 && masks.errors.contains("--adapt is of --model"), "\(masks.errors)")
  }

  /// Outlines go by the brightness as much as the model was told in training, unless a prediction
  /// asks for something else.
  @Test func outlinesGoByTheBrightness() async throws {
    let cells = try await Cells.shared.value
    let nuclei = cells.file("outlines")
    let folders = ["--images", cells.images, "--labels", cells.labels, "--device", "reference"]
    let training = try await Tool.run(
      [
        "segment", "train", "--output", nuclei, "--preset", "small", "--crop", "32", "--steps", "4",
        "--classes", "rest=0|128,nucleus=255", "--outlines", "15",
      ] + folders)
    try #require(training.status == 0, "\(training.errors)")
    #expect(
      training.errorLines.contains {
        $0.hasPrefix("Outlines: at 0.") && $0.hasSuffix("brightness of rest to that of nucleus")
      }, "\(training.errors)")
    let placed = try await cells.figures(of: nuclei)
    #expect(try await cells.figures(of: nuclei, "--outlines", "15") == placed)
    #expect(try await cells.figures(of: nuclei, "--outlines=0") != placed)
    for wrong in ["-1", "101", "nan"] {
      let run = try await Tool.run(
        ["segment", "evaluate", "--model", nuclei, "--outlines", wrong] + folders)
      #expect(
        run.status == 64 && run.errors.contains("is not within 0 and 100"), "\(run.errors)")
    }
    let masks = try await Tool.onReference(
      "segment", "evaluate", "--predictions", cells.labels, "--labels", cells.labels, "--outlines",
      "15")
    #expect(
      masks.status == 64 && masks.errors.contains("--outlines is of --model"), "\(masks.errors)")
    let plain = try await Tool.run(
      ["segment", "evaluate", "--model", cells.model, "--outlines", "15"] + folders)
    #expect(
      plain.status == 1 && plain.errors.contains("was trained without --outlines"),
      "\(plain.errors)")
  }

  @Test func classesFadeWhereOtherImagesAreLearnedFrom() async throws {
    let cells = try await Cells.shared.value
    func losses(_ arguments: String...) async throws -> [Substring] {
      let output = cells.file("faded\(UUID())")
      let run = try await Tool.run(
        [
          "segment", "train", "--images", cells.images, "--labels", cells.labels, "--output",
          output, "--preset", "small", "--crop", "32", "--steps", "10", "--device", "reference",
        ] + arguments)
      try #require(run.status == 0, "\(run.errors)")
      return try text(of: output + "/metrics.csv").split(separator: "\n").flatMap {
        $0.split(separator: ",").dropLast()
      }
    }
    let plain = try await losses()
    #expect(try await losses("--fading=0") == plain)
    let faded = try await losses("--fading=0.8")
    #expect(faded != plain)
    // The images are those that are labelled, so that nothing else is learned from them.
    let unlabelled = "--unlabelled=\(cells.images)"
    #expect(try await losses(unlabelled, "--fading=0.8") == faded)
    #expect(try await losses(unlabelled) == faded)
    #expect(
      try await losses(unlabelled, "--augmentation=light")
        == losses("--augmentation=light"))
    let wrong = try await Tool.onReference(
      "segment", "train", "--images", cells.images, "--labels", cells.labels, "--output",
      cells.file("wrong"), "--fading", "1.5")
    #expect(
      wrong.status == 64 && wrong.errors.contains("--fading 1.5 is not within 0 and 1"),
      "\(wrong.errors)")
  }

  @Test func predictionWritesMasksWithTheLabelsValues() async throws {
    let cells = try await Cells.shared.value
    let output = cells.file("predicted")
    let run = try await Tool.onReference(
      "segment", "predict", "--model", cells.model, "--images", cells.images, "--output", output,
      "--overlay", "--probabilities", "--tile", "16")
    #expect(run.status == 0, "\(run.errors)")
    let mask = try ImageFile.read(output + "/cells000.png")
    #expect(mask.width == 48 && mask.height == 48 && mask.channels == 1)
    #expect(Set(mask.samples).isSubset(of: [0, 128, 255]))
    let overlay = try ImageFile.read(output + "/cells000-overlay.png")
    #expect(overlay.channels == 3 && overlay.height > 48)
    var sum = [Float](repeating: 0, count: 48 * 48)
    for name in ["cytoplasm", "membrane", "nucleus"] {
      let map = try ImageReader(path: "\(output)/cells000-probability-\(name).tif").image(
        as: Float.self)
      for i in sum.indices { sum[i] += map.samples[i] }
    }
    #expect(sum.allSatisfy { abs($0 - 1) < 1e-5 })

    // Scored as a model and as masks, the figures are the same.
    struct Figures: Decodable {
      let miou, accuracy: Double
      let iou, dice: [String: Double?]
    }
    let byModel = try await Tool.onReference(
      "segment", "evaluate", "--model", cells.model, "--images", cells.images, "--labels",
      cells.labels, "--json")
    let byMasks = try await Tool.run(
      "segment", "evaluate", "--predictions", output, "--labels", cells.labels, "--classes",
      "cytoplasm=0,membrane=128,nucleus=255", "--json")
    let first = try JSONDecoder().decode(Figures.self, from: Data(byModel.output.utf8))
    let second = try JSONDecoder().decode(Figures.self, from: Data(byMasks.output.utf8))
    #expect(first.miou == second.miou && first.accuracy == second.accuracy)
    #expect(Set(first.iou.keys) == ["cytoplasm", "membrane", "nucleus"])
    #expect(first.accuracy > 0 && first.accuracy < 1)
  }

  @Test func pretrainingMakesAFrontEndForTrainingAndClustering() async throws {
    let cells = try await Cells.shared.value
    let front = cells.file("front")
    let run = try await Tool.onReference(
      "segment", "pretrain", "--images", cells.images, "--preset", "small", "--steps", "3",
      "--batch", "1", "--code", "topk:4", "--output", front)
    #expect(run.status == 0, "\(run.errors)")
    #expect(run.output.contains("Restored: FVU"))
    let trained = try await Tool.onReference(
      "segment", "train", "--images", cells.images, "--labels", cells.labels, "--steps", "2",
      "--batch", "1", "--pretrained", front, "--frozen", "--limit", "1", "--output",
      cells.file("frozen"))
    #expect(trained.status == 0, "\(trained.errors)")
    #expect(trained.errors.contains("topk:4"))
    let other = try await Tool.onReference(
      "segment", "train", "--images", cells.images, "--labels", cells.labels, "--code", "relu",
      "--pretrained", front, "--output", cells.file("other"))
    #expect(other.status == 64 && other.errors.contains("--code relu is not the pretrained"))
    let clustered = try await Tool.onReference(
      "segment", "cluster", "--model", front, "--images", cells.images, "--k", "3", "--labels",
      cells.labels, "--output", cells.file("clusters"), "--json")
    #expect(clustered.status == 0, "\(clustered.errors)")
    #expect(clustered.output.contains("\"miou\""))
    let mask = try ImageFile.read(cells.file("clusters/cells000.png"))
    #expect(Set(mask.samples).isSubset(of: [0, 1, 2]))
  }
}
