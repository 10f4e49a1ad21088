import ArgumentParser
import Foundation
import Imaging
import Segmentation

struct SegmentDraw: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "draw",
    abstract: "Draw microscope-like images of cells with their masks, to try things on.",
    discussion: """
      The output folder receives images/ and labels/, in which cytoplasm is 0, membrane 128 and \
      nucleus 255. The same seed draws the same images.

      Example:
        sparrow segment draw --count 12 --output cells
        sparrow segment train --images cells/images --labels cells/labels \\
          --limit 2 --classes cytoplasm=0,membrane=128,nucleus=255 \\
          --steps 100 --output runs/cells
      """)

  @Option(parsing: .unconditional, help: "How many images.") var count = 12
  @Option(parsing: .unconditional, help: "Their height and width in pixels.") var size = 256
  @Option(parsing: .unconditional, help: "The seed.") var seed: UInt64 = 0
  @Option(
    help: ArgumentHelp("The folder to write; made where absent.", valueName: "folder"),
    completion: .directory)
  var output: String

  func validate() throws {
    try requirePositive(count, "--count")
    guard (16...8192).contains(size) else {
      throw ValidationError("--size must be from 16 to 8192, not \(size)")
    }
    try requirePath(output, "--output")
  }

  private static func name(_ index: Int) -> String { String(format: "cells%03d.png", index) }

  func run() throws {
    for part in ["images", "labels"] {
      let folder = "\(output)/\(part)"
      try Folder.requireWritable(in: folder, given: output)
      // What is drawn would be taken together with them.
      let others =
        try FileManager.default.fileExists(atPath: folder) ? Folder.entries(of: folder) : []
      let drawn = Set((0..<count).map(Self.name))
      if let other = others.map(\.name).filter({ !drawn.contains($0) }).min() {
        throw FileError(
          path: folder, reason: "holds other files, such as \(other); choose another --output")
      }
    }
    for path in [output, "\(output)/images", "\(output)/labels"] { try Folder.make(path) }
    let generator = CellGenerator(seed: seed)
    let progress = FileProgress("drawing")
    for index in 0..<count {
      let picture = generator.picture(index, width: size, height: size)
      let name = Self.name(index)
      try ImageFile.writePNG(picture.image, to: "\(output)/images/\(name)")
      try ImageFile.writePNG(picture.labels, to: "\(output)/labels/\(name)")
      progress.show(index + 1, of: count)
    }
    progress.finish()
    try Console.result(
      "Written: \(counted(count, "image")) and \(count == 1 ? "its mask" : "their masks") to \(output)"
    )
  }
}
