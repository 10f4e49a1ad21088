import Datasets

/// How far a set lies from zero, against how far its images lie from each other.
package struct InputStatistics: Equatable, Sendable {
  /// ||mu||: mu is the mean image.
  package let meanNorm: Double
  /// ||sigma||: sigma is each pixel's standard deviation, over the count.
  package let deviationNorm: Double

  /// ||mu|| / ||sigma||; infinite or NaN where all images are alike. Well above 1, the mean decides
  /// most of what a first layer without centring sees, and latents die.
  package var ratio: Double { meanNorm / deviationNorm }

  /// Of the set's pixels after `normalisation`, sums formed exactly from the bytes.
  package init(_ images: ImageSet, normalisation: Normalisation) {
    let width = images.featureCount
    var sums = [UInt64](repeating: 0, count: width)
    images.pixels.withUnsafeBufferPointer { pixels in
      for i in 0..<images.count {
        for j in 0..<width { sums[j] &+= UInt64(pixels[i * width + j]) }
      }
    }
    let (scale, shift) = (Double(normalisation.scale), Double(normalisation.shift))
    let squaredMean = sums.reduce(0.0) { total, sum in
      let mean = scale * (Double(sum) / Double(images.count)) + shift
      return total + mean * mean
    }
    let variation = Metrics.totalVariation(of: images, normalisation: normalisation)
    meanNorm = squaredMean.squareRoot()
    deviationNorm = (variation / Double(images.count)).squareRoot()
  }
}
