import Compute
import Imaging

/// Pictures of segmentations for people.
package enum SegmentationPicture {
  /// The image with each class's outlines and a tint of its colour, and the legend below. Of several
  /// classes the first keeps its colour too: what is ground and what is figure nobody has said.
  package static func overlay(
    _ image: SampleImage, labels: [UInt8], names: [String],
    normalisation: PercentileNormalisation
  ) -> Image {
    LabelOverlay.picture(
      picture(of: normalisation(image)),
      labels: Image(
        width: image.width, height: image.height, channels: 1, samples: labels),
      classes: classes(names))
  }

  /// A map of numbers from 0 to 1 in colours, with a legend.
  package static func map(_ values: [Float], width: Int, height: Int, title: String) -> Image {
    ProbabilityMap.picture(
      Raster(width: width, height: height, channels: 1, samples: values), label: title)
  }

  /// The image, its labels where there are any, the prediction, and the probability of the last
  /// class.
  package static func comparison(
    _ image: SampleImage, truth: [UInt8]?, prediction: Prediction, classes: ClassMap,
    normalisation: PercentileNormalisation
  ) -> Image {
    func mask(_ labels: [UInt8]) -> Image {
      Image(width: image.width, height: image.height, channels: 1, samples: labels)
    }
    let last = prediction.classes - 1
    let probability = stride(
      from: last, to: prediction.probabilities.count, by: prediction.classes
    ).map { prediction.probabilities[$0] }
    return Panels.comparison(
      image: picture(of: normalisation(image)), truth: truth.map(mask),
      prediction: mask(prediction.labels), classes: self.classes(classes.names),
      probability: Raster(
        width: image.width, height: image.height, channels: 1, samples: probability),
      probabilityLabel: "probability of \(classes.names[last])")
  }

  private static func classes(_ names: [String]) -> [LabelClass] {
    names.enumerated().map { index, name in
      LabelClass(name: name, colour: Colour.series[index % Colour.series.count])
    }
  }

  /// Normalised samples as an image, 0 black and 1 white; the first channel, or the first three.
  static func picture(of image: SampleImage) -> Image {
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
}
