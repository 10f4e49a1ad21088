/// A class that pixels may belong to, as shown to people.
package struct LabelClass: Sendable, Equatable {
  package let name: String
  /// Nil for what is not to be coloured, as a background.
  package let colour: Colour?

  package init(name: String, colour: Colour?) {
    self.name = name
    self.colour = colour
  }
}

/// Classes of pixels drawn over the image that they were found in.
package enum LabelOverlay {
  /// The image with a light tint on the pixels of every class that has a colour, and with outlines
  /// of two pixels where classes meet, one on either side: in the own class's colour, or else in the
  /// neighbour's.
  ///
  /// - Parameters:
  ///   - labels: One channel, as large as the image; a label is an index into `classes`, and one
  ///     beyond them is an unlabelled pixel, which has no colour.
  ///   - tint: The share of the class's colour within the outlines.
  package static func outlined(
    _ image: Image, labels: Image, classes: [LabelClass], tint: Double = 0.22
  ) -> Image {
    precondition(
      labels.channels == 1 && labels.width == image.width && labels.height == image.height,
      "one label for each pixel")
    func colour(_ label: UInt8) -> Colour? {
      Int(label) < classes.count ? classes[Int(label)].colour : nil
    }
    let colours = (0...255).map { colour(UInt8($0)) }
    var drawn = image.expandedToRGB()
    let (width, height) = (image.width, image.height)
    for y in 0..<height {
      for x in 0..<width {
        let pixel = y * width + x
        let own = labels.samples[pixel]
        var line: Colour?
        for (inside, step) in [
          (x > 0, -1), (x < width - 1, 1), (y > 0, -width), (y < height - 1, width),
        ] where inside && line == nil {
          let other = labels.samples[pixel + step]
          if other != own { line = colours[Int(own)] ?? colours[Int(other)] }
        }
        guard let colour = line ?? colours[Int(own)] else { continue }
        let before = Colour(
          drawn.samples[3 * pixel], drawn.samples[3 * pixel + 1], drawn.samples[3 * pixel + 2])
        let after = before.mixed(with: colour, share: line == nil ? tint : 1)
        drawn.samples[3 * pixel] = after.red
        drawn.samples[3 * pixel + 1] = after.green
        drawn.samples[3 * pixel + 2] = after.blue
      }
    }
    return drawn
  }

  /// A swatch and the name of every class with a colour, in as many lines as fit `width`; wider only
  /// where a single name is.
  package static func legend(_ classes: [LabelClass], width: Int, scale: Int = 2) -> Image {
    let entries = classes.compactMap { entry in entry.colour.map { (entry.name, $0) } }
    let (swatch, gap) = (BitmapFont.ascent * scale + scale, 4 * scale)
    let lineHeight = BitmapFont.height * scale + gap
    var places: [(x: Int, line: Int)] = []
    var (x, line, right) = (gap, 0, width)
    for (name, _) in entries {
      let length = swatch + gap + BitmapFont.width(of: name) * scale + 3 * gap
      if x > gap, x + length - 2 * gap > width { (x, line) = (gap, line + 1) }
      places.append((x, line))
      x += length
      right = max(right, x - 2 * gap)
    }
    var canvas = Canvas(width: right, height: (line + 1) * lineHeight + gap)
    for ((name, colour), place) in zip(entries, places) {
      let top = gap + place.line * lineHeight
      let area = Canvas.Area(x: place.x, y: top - scale / 2, width: swatch, height: swatch)
      canvas.fill(area, colour)
      canvas.frame(area, Colour(grey: 90))
      canvas.text(name, x: place.x + swatch + gap, y: top, scale: scale, Colour(grey: 40))
    }
    return canvas.image
  }

  /// The overlay with its legend below.
  package static func picture(
    _ image: Image, labels: Image, classes: [LabelClass], tint: Double = 0.22
  ) -> Image {
    let overlay = outlined(image, labels: labels, classes: classes, tint: tint)
    return Panels.stacked([overlay, legend(classes, width: image.width)])
  }
}
