import Foundation

/// What the codes of a set say of each latent and of each image, gathered batch by batch.
package struct CodeStatistics: Sendable {
  /// An image that excites a latent, and how much.
  package struct Exciter: Equatable, Sendable {
    package let image: Int
    package let value: Float
  }

  package let latents: Int
  /// Images kept for each latent.
  package let exciterLimit: Int
  /// Images with a code that is not zero there, of each latent; NaN counts as not zero.
  package private(set) var firings: [Int]
  /// ||z||_0 of each image, in their order.
  package private(set) var l0: [Int] = []
  private var sums: [Double]
  private var maxima: [Float]
  // Of each latent the exciters so far, the largest first.
  private var exciters: [[Exciter]]

  package init(latents: Int, exciterLimit: Int = 12) {
    precondition(latents > 0 && exciterLimit >= 0, "a code has latents")
    self.latents = latents
    self.exciterLimit = exciterLimit
    firings = Array(repeating: 0, count: latents)
    sums = Array(repeating: 0, count: latents)
    maxima = Array(repeating: -.infinity, count: latents)
    exciters = Array(repeating: [], count: latents)
  }

  package var images: Int { l0.count }

  /// Adds the codes of the next images, `[count, latents]`.
  package mutating func add(_ codes: [Float]) {
    precondition(codes.count % latents == 0, "codes of \(latents) latents")
    codes.withUnsafeBufferPointer { codes in
      for start in stride(from: 0, to: codes.count, by: latents) {
        let image = l0.count
        var active = 0
        for latent in 0..<latents where codes[start + latent] != 0 {
          active += 1
          note(codes[start + latent], latent: latent, image: image)
        }
        l0.append(active)
      }
    }
  }

  private mutating func note(_ value: Float, latent: Int, image: Int) {
    firings[latent] += 1
    sums[latent] += Double(value)
    guard !value.isNaN else { return }
    maxima[latent] = max(maxima[latent], value)
    let count = exciters[latent].count
    guard exciterLimit > 0, count < exciterLimit || value > exciters[latent][count - 1].value else {
      return
    }
    // Of equal values the earlier image stays ahead.
    let place = exciters[latent].firstIndex { $0.value < value } ?? count
    exciters[latent].insert(Exciter(image: image, value: value), at: place)
    if count == exciterLimit { exciters[latent].removeLast() }
  }

  /// The share of the images that a latent fires for.
  package func frequency(_ latent: Int) -> Double { Double(firings[latent]) / Double(images) }

  /// Mean over the images that the latent fires for; nil where there is none.
  package func meanActive(_ latent: Int) -> Double? {
    firings[latent] > 0 ? sums[latent] / Double(firings[latent]) : nil
  }

  /// The largest value other than zero; nil where the latent never fires.
  package func maximum(_ latent: Int) -> Float? {
    maxima[latent] > -.infinity ? maxima[latent] : nil
  }

  /// The images with the largest values other than zero, the largest first.
  package func exciters(of latent: Int) -> [Exciter] { exciters[latent] }

  /// Latents that never fire.
  package var dead: Int { firings.count { $0 == 0 } }

  /// All latents, the most frequent first; of equals, by number.
  package var byFrequency: [Int] {
    firings.indices.sorted { (firings[$1], $0) < (firings[$0], $1) }
  }

  package var l0Summary: L0Summary { L0Summary(l0) }

  package var firingHistogram: FiringHistogram {
    FiringHistogram(firings: firings, images: images)
  }
}

/// How many latents are active in an image, over a set.
package struct L0Summary: Equatable, Sendable {
  package let mean: Double
  /// Standard deviation, over the count.
  package let deviation: Double
  /// `histogram[n]` images have n active latents; the last entry is not 0.
  package let histogram: [Int]

  package init(_ l0: [Int]) {
    precondition(!l0.isEmpty, "no image, no L0")
    var histogram = [Int](repeating: 0, count: (l0.max() ?? 0) + 1)
    for count in l0 { histogram[count] += 1 }
    self.histogram = histogram
    let total = Double(l0.count)
    let mean = Double(l0.reduce(0, +)) / total
    let squares = l0.reduce(0.0) { $0 + (Double($1) - mean) * (Double($1) - mean) }
    self.mean = mean
    deviation = (squares / total).squareRoot()
  }

  package var minimum: Int { histogram.firstIndex { $0 > 0 } ?? 0 }
  package var maximum: Int { histogram.count - 1 }

  /// The smallest L0 that at least `percent` per cent of the images do not exceed (nearest rank).
  package func percentile(_ percent: Double) -> Int {
    let total = histogram.reduce(0, +)
    let rank = max(1, Int((percent / 100 * Double(total)).rounded(.up)))
    var seen = 0
    for (value, count) in histogram.enumerated() {
      seen += count
      if seen >= rank { return value }
    }
    return maximum
  }
}

/// Latents by how often they fire, in bins of a tenth of a decade; those that never do apart.
package struct FiringHistogram: Equatable, Sendable {
  /// Rising, one more than `counts`: bin i holds the frequencies in [edges_i, edges_(i+1)), the last
  /// one its upper edge, 1, as well.
  package let edges: [Double]
  package let counts: [Int]
  package let dead: Int

  package init(firings: [Int], images: Int) {
    precondition(images > 0, "no image, no frequency")
    let rarest = firings.filter { $0 > 0 }.min() ?? images
    let decades = max(1, Int((-log10(Double(rarest) / Double(images))).rounded(.up)))
    let edges = (0...10 * decades).map { index in
      index == 10 * decades ? 1 : pow(10, Double(index) / 10 - Double(decades))
    }
    var counts = [Int](repeating: 0, count: edges.count - 1)
    for count in firings where count > 0 {
      // A frequency that is an edge but for rounding, such as 0.1, belongs above it.
      let frequency = Double(count) / Double(images) * (1 + 1e-12)
      let above = edges.firstIndex { $0 > frequency } ?? counts.count
      counts[min(max(above, 1), counts.count) - 1] += 1
    }
    self.edges = edges
    self.counts = counts
    dead = firings.count { $0 == 0 }
  }
}
