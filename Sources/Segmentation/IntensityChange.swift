import Foundation
import RandomNumbers

/// The changes of light and sharpness that one crop gets.
struct IntensityChange {
  let brightness, contrast, gamma, noise, blur: Float

  /// Draws the options' changes; those that are left out draw nothing.
  init(options: Augmentation, random: inout SplitMix64) {
    func symmetric(_ limit: Float) -> Float {
      limit > 0 ? random.nextUniform(-limit, limit) : 0
    }
    brightness = symmetric(options.brightness)
    contrast = exp(symmetric(options.contrast))
    gamma = exp(symmetric(options.gamma))
    noise = options.noise > 0 ? random.nextUniform(0, options.noise) : 0
    let isBlurred = options.blur > 0 && random.nextUniform() < options.blurShare
    blur = isBlurred ? random.nextUniform(0, min(options.blur, 8)) : 0
  }

  /// Changes a square crop of `size * size * channels` samples: blur, gamma, contrast, brightness,
  /// and noise at the end.
  func apply(
    to samples: UnsafeMutableBufferPointer<Float>, size: Int, channels: Int,
    random: inout SplitMix64
  ) {
    if blur > 0.1 {
      gaussianBlur(samples, width: size, height: size, channels: channels, deviation: blur)
    }
    if gamma != 1 { applyGamma(to: samples) }
    if contrast != 1 || brightness != 0 {
      // In Double, since a crop has more pixels than a Float counts well.
      let mean = Float(samples.reduce(0.0) { $0 + Double($1) } / Double(samples.count))
      let offset = mean - contrast * mean + brightness
      for i in samples.indices { samples[i] = contrast * samples[i] + offset }
    }
    if noise > 0 { addNoise(to: samples, deviation: noise, random: &random) }
  }

  /// x^gamma within [0, 1], from a table between whose places it is linear; x elsewhere.
  private func applyGamma(to samples: UnsafeMutableBufferPointer<Float>) {
    let steps = 256
    withUnsafeTemporaryAllocation(of: Float.self, capacity: steps + 2) { table in
      for i in 0...steps { table[i] = pow(Float(i) / Float(steps), gamma) }
      table[steps + 1] = 1
      for i in samples.indices {
        let value = samples[i]
        guard value > 0 && value < 1 else { continue }
        let place = value * Float(steps)
        let below = Int(place)
        let (low, high) = (table[below], table[below + 1])
        samples[i] = low + (high - low) * (place - Float(below))
      }
    }
  }
}

/// Adds noise of nearly normal distribution: of each sum of four uniform numbers of 16 bits, which
/// one draw holds, scaled to the deviation. No value is farther off than 3.46 deviations.
func addNoise(
  to samples: UnsafeMutableBufferPointer<Float>, deviation: Float, random: inout SplitMix64
) {
  // A uniform number in 0..<2^16 has the variance (2^32 - 1) / 12.
  let scale = deviation * Float((3.0 / (0x1p32 - 1)).squareRoot())
  for i in samples.indices {
    let bits = random.next()
    let sum =
      Int32(truncatingIfNeeded: bits & 0xFFFF) + Int32(truncatingIfNeeded: bits >> 16 & 0xFFFF)
      + Int32(truncatingIfNeeded: bits >> 32 & 0xFFFF) + Int32(truncatingIfNeeded: bits >> 48)
    samples[i] += Float(sum - 131_070) * scale
  }
}

/// Blurs in place with a Gaussian of `deviation` pixels cut at three of them, mirrored at the edges.
func gaussianBlur(
  _ samples: UnsafeMutableBufferPointer<Float>, width: Int, height: Int, channels: Int,
  deviation: Float
) {
  let radius = max(1, Int((3 * deviation).rounded(.up)))
  var kernel = (0...radius).map { exp(-Float($0 * $0) / (2 * deviation * deviation)) }
  let sum = 2 * kernel.dropFirst().reduce(0, +) + kernel[0]
  for i in kernel.indices { kernel[i] /= sum }
  let pitch = width * channels
  withUnsafeTemporaryAllocation(of: Float.self, capacity: pitch + 2 * radius * channels) { line in
    for y in 0..<height {
      let row = y * pitch
      for x in -radius..<width + radius {
        let source = row + reflected(x, count: width) * channels
        for c in 0..<channels { line[(x + radius) * channels + c] = samples[source + c] }
      }
      for i in 0..<pitch {
        let middle = i + radius * channels
        var value = kernel[0] * line[middle]
        for k in 1...radius {
          value += kernel[k] * (line[middle - k * channels] + line[middle + k * channels])
        }
        samples[row + i] = value
      }
    }
  }
  // Down the columns: a copy, whose rows are added with their weights.
  let copy = Array(samples)
  copy.withUnsafeBufferPointer { copy in
    for y in 0..<height {
      let target = y * pitch
      for i in 0..<pitch { samples[target + i] = kernel[0] * copy[target + i] }
      for k in 1...radius {
        let above = reflected(y - k, count: height) * pitch
        let below = reflected(y + k, count: height) * pitch
        let weight = kernel[k]
        for i in 0..<pitch {
          samples[target + i] += weight * (copy[above + i] + copy[below + i])
        }
      }
    }
  }
}
