import Compute
import Imaging

/// Pictures of segmentations for people.
package enum SegmentationPicture {
  /// The image with each class's colour laid over it.
  package static func overlay(
    _ image: SampleImage, labels: [UInt8], names: [String],
    normalisation: PercentileNormalisation
  ) -> Image {
    var picture = self.picture(of: normalisation(image)).expandedToRGB()
    for pixel in labels.indices where labels[pixel] != SegmentationLoss.ignored {
      let colour = Colour.series[Int(labels[pixel]) % Colour.series.count]
      for (c, value) in [colour.red, colour.green, colour.blue].enumerated() {
        picture.samples[3 * pixel + c] = UInt8(
          (Int(picture.samples[3 * pixel + c]) * 7 + Int(value) * 3) / 10)
      }
    }
    return picture
  }

  /// Normalised samples as an image, 0 black and 1 white; the first channel, or the first three.
  package static func picture(of image: SampleImage) -> Image {
    let kept = image.channels >= 3 ? 3 : 1
    var samples: [UInt8] = []
    samples.reserveCapacity(image.width * image.height * kept)
    for pixel in 0..<image.width * image.height {
      for c in 0..<kept {
        let value = image.samples[pixel * image.channels + c]
        samples.append(value >= 1 ? 255 : value > 0 ? UInt8((255 * value).rounded()) : 0)
      }
    }
    return Image(width: image.width, height: image.height, channels: kept, samples: samples)
  }

  /// A map of numbers from 0 to 1.
  package static func map(_ values: [Float], width: Int, height: Int, title: String) -> Image {
    Image(
      width: width, height: height, channels: 1,
      samples: values.map { $0 >= 1 ? 255 : $0 > 0 ? UInt8((255 * $0).rounded()) : 0 })
  }

  package static func comparison(
    _ image: SampleImage, truth: [UInt8]?, prediction: Prediction, classes: ClassMap,
    normalisation: PercentileNormalisation
  ) -> Image {
    let plain = picture(of: normalisation(image)).expandedToRGB()
    let parts = ([truth, prediction.labels]).map { labels in
      labels.map {
        overlay(image, labels: $0, names: classes.names, normalisation: normalisation)
      } ?? plain
    }
    return Montage.tiles([plain] + parts, columns: 3, spacing: 4)
  }
}
