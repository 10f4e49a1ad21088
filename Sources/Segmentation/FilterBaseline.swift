import Compute
import Foundation
import RandomNumbers
import Training

/// What an image looks like around each pixel at several scales, by filters that nobody trained: the
/// image itself and, of its convolution with a Gaussian of deviation sigma, the value, the norm of
/// the gradient, the Laplacian and the two eigenvalues of the Hessian.
package enum MultiscaleFilters {
  package static let sigmas: [Float] = [1, 2, 4, 8]
  /// For each channel of an image.
  package static var featuresPerChannel: Int { 1 + 5 * sigmas.count }

  /// `[height, width, channels * featuresPerChannel]`
  ///
  /// - Parameter image: normalised.
  package static func features(of image: SampleImage) -> [Float] {
    let (width, height) = (image.width, image.height)
    let total = image.channels * featuresPerChannel
    var result = [Float](repeating: 0, count: width * height * total)
    for c in 0..<image.channels {
      let plane = (0..<width * height).map { image.samples[$0 * image.channels + c] }
      var feature = c * featuresPerChannel
      func store(_ values: [Float]) {
        for pixel in values.indices { result[pixel * total + feature] = values[pixel] }
        feature += 1
      }
      store(plane)
      for sigma in sigmas {
        let smooth = blurred(plane, width: width, height: height, sigma: sigma)
        store(smooth)
        let count = smooth.count
        var (slope, laplacian) = (
          [Float](repeating: 0, count: count), [Float](repeating: 0, count: count)
        )
        var (larger, smaller) = (laplacian, laplacian)
        smooth.withUnsafeBufferPointer { s in
          for y in 0..<height {
            let (up, down) = (max(0, y - 1) * width, min(height - 1, y + 1) * width)
            for x in 0..<width {
              let (left, right) = (max(0, x - 1), min(width - 1, x + 1))
              let here = s[y * width + x]
              let dx = (s[y * width + right] - s[y * width + left]) / 2
              let dy = (s[down + x] - s[up + x]) / 2
              let dxx = s[y * width + right] - 2 * here + s[y * width + left]
              let dyy = s[down + x] - 2 * here + s[up + x]
              let dxy = (s[down + right] - s[down + left] - s[up + right] + s[up + left]) / 4
              let root = ((dxx - dyy) * (dxx - dyy) / 4 + dxy * dxy).squareRoot()
              let pixel = y * width + x
              // Scaled so that structures of the filter's size answer alike at all scales.
              slope[pixel] = sigma * (dx * dx + dy * dy).squareRoot()
              laplacian[pixel] = sigma * sigma * (dxx + dyy)
              larger[pixel] = sigma * sigma * ((dxx + dyy) / 2 + root)
              smaller[pixel] = sigma * sigma * ((dxx + dyy) / 2 - root)
            }
          }
        }
        for values in [slope, laplacian, larger, smaller] { store(values) }
      }
    }
    return result
  }

  /// Convolution with a Gaussian cut off at three deviations; edges are repeated.
  private static func blurred(
    _ plane: [Float], width: Int, height: Int, sigma: Float
  ) -> [Float] {
    let radius = Int((3 * sigma).rounded(.up))
    var kernel = (-radius...radius).map { exp(-Float($0 * $0) / (2 * sigma * sigma)) }
    let sum = kernel.reduce(0, +)
    kernel = kernel.map { $0 / sum }
    func pass(_ source: [Float], across: Bool) -> [Float] {
      [Float](unsafeUninitializedCapacity: source.count) { target, initialized in
        source.withUnsafeBufferPointer { source in
          kernel.withUnsafeBufferPointer { kernel in
            for y in 0..<height {
              for x in 0..<width {
                var value: Float = 0
                for k in 0...2 * radius {
                  let place =
                    across
                    ? y * width + min(max(x + k - radius, 0), width - 1)
                    : min(max(y + k - radius, 0), height - 1) * width + x
                  value += kernel[k] * source[place]
                }
                target[y * width + x] = value
              }
            }
          }
        }
        initialized = source.count
      }
    }
    return pass(pass(plane, across: true), across: false)
  }
}

/// The baseline that a network has to beat: a linear classifier of `MultiscaleFilters`.
package struct FilterBaseline: Sendable {
  private let probe: LinearProbe
  private let featureCount: Int

  /// - Parameters:
  ///   - images: normalised, with labels.
  ///   - sampleCount: pixels that it learns from, drawn from all labelled ones.
  package init(_ images: [LabelledImage], sampleCount: Int = 60_000, seed: UInt64) {
    precondition(!images.isEmpty, "a baseline learns from images")
    featureCount = images[0].image.channels * MultiscaleFilters.featuresPerChannel
    var codes = LabelledCodes(latents: featureCount)
    let perImage = max(1, sampleCount / images.count)
    for (index, image) in images.enumerated() {
      let features = MultiscaleFilters.features(of: image.image)
      let labels = image.labels ?? []
      let known = labels.indices.filter { labels[$0] != SegmentationLoss.ignored }
      guard !known.isEmpty else { continue }
      var generator = SplitMix64(seed: seed, stream: UInt64(index))
      for _ in 0..<min(perImage, known.count) {
        let pixel = known[Int(generator.nextIndex(below: UInt64(known.count)))]
        codes.add(
          features[pixel * featureCount..<(pixel + 1) * featureCount], label: labels[pixel])
      }
    }
    probe = LinearProbe(training: codes, seed: seed)
  }

  /// The class of each pixel of a normalised image.
  package func labels(of image: SampleImage) -> [UInt8] {
    let features = MultiscaleFilters.features(of: image)
    var result: [UInt8] = []
    result.reserveCapacity(image.width * image.height)
    // Row by row, so that the codes stay small.
    for y in 0..<image.height {
      var codes = LabelledCodes(latents: featureCount)
      for x in 0..<image.width {
        let pixel = y * image.width + x
        codes.add(features[pixel * featureCount..<(pixel + 1) * featureCount], label: 0)
      }
      for x in 0..<image.width { result.append(probe.predict(codes, row: x)) }
    }
    return result
  }
}
