import Foundation
import Imaging

/// The pictures of an inspection.
package enum InspectionPictures {
  /// More pixels than this are not drawn in one picture.
  private static let pixelLimit = 1 << 24
  private static let ink = Colour(grey: 40)
  private static let faint = Colour(grey: 110)
  private static let gutter = Colour(grey: 215)
  private static let margin = 12

  // MARK: Tiles

  /// An atom as an image: 0 is white, positive values red, negative ones blue; in RGB, 0 is grey
  /// and each channel goes up or down by itself. The largest |value| has the strongest colour.
  package static func tile(_ atom: [Float], width: Int, height: Int, channels: Int) -> Image {
    precondition(atom.count == width * height * channels, "an atom fills an image")
    let largest = atom.reduce(0) { max($0, abs($1)) }
    let scaled = atom.map { largest > 0 && $0.isFinite ? Double($0 / largest) : 0 }
    let samples =
      channels == 3
      ? scaled.map { UInt8((127.5 + 127.5 * max(-1, min(1, $0))).rounded()) }
      : scaled.flatMap { value -> [UInt8] in
        let colour = Colour.diverging(value)
        return [colour.red, colour.green, colour.blue]
      }
    return Image(width: width, height: height, channels: 3, samples: samples)
  }

  /// What stands for a latent that never fires: grey, crossed out.
  package static func deadTile(width: Int, height: Int) -> Image {
    var canvas = Canvas(width: width, height: height, background: Colour(grey: 190))
    let (right, bottom) = (Double(width), Double(height))
    let inset = Double(min(width, height)) * 0.3
    for (y, end) in [(inset, bottom - inset), (bottom - inset, inset)] {
      canvas.stroke(
        [Canvas.Point(inset, y), Canvas.Point(right - inset, end)],
        width: max(1, right / 28), Colour(grey: 150))
    }
    return canvas.image
  }

  /// `image` brought to about `side` pixels by a whole factor.
  static func fitted(_ image: Image, side: Int) -> Image {
    let largest = max(image.width, image.height)
    return largest <= side
      ? image.enlarged(by: side / largest) : image.reduced(by: (largest + side - 1) / side)
  }

  // MARK: Dictionary

  /// How many tiles of images of this size a dictionary's picture may have.
  package static func dictionaryLimit(width: Int, height: Int) -> Int {
    let side = min(max(width, height), 28) + 1
    return pixelLimit / (side * side)
  }

  /// Atoms as tiles in rows from the top left; nil is a dead latent.
  package static func dictionary(
    _ atoms: [[Float]?], width: Int, height: Int, channels: Int, caption: [String]
  ) -> Image {
    precondition(!atoms.isEmpty, "a dictionary has atoms")
    let side = atoms.count <= 256 ? 56 : 28
    let tiles = atoms.map { atom in
      atom.map { fitted(tile($0, width: width, height: height, channels: channels), side: side) }
    }
    let size = fitted(
      Image(
        width: width, height: height, channels: 1,
        samples: Array(repeating: 0, count: width * height)), side: side)
    let dead = deadTile(width: size.width, height: size.height)
    let root = Int(Double(atoms.count).squareRoot().rounded(.up))
    let montage = Montage.tiles(
      tiles.map { $0 ?? dead }, columns: max(16, root), spacing: atoms.count <= 256 ? 2 : 1,
      background: gutter.red)
    return captioned(montage, caption)
  }

  /// The picture on white with lines of text above it.
  private static func captioned(_ picture: Image, _ lines: [String]) -> Image {
    let widest = lines.map(BitmapFont.width).max() ?? 0
    let scale = 2 * widest <= picture.width ? 2 : 1
    let lineHeight = BitmapFont.height * scale + 4
    let top = lines.isEmpty ? margin : margin + lines.count * lineHeight + 4
    var canvas = Canvas(
      width: max(picture.width, widest * scale) + 2 * margin,
      height: picture.height + top + margin)
    for (index, line) in lines.enumerated() {
      canvas.text(
        line, x: margin, y: margin + index * lineHeight, scale: scale,
        index == 0 ? ink : faint)
    }
    canvas.place(picture, x: margin, y: top)
    return canvas.image
  }

  // MARK: Exciters

  /// A latent, its atom (nil where it is dead) and the images that excite it most.
  package struct ExciterRow {
    package let latent: Int
    package let frequency: Double
    package let atom: [Float]?
    package let images: [Image]

    package init(latent: Int, frequency: Double, atom: [Float]?, images: [Image]) {
      self.latent = latent
      self.frequency = frequency
      self.atom = atom
      self.images = images
    }
  }

  /// A row for each latent: number and frequency, its atom, its images.
  package static func exciters(
    _ rows: [ExciterRow], width: Int, height: Int, channels: Int, caption: [String]
  ) -> Image {
    let side = 56
    let blank = fitted(
      Image(
        width: width, height: height, channels: 1,
        samples: Array(repeating: 255, count: width * height)), side: side)
    let (cellWidth, cellHeight) = (blank.width, max(blank.height, 44))
    let labelWidth = 84
    let (gap, space) = (14, 3)
    let columns = rows.map(\.images.count).max() ?? 0
    var canvas = Canvas(
      width: labelWidth + cellWidth + gap + max(1, columns) * (cellWidth + space),
      height: max(1, rows.count * (cellHeight + space)))
    for (index, row) in rows.enumerated() {
      let top = index * (cellHeight + space)
      let middle = top + cellHeight / 2
      canvas.text("#\(row.latent)", x: 0, y: middle - 19, scale: 2, ink, bold: true)
      canvas.text(percentage(row.frequency), x: 0, y: middle + 4, scale: 2, faint)
      let atom = row.atom.map {
        fitted(tile($0, width: width, height: height, channels: channels), side: side)
      }
      canvas.place(
        atom ?? deadTile(width: blank.width, height: blank.height), x: labelWidth, y: top)
      canvas.frame(
        Canvas.Area(x: labelWidth, y: top, width: blank.width, height: blank.height), gutter)
      for (column, image) in row.images.enumerated() {
        canvas.place(
          fitted(image, side: side), x: labelWidth + cellWidth + gap + column * (cellWidth + space),
          y: top)
      }
    }
    return captioned(canvas.image, caption)
  }

  private static func percentage(_ share: Double) -> String {
    let percent = share * 100
    return String(format: percent >= 10 ? "%.1f %%" : "%.2g %%", percent)
  }

  // MARK: Plots

  /// How often latents fire, on a logarithmic scale; dead ones as a bar of their own at the left.
  package static func firingPlot(_ histogram: FiringHistogram) -> Plot {
    let latents = histogram.counts.reduce(histogram.dead, +)
    var plot = Plot(
      "Firing frequency of \(latents) latents",
      subtitle: "\(histogram.dead) dead, never active on these images",
      x: PlotAxis("share of images that a latent is active on", scale: .logarithmic),
      y: PlotAxis("latents", isWhole: true))
    let edges = histogram.edges
    plot.add(
      zip(histogram.counts, zip(edges, edges.dropFirst())).map { count, edges in
        Plot.Bar(edges.0, edges.1, height: Double(count))
      })
    if histogram.dead > 0, let start = edges.first {
      // Far enough from the first bin for the numbers below to stay apart.
      let step = pow(10, 0.1)
      let centre = start / pow(step, 1.5 + 0.07 * Double(histogram.counts.count))
      let half = step.squareRoot()
      plot.add([
        Plot.Bar(
          centre / half, centre * half, height: Double(histogram.dead), colour: Colour(grey: 150))
      ])
      plot.x.marks = [(centre, "dead")]
      plot.x.firstTick = start * (1 - 1e-9)
      plot.x.range = centre / (step * half)...half
    } else if let start = edges.first {
      plot.x.range = start / pow(10, 0.05)...pow(10, 0.05)
    }
    return plot
  }

  /// How many latents are active in an image.
  package static func l0Plot(_ summary: L0Summary, latents: Int) -> Plot {
    let images = summary.histogram.reduce(0, +)
    var plot = Plot(
      "Active latents of \(images) images",
      subtitle: String(
        format: "L0 mean %.2f, standard deviation %.2f, of \(latents)", summary.mean,
        summary.deviation),
      x: PlotAxis("active latents of an image", isWhole: true),
      y: PlotAxis("images", isWhole: true))
    // At most 80 bars, each over the same number of values.
    let (first, last) = (summary.minimum, summary.maximum)
    let width = (last - first) / 80 + 1
    plot.add(
      stride(from: first, through: last, by: width).map { start in
        let end = min(start + width, last + 1)
        return Plot.Bar(
          Double(start) - 0.5, Double(start + width) - 0.5,
          height: Double(summary.histogram[start..<end].reduce(0, +)))
      })
    let room = Double(max(2, (last - first) / 20))
    plot.x.range = Double(first) - 0.5 - room...Double(last + width) - 0.5 + room
    return plot
  }
}
