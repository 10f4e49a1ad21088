/// How training crops differ from the images they are cut from. Every change is drawn anew for each
/// crop; a magnitude of 0 leaves it out. Intensities are meant after normalisation, where images lie
/// in about [0, 1].
package struct Augmentation: Codable, Hashable, Sendable {
  /// Mirror images, each with one chance in two.
  package var flips = false
  /// Turns by multiples of 90 degrees.
  package var quarterTurns = false
  /// Turns by any angle up to this many degrees to either side.
  package var rotation: Float = 0
  /// Enlargement by a factor in [1 / scale, scale], uniform in its logarithm. At least 1.
  package var scale: Float = 1
  /// The share of crops with an elastic deformation.
  package var elasticShare: Float = 0
  /// The standard deviation, in pixels, of the displacement at the nodes of a coarse grid, between
  /// which it is interpolated by cubics (Catmull-Rom).
  package var elasticAmplitude: Float = 0
  /// Pixels between the nodes.
  package var elasticSpacing: Float = 32
  /// What is added: uniform in [-brightness, brightness].
  package var brightness: Float = 0
  /// The factor to the differences from the crop's mean: exp of uniform in [-contrast, contrast].
  package var contrast: Float = 0
  /// The exponent of what lies within [0, 1]: exp of uniform in [-gamma, gamma].
  package var gamma: Float = 0
  /// Gaussian noise of a standard deviation uniform in [0, noise].
  package var noise: Float = 0
  /// The share of crops that are blurred.
  package var blurShare: Float = 0
  /// The largest standard deviation of the blur, in pixels, at most 8.
  package var blur: Float = 0
  /// How classes stand out less from each other; nil, as in what earlier versions wrote, where they
  /// do not.
  package var classFading: Fading?

  /// See `ClassFading`.
  package struct Fading: Codable, Hashable, Sendable {
    /// The share of crops.
    package var share: Float
    /// The largest share of the differences between the classes' means that is taken away.
    package var limit: Float

    package init(share: Float, limit: Float) { (self.share, self.limit) = (share, limit) }
  }

  package init() {}

  /// What is wrong with one that comes from a file, in one line: far beyond what is of use, and far
  /// within what places and samples can be counted with.
  package var problem: String? {
    let magnitudes: [(name: String, value: Float, limits: ClosedRange<Float>)] = [
      ("rotation", rotation, 0...360), ("scale", scale, 1...16),
      ("elastic share", elasticShare, 0...1), ("elastic amplitude", elasticAmplitude, 0...1024),
      ("elastic spacing", elasticSpacing, 1...65536), ("brightness", brightness, 0...16),
      ("contrast", contrast, 0...16), ("gamma", gamma, 0...16), ("noise", noise, 0...16),
      ("blur share", blurShare, 0...1), ("blur", blur, 0...8),
      ("share of fading", classFading?.share ?? 0, 0...1),
      ("limit of fading", classFading?.limit ?? 0, 0...1),
    ]
    return magnitudes.first { !$0.limits.contains($0.value) }
      .map { "an augmentation with the \($0.name) \($0.value)" }
  }

  /// Crops as they are in the image.
  package static let none = Augmentation()

  /// The eight symmetries of the square and small changes of the light.
  package static let light: Augmentation = {
    var options = Augmentation()
    options.flips = true
    options.quarterTurns = true
    options.brightness = 0.1
    options.contrast = 0.2
    options.noise = 0.03
    return options
  }()

  /// For few labelled images: also any angle and scale, elastic deformation, gamma and blur.
  package static let standard: Augmentation = {
    var options = light
    options.rotation = 45
    options.scale = 1.25
    options.elasticShare = 0.5
    options.elasticAmplitude = 5
    options.elasticSpacing = 32
    options.brightness = 0.15
    options.contrast = 0.3
    options.gamma = 0.3
    options.noise = 0.06
    options.blurShare = 0.2
    options.blur = 1
    return options
  }()

  /// For outlines that lie where the brightness has come a share of its way, as those of stained
  /// nuclei: the standard changes without gamma and blur, which move that place.
  package static let sharp: Augmentation = {
    var options = standard
    options.gamma = 0
    options.blurShare = 0
    options.blur = 0
    return options
  }()

  /// With classes that stand out less in half of the crops, by up to this share.
  package func fadingClasses(by share: Float) -> Augmentation {
    var options = self
    options.classFading = share > 0 ? Fading(share: 0.5, limit: share) : nil
    return options
  }
}
