import RandomNumbers

/// What an image suffers before a network is to restore it, in pretraining without labels: squares
/// of a random grid hidden, and noise.
package struct Corruption: Codable, Hashable, Sendable {
  /// The share of the grid's squares that are hidden.
  package var maskShare: Float
  /// Pixels in a row and in a column of a square.
  package var maskSize: Int
  /// The standard deviation of the noise.
  package var noise: Float

  package static let noises: ClosedRange<Float> = 0...100

  package init(maskShare: Float = 0.25, maskSize: Int = 8, noise: Float = 0.1) {
    precondition((0...1).contains(maskShare) && maskSize > 0, "a share of squares with pixels")
    self.maskShare = maskShare
    self.maskSize = maskSize
    self.noise = noise
  }

  /// What is wrong with one that comes from a file, in one line.
  package var problem: String? {
    if !(0...1).contains(maskShare) { return "a share of \(maskShare) hidden" }
    if maskSize < 1 || maskSize > 1 << 16 { return "hidden squares of \(maskSize) pixels" }
    return Self.noises.contains(noise) ? nil : "noise of \(noise)"
  }

  /// What a network gets and what it should give.
  package struct Task: Equatable, Sendable {
    /// The image with its hidden squares filled by the mean of each channel, then noise everywhere.
    package let input: [Float]
    /// The image as it was.
    package let target: [Float]
    /// For each pixel 1 where it is hidden, else 0.
    package let mask: [UInt8]
  }

  /// Hides and disturbs an image of interleaved channels. The seed and the stream decide all.
  package func callAsFunction(
    _ image: [Float], width: Int, height: Int, channels: Int, seed: UInt64, stream: UInt64
  ) -> Task {
    precondition(image.count == width * height * channels, "samples do not fill the image")
    var input = image
    var mask = [UInt8](repeating: 0, count: width * height)
    input.withUnsafeMutableBufferPointer { input in
      mask.withUnsafeMutableBufferPointer { mask in
        apply(
          to: input, mask: mask, width: width, height: height, channels: channels, seed: seed,
          stream: stream)
      }
    }
    return Task(input: input, target: image, mask: mask)
  }

  /// The same in place, for the crops of a batch. `mask` is overwritten.
  package func apply(
    to image: UnsafeMutableBufferPointer<Float>, mask: UnsafeMutableBufferPointer<UInt8>,
    width: Int, height: Int, channels: Int, seed: UInt64, stream: UInt64
  ) {
    precondition(
      image.count == width * height * channels && mask.count == width * height,
      "samples do not fill the image")
    var random = SplitMix64(seed: seed, stream: stream)
    mask.update(repeating: 0)
    hideSquares(image, mask, width: width, height: height, channels: channels, &random)
    if noise > 0 { addNoise(to: image, deviation: noise, random: &random) }
  }

  private func hideSquares(
    _ image: UnsafeMutableBufferPointer<Float>, _ mask: UnsafeMutableBufferPointer<UInt8>,
    width: Int, height: Int, channels: Int, _ random: inout SplitMix64
  ) {
    guard maskShare > 0 else { return }
    // The grid begins anywhere up to a square before the image.
    let left = -Int(random.nextIndex(below: UInt64(maskSize)))
    let top = -Int(random.nextIndex(below: UInt64(maskSize)))
    let columns = (width - left + maskSize - 1) / maskSize
    let rows = (height - top + maskSize - 1) / maskSize
    let hidden = Int((Float(columns * rows) * maskShare).rounded())
    for square in random.shuffledIndices(count: columns * rows).prefix(hidden) {
      let x = left + Int(square) % columns * maskSize
      let y = top + Int(square) / columns * maskSize
      for row in max(0, y)..<min(height, y + maskSize) {
        for column in max(0, x)..<min(width, x + maskSize) { mask[row * width + column] = 1 }
      }
    }
    for c in 0..<channels {
      var sum = 0.0
      for i in stride(from: c, to: image.count, by: channels) { sum += Double(image[i]) }
      let mean = Float(sum / Double(mask.count))
      for pixel in mask.indices where mask[pixel] != 0 { image[pixel * channels + c] = mean }
    }
  }
}
