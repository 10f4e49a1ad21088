import Foundation
import Imaging
import TestSupport
import Testing

/// What segmentation refuses, and says, and leaves as it was.
@Suite struct SegmentRefusalTests {
  /// A table of figures replaces one of before, and nothing else.
  @Test func theTableOfFiguresReplacesNothingElse() async throws {
    let cells = try await Cells.shared.value
    let labels = cells.file("table-labels")
    try FileManager.default.copyItem(atPath: cells.labels, toPath: labels)
    let label = labels + "/cells000.png"
    let (before, metrics) = (try bytes(of: label), try bytes(of: cells.model + "/metrics.csv"))
    func evaluate(_ csv: String) async throws -> Tool.Outcome {
      try await Tool.run(
        "segment", "evaluate", "--predictions", cells.labels, "--labels", labels, "--csv", csv)
    }
    for path in [label, cells.model + "/metrics.csv", cells.model + "/model.safetensors"] {
      expectFailure(try await evaluate(path), path, "is there and holds no figures of images")
    }
    #expect(try bytes(of: label) == before)
    #expect(try bytes(of: cells.model + "/metrics.csv") == metrics)
    let table = cells.file("table.csv")
    for content in ["image,pixels,accuracy,miou,iou_a\n", ""] {
      try content.write(toFile: table, atomically: true, encoding: .utf8)
      #expect(try await evaluate(table).status == 0)
      #expect(try text(of: table).hasPrefix("image,pixels,accuracy,miou,iou_0,"))
    }
  }

  /// A terminal is told what a name is, and is not made to obey it; JSON stays JSON.
  @Test func namesAreShownAndDoNothing() async throws {
    let cells = try await Cells.shared.value
    let folder = cells.file("odd-names")
    try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    let name = "x\u{7F}y\u{1B}[31m"
    try FileManager.default.copyItem(
      atPath: cells.labels + "/cells000.png", toPath: "\(folder)/\(name).png")
    let outcome = try await Tool.run(
      "segment", "evaluate", "--predictions", folder, "--labels", folder, "--json")
    #expect(outcome.status == 0)
    #expect(!outcome.output.unicodeScalars.contains { $0.value == 0x7F || $0.value == 0x1B })
    let json = try JSONSerialization.jsonObject(with: Data(outcome.output.utf8))
    let images = try #require((json as? [String: Any])?["images"] as? [[String: Any]])
    #expect(images.first?["name"] as? String == name)
    let table = try await Tool.run(
      "segment", "evaluate", "--predictions", folder, "--labels", folder, "--classes",
      "a\u{1B}[2J=0,b=128,c=255")
    #expect(table.output.contains("a\\u001b[2J"), "\(table)")
  }

  /// What is written among the images would be an image of the next command.
  @Test func aRunIsNotAFolderThatIsRead() async throws {
    let cells = try await Cells.shared.value
    for (verb, folder) in [
      ("train", cells.images), ("train", cells.labels), ("pretrain", cells.images),
    ] {
      let labels = verb == "train" ? ["--labels", cells.labels] : []
      let outcome = try await Tool.run(
        ["segment", verb, "--images", cells.images, "--steps", "1", "--device", "reference"]
          + labels + ["--output", folder])
      expectFailure(outcome, folder, "is what is read from; choose another --output")
    }
  }

  /// Without a penalty the code would be that of relu.
  @Test func aPenaltyNeedsAFrontEnd() async throws {
    let cells = try await Cells.shared.value
    let outcome = try await Tool.onReference(
      "segment", "train", "--images", cells.images, "--labels", cells.labels, "--code", "l1",
      "--steps", "1", "--preset", "small", "--output", cells.file("l1"))
    #expect(outcome.status == 64 && outcome.errors.contains("--code l1 is relu where labels alone"))
    #expect(cells.training.errors.contains("code topk:8 of 32"))
  }

  /// Before the work, not after it.
  @Test func aTableWithoutAPlaceIsRefused() async throws {
    let cells = try await Cells.shared.value
    for (file, words) in [
      (cells.file("absent/x.csv"), "there is no folder \(cells.file("absent"))"),
      (cells.folder, "it is a folder"),
    ] {
      let outcome = try await Tool.onReference(
        "segment", "evaluate", "--model", cells.model, "--images", cells.images, "--labels",
        cells.labels, "--csv", file)
      expectFailure(outcome, "\(file): cannot write: \(words)")
      #expect(outcome.deviceLine == "", "\(outcome.errors)")
    }
  }

  /// Labels that this machine has room for, but not the images.
  @Test func cropsThatNoMemoryHoldsAreAnError() async throws {
    let cells = try await Cells.shared.value
    let half = Int(clamping: ProcessInfo.processInfo.physicalMemory / 2)
    let side = min(1 << 16, Int(Double(half).squareRoot()) / 8 * 8)
    let outcome = try await Tool.onReference(
      "segment", "train", "--images", cells.images, "--labels", cells.labels, "--crop", "\(side)",
      "--batch", "\(max(1, half / (side * side)))", "--steps", "1", "--output",
      cells.file("large"))
    expectFailure(
      outcome, "out of memory (a smaller batch, crop or size takes less)", "this machine has")
  }

  /// Whatever folder is given: the images stay.
  @Test func imagesAreNeverReplaced() async throws {
    let cells = try await Cells.shared.value
    let copy = try TemporaryFolder()
    let images = try FileManager.default.contentsOfDirectory(atPath: cells.images).sorted()
    for name in images { try copy.write(bytes(of: "\(cells.images)/\(name)"), to: name) }
    let outcome = try await Tool.onReference(
      "segment", "predict", "--model", cells.model, "--images", copy.path, "--output",
      copy.path + "/../" + URL(fileURLWithPath: copy.path).lastPathComponent)
    #expect(outcome.status == 1 && outcome.output == "", "\(outcome.errors)")
    #expect(outcome.errors.contains("which is one of the files to read"), "\(outcome.errors)")
    #expect(copy.names.sorted() == images)
    for name in images {
      #expect(try bytes(of: copy.file(name)) == bytes(of: "\(cells.images)/\(name)"))
    }
    // Nor are masks of other images: of a picture beside a mask and an image that is called so.
    let two = try TemporaryFolder()
    for name in ["a.png", "a-overlay.png"] {
      try two.write(bytes(of: "\(cells.images)/\(images[0])"), to: name)
    }
    let collision = try await Tool.onReference(
      "segment", "predict", "--model", cells.model, "--images", two.path, "--output",
      cells.file("collision"), "--overlay")
    #expect(collision.status == 1 && collision.output.contains("Written: 1 mask to"))
    #expect(
      collision.errors.contains(
        "a-overlay.png: its result would replace \(cells.file("collision/a-overlay.png")), "
          + "that of \(two.file("a.png"))"), "\(collision.errors)")
  }

  /// Nor labels, nor the images of a model's own verbs.
  @Test func whatIsReadIsNeverReplaced() async throws {
    let cells = try await Cells.shared.value
    let folder = try TemporaryFolder()
    let front = folder.file("front")
    let pretraining = try await Tool.onReference(
      "segment", "pretrain", "--images", cells.images, "--preset", "small", "--steps", "1",
      "--batch", "1", "--crop", "32", "--output", front)
    try #require(pretraining.status == 0, "\(pretraining.errors)")
    for (source, kind) in [(cells.images, "images"), (cells.labels, "labels")] {
      _ = try folder.makeFolder(kind)
      for name in try FileManager.default.contentsOfDirectory(atPath: source) {
        try folder.write(bytes(of: "\(source)/\(name)"), to: "\(kind)/\(name)")
      }
    }
    let (images, labels) = (folder.file("images"), folder.file("labels"))
    let before = folder.names.sorted()
    for output in [images, labels] {
      let outcome = try await Tool.onReference(
        "segment", "cluster", "--model", front, "--images", images, "--labels", labels, "--k", "2",
        "--output", output)
      expectFailure(outcome, "which is one of the files to read")
    }
    let model = folder.file("m/model.safetensors")
    let training = try await Tool.onReference(
      "train", "--data", "images:\(images)", "--epochs", "1", "--batch", "2", "--layers",
      "2304-8-4-8-2304", "--output", folder.file("m"))
    try #require(training.status == 0, "\(training.errors)")
    for verb in ["reconstruct", "inspect"] {
      let outcome = try await Tool.onReference(
        verb, "--model", model, "--data", "images:\(images)", "--force", "--output", images)
      expectFailure(outcome, "is what is read from; choose another --output")
    }
    for output in [model, "\(images)/cells000.png"] {
      let outcome = try await Tool.onReference(
        "encode", "--model", model, "--data", "images:\(images)", "--force", "--output", output)
      expectFailure(outcome, "\(output): is what is read from; choose another --output")
    }
    #expect(folder.names.filter { !$0.hasPrefix("m") }.sorted() == before)
    for name in try FileManager.default.contentsOfDirectory(atPath: cells.images) {
      #expect(try bytes(of: "\(images)/\(name)") == bytes(of: "\(cells.images)/\(name)"))
      #expect(try bytes(of: "\(labels)/\(name)") == bytes(of: "\(cells.labels)/\(name)"))
    }
    // An image that cannot be read takes nothing from the others' figures.
    try folder.write(
      Array(bytes(of: "\(images)/cells001.png").prefix(100)), to: "images/cells001.png")
    let scored = try await Tool.onReference(
      "segment", "cluster", "--model", front, "--images", images, "--labels", labels, "--k", "2",
      "--output", folder.file("clusters"))
    #expect(scored.status == 1 && scored.output.contains("Written: 2 masks"), "\(scored.errors)")
    #expect(scored.errors.contains("1 file could not be used"), "\(scored.errors)")
    // What is drawn is not to be taken together with other images.
    let drawn = try await Tool.run(
      "segment", "draw", "--count", "2", "--size", "48", "--output", folder.path)
    expectFailure(drawn, "holds other files, such as cells002.png; choose another --output")
  }

  @Test func aSegmenterThatDivergesIsNoSuccess() async throws {
    let cells = try await Cells.shared.value
    let folder = try TemporaryFolder()
    let settings = [
      "--learning-rate", "1e30", "--steps", "1", "--batch", "1", "--crop", "32", "--preset",
      "small", "--device", "reference", "--images", cells.images,
    ]
    for verb in [["train", "--labels", cells.labels], ["pretrain"]] {
      let outcome = try await Tool.run(
        ["segment"] + verb + settings + ["--output", folder.file(verb[0])])
      #expect(
        outcome.status == 1 && outcome.output == ""
          && outcome.errors.contains("is no finite number: its training diverged"),
        "\(outcome.errors)")
    }
    #expect(!folder.names.contains { $0.hasSuffix("model.safetensors") }, "\(folder.names)")
  }

  @Test func labelsWithoutAClassAreAnError() async throws {
    let cells = try await Cells.shared.value
    let folder = try TemporaryFolder()
    let labels = try folder.makeFolder("labels")
    let names = try FileManager.default.contentsOfDirectory(atPath: cells.labels).sorted()
    func write(_ values: [UInt8]) throws {
      for (name, value) in zip(names, values) {
        try ImageFile.writePNG(
          Image(
            width: 48, height: 48, channels: 1, samples: .init(repeating: value, count: 48 * 48)),
          to: "\(labels)/\(name)")
      }
    }
    func run(_ verb: String) async throws -> Tool.Outcome {
      try await Tool.run(
        [
          "segment", verb, "--images", cells.images, "--labels", labels, "--classes", "a=1,b=2",
          "--ignore", "0", "--steps", "1", "--batch", "1", "--preset", "small", "--device",
          "reference",
        ] + (verb == "train" ? ["--output", folder.file("run")] : []))
    }
    try write([0, 0, 0])
    for verb in ["train", "compare"] {
      expectFailure(try await run(verb), "\(labels): no pixel is labelled as any of a=1,b=2")
    }
    try write([1, 0, 0])
    let some = try await run("train")
    #expect(
      some.status == 0 && some.errors.contains("Warning: no pixel is labelled as b"),
      "\(some.errors)")
    let folds = try await run("compare")
    #expect(folds.status == 1 && folds.errors.contains("no pixel of the images to train on is"))
  }

  /// A mask of another program with the value that means unlabelled.
  @Test func aMaskWithoutAClassIsNamed() async throws {
    let folder = try TemporaryFolder()
    for (name, values) in [("masks", [0, 1, 9, 1]), ("labels", [0, 1, 1, 9])] as [(String, [UInt8])]
    {
      let path = try folder.makeFolder(name) + "/m.png"
      try ImageFile.writePNG(
        Image(width: 2, height: 2, channels: 1, samples: values), to: path)
    }
    let outcome = try await Tool.run(
      "segment", "evaluate", "--predictions", folder.file("masks"), "--labels",
      folder.file("labels"), "--classes", "a=0,b=1", "--ignore", "9")
    expectFailure(
      outcome, "masks/m.png: has an ignored value at x 0, y 1, where the label says b")
  }

  @Test func aCorruptFileIsNamedAndTheRestIsDone() async throws {
    let cells = try await Cells.shared.value
    let folder = cells.file("corrupt")
    try FileManager.default.copyItem(atPath: cells.images, toPath: folder)
    let bytes = try Data(contentsOf: URL(fileURLWithPath: folder + "/cells001.png"))
    try bytes.prefix(600).write(to: URL(fileURLWithPath: folder + "/cells001.png"))
    let output = cells.file("rest")
    let run = try await Tool.onReference(
      "segment", "predict", "--model", cells.model, "--images", folder, "--output", output)
    #expect(run.status == 1)
    #expect(run.output.contains("2 masks"))
    #expect(run.errors.contains("\(folder)/cells001.png"))
    #expect(FileManager.default.fileExists(atPath: output + "/cells002.png"))
    #expect(!FileManager.default.fileExists(atPath: output + "/cells001.png"))
  }

  /// Links that lead nowhere or in a circle, and a name that is no text.
  @Test func filesThatCannotBeOpenedAreNamed() async throws {
    let cells = try await Cells.shared.value
    let folder = cells.file("unopened")
    try FileManager.default.copyItem(atPath: cells.images, toPath: folder)
    for (name, target) in [("broken.png", "nowhere.png"), ("loop.png", "loop.png")] {
      #expect(symlink(target, "\(folder)/\(name)") == 0)
    }
    let name = "\(folder)/a".utf8CString.dropLast() + [-1, -2] + ".png".utf8CString
    // Some file systems have no such names.
    guard link("\(folder)/cells000.png", Array(name)) == 0 else { return }
    let expected = [
      "\(folder)/a\\xFF\\xFE.png: cannot open: its name is not UTF-8",
      "\(folder)/broken.png: cannot open: No such file or directory",
      "\(folder)/loop.png: cannot open: Too many levels of symbolic links",
    ]
    let runs = [
      [
        "predict", "--model", cells.model, "--images", folder, "--output", cells.file("opened"),
      ],
      [
        "pretrain", "--images", folder, "--preset", "small", "--steps", "1", "--batch", "1",
        "--output", cells.file("openedfront"),
      ],
    ]
    for run in runs {
      let outcome = try await Tool.run(["segment"] + run + ["--device", "reference"])
      #expect(outcome.status == 1)
      #expect(outcome.output.contains("Written: "))
      #expect(
        outcome.errorLines.suffix(4) == ["3 files could not be used:"] + expected.map { "  " + $0 })
    }
  }

  @Test(arguments: [
    (["--limit", "9"], 1, "--limit 9"),
    (["--classes", "a=0,b=128"], 1, "no class has the value 255"),
    (["--classes", "a=0"], 64, "--classes a=0"), (["--code", "topk:500"], 64, "topk:500"),
    (["--outlines", "15"], 1, "between two classes; there are 3"),
    (["--outlines", "101"], 64, "not within 0 and 100"),
    (["--frozen"], 64, "--pretrained"), (["--steps", "0"], 64, "--steps"),
    (["--steps", "3", "--minutes", "1"], 64, "exclude"), (["--dice", "-1"], 64, "--dice"),
    (["--crop", "50"], 64, "--crop must be a multiple of 8, not 50"),
    (["--ignore", "70000"], 64, "--ignore"),
  ])
  func badOptionsGetOneClearLine(options: [String], status: Int, words: String) async throws {
    let cells = try await Cells.shared.value
    let run = try await Tool.run(
      [
        "segment", "train", "--images", cells.images, "--labels", cells.labels, "--device",
        "reference", "--output", cells.file("never"),
      ] + options)
    #expect(Int(run.status) == status, "\(run.errors)")
    let lines = run.errorLines.filter { $0.hasPrefix("Error: ") }
    #expect(lines.count == 1 && lines[0].contains(words), "\(run.errors)")
    #expect(!FileManager.default.fileExists(atPath: cells.file("never")))
  }

  @Test func mismatchedFoldersAndModelsAreNamed() async throws {
    let cells = try await Cells.shared.value
    let few = cells.file("few")
    try FileManager.default.createDirectory(atPath: few, withIntermediateDirectories: true)
    try FileManager.default.copyItem(
      atPath: cells.labels + "/cells000.png", toPath: few + "/cells000.png")
    let unmatched = try await Tool.onReference(
      "segment", "train", "--images", cells.images, "--labels", few, "--output",
      cells.file("no"))
    #expect(unmatched.status == 1 && unmatched.errors.contains("2 images have no label"))
    let wrong = try await Tool.onReference(
      "segment", "cluster", "--model", cells.model, "--images", cells.images, "--k", "2",
      "--output", cells.file("no"))
    #expect(wrong.status == 1 && wrong.errors.contains("of the format \"segmentation 1\""))
    let colour = cells.file("colour")
    try FileManager.default.createDirectory(atPath: colour, withIntermediateDirectories: true)
    try ImageFile.writePNG(
      Image(width: 8, height: 8, channels: 3, samples: [UInt8](repeating: 9, count: 192)),
      to: colour + "/a.png")
    let rgb = try await Tool.onReference(
      "segment", "predict", "--model", cells.model, "--images", colour, "--output",
      cells.file("no"))
    #expect(rgb.status == 1 && rgb.errors.contains("3 channels, but the model takes"))
  }
}
