/// Pictures put together on white.
package enum Panels {
  /// One above the other, at the left.
  package static func stacked(_ images: [Image], spacing: Int = 0) -> Image {
    precondition(!images.isEmpty, "a picture needs an image")
    let width = images.map(\.width).max() ?? 1
    let height = images.map(\.height).reduce(0, +) + spacing * (images.count - 1)
    var canvas = Canvas(width: width, height: height)
    var top = 0
    for image in images {
      canvas.place(image, x: 0, y: top)
      top += image.height + spacing
    }
    return canvas.image
  }

  /// Side by side from the top, each below its caption.
  package static func sideBySide(
    _ panels: [(caption: String, image: Image)], spacing: Int = 12, scale: Int = 2
  ) -> Image {
    precondition(!panels.isEmpty, "a picture needs an image")
    let head = (BitmapFont.height + 2) * scale
    let widths = panels.map { panel in
      max(panel.image.width, BitmapFont.width(of: panel.caption) * scale)
    }
    let tallest = panels.map(\.image.height).max() ?? 1
    var canvas = Canvas(
      width: widths.reduce(spacing) { $0 + $1 + spacing }, height: 2 * spacing + head + tallest)
    var left = spacing
    for (panel, width) in zip(panels, widths) {
      canvas.text(panel.caption, x: left, y: spacing, scale: scale, Colour(grey: 40))
      canvas.place(panel.image, x: left, y: spacing + head)
      left += width + spacing
    }
    return canvas.image
  }

  /// "image | truth | prediction | probability" with captions and legends: what one looks at to
  /// judge a segmentation. Small images are enlarged to at least `minimumWidth` pixels.
  ///
  /// - Parameters:
  ///   - truth: Labels by hand, where there are any.
  ///   - probability: Of the class that `probabilityLabel` names, where it is to be shown.
  package static func comparison(
    image: Image, truth: Image? = nil, prediction: Image, classes: [LabelClass],
    probability: Raster<Float>? = nil, probabilityLabel: String = "probability",
    minimumWidth: Int = 256
  ) -> Image {
    let factor = max(1, (minimumWidth + image.width - 1) / image.width)
    let large = image.enlarged(by: factor)
    func overlay(_ labels: Image) -> Image {
      LabelOverlay.outlined(large, labels: labels.enlarged(by: factor), classes: classes)
    }
    let names = LabelOverlay.legend(classes, width: large.width)
    var panels = [(caption: "image", image: large)]
    if let truth { panels.append(("truth", stacked([overlay(truth), names]))) }
    panels.append(("prediction", stacked([overlay(prediction), names])))
    if let probability {
      let map = ProbabilityMap.coloured(probability).enlarged(by: factor)
      let bar = ProbabilityMap.legend(width: map.width, label: probabilityLabel)
      panels.append(("probability", stacked([map, bar])))
    }
    return sideBySide(panels)
  }
}
