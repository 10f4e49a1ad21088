import Compute
import Foundation
import RandomNumbers
import Segmentation
import Testing

struct AugmentationTests {
  /// An image whose samples tell their place, with labels that do too.
  private func chart(
    width: Int, height: Int, channels: Int = 1, name: String = "chart"
  ) -> LabelledImage {
    var samples: [Float] = []
    var labels: [UInt8] = []
    for y in 0..<height {
      for x in 0..<width {
        for c in 0..<channels { samples.append(Float(y * width + x) + Float(c) * 0x1p20) }
        labels.append(UInt8((x / 4 + y / 4) % 3))
      }
    }
    return LabelledImage(
      name: name,
      image: SampleImage(
        width: width, height: height, channels: channels, sampleType: .float32, samples: samples),
      labels: labels)
  }

  /// A smooth image, on which interpolation is nearly exact, with labels from its values.
  private func waves(width: Int, height: Int) -> LabelledImage {
    var samples: [Float] = []
    for y in 0..<height {
      for x in 0..<width { samples.append(0.5 + 0.4 * sin(Float(x) / 9) * cos(Float(y) / 11)) }
    }
    return LabelledImage(
      name: "waves",
      image: SampleImage(
        width: width, height: height, channels: 1, sampleType: .float32, samples: samples),
      labels: samples.map { $0 > 0.5 ? 1 : 0 })
  }

  @Test func cropsWithoutChangesAreCopies() {
    let source = chart(width: 37, height: 29, channels: 3)
    let batch = CropSampler([source], size: 16, augmentation: .none, seed: 3).batch(5, count: 9)
    var origins: Set<Int> = []
    for i in 0..<9 {
      let crop = Array(batch.images[i * 16 * 16 * 3..<(i + 1) * 16 * 16 * 3])
      let origin = Int(crop[0])
      origins.insert(origin)
      #expect(origin % 37 <= 37 - 16 && origin / 37 <= 29 - 16)
      for y in 0..<16 {
        for x in 0..<16 {
          let place = origin + y * 37 + x
          let pixel = (y * 16 + x) * 3
          #expect(crop[pixel] == Float(place))
          #expect(crop[pixel + 2] == Float(place) + 0x1p21)
          #expect(batch.labels[i * 256 + y * 16 + x] == source.labels?[place])
        }
      }
    }
    #expect(origins.count > 5)
  }

  /// Labels and images go through the same map: what the labels tell agrees with the image.
  @Test func labelsFollowTheImage() {
    var options = Augmentation.standard
    options.brightness = 0
    options.contrast = 0
    options.gamma = 0
    options.noise = 0
    options.blur = 0
    options.elasticShare = 1
    let sampler = CropSampler(
      [waves(width: 150, height: 130)], size: 64, augmentation: options, seed: 1)
    let batch = sampler.batch(0, count: 20)
    var wrong = 0
    for (value, label) in zip(batch.images, batch.labels) where abs(value - 0.5) > 0.05 {
      if (value > 0.5) != (label == 1) { wrong += 1 }
    }
    #expect(wrong < batch.labels.count / 1000, "\(wrong) of \(batch.labels.count)")
    #expect(batch.images.allSatisfy { (0.09...0.91).contains($0) })
  }

  /// A label is that of the nearest pixel, wherever between pixels a place lies.
  @Test func labelsAreThoseOfTheNearestPixel() {
    let side = 250
    var samples: [Float] = []
    var labels: [UInt8] = []
    for _ in 0..<side {
      samples += (0..<side).map(Float.init)
      labels += (0..<side).map { UInt8($0) }
    }
    let ramp = LabelledImage(
      name: "ramp",
      image: SampleImage(
        width: side, height: side, channels: 1, sampleType: .float32, samples: samples),
      labels: labels)
    var options = Augmentation.none
    options.rotation = 180
    options.scale = 1.5
    let batch = CropSampler([ramp], size: 32, augmentation: options, seed: 5).batch(0, count: 20)
    for (value, label) in zip(batch.images, batch.labels)
    where value > 1 && value < Float(side - 2) {
      #expect(abs(value - Float(label)) < 0.501)
    }
  }

  /// The eight symmetries of the square come up, and no other map; turns alone make four of them.
  @Test func flipsAndTurnsAreExact() throws {
    var options = Augmentation.none
    options.flips = true
    options.quarterTurns = true
    let source = chart(width: 8, height: 8)
    let sampler = CropSampler([source], size: 8, augmentation: options, seed: 2)
    let batch = sampler.batch(0, count: 200)
    var symmetries: Set<[Int]> = []
    for xx in [-1, 1] {
      for yy in [-1, 1] {
        for swapped in [false, true] {
          var crop: [Int] = []
          for y in 0..<8 {
            for x in 0..<8 {
              let (i, j) = (xx > 0 ? x : 7 - x, yy > 0 ? y : 7 - y)
              crop.append(swapped ? i * 8 + j : j * 8 + i)
            }
          }
          symmetries.insert(crop)
        }
      }
    }
    var seen: Set<[Int]> = []
    for i in 0..<200 { seen.insert(batch.images[i * 64..<(i + 1) * 64].map { Int($0) }) }
    #expect(symmetries.count == 8)
    #expect(seen == symmetries)
    options.flips = false
    let turned = CropSampler([source], size: 8, augmentation: options, seed: 2)
      .batch(0, count: 50).images
    let turns = Set((0..<50).map { i in turned[i * 64..<(i + 1) * 64].map { Int($0) } })
    // A turn keeps the sense of the corners: right of the first is the next, clockwise.
    let corners = [0, 7, 63, 56]
    #expect(turns.count == 4)
    for crop in turns {
      let first = corners.firstIndex(of: crop[0]) ?? 0
      #expect(crop[7] == corners[(first + 1) % 4] && crop[63] == corners[(first + 2) % 4])
    }
    for i in 0..<200 * 64 {
      #expect(batch.labels[i] == source.labels?[Int(batch.images[i])])
    }
  }

  /// Beyond its edges a ramp goes on as a zigzag of the same slope, between pixels too.
  @Test func interpolationGoesOnAcrossEdges() {
    let ramp = LabelledImage(
      name: "ramp",
      image: SampleImage(
        width: 20, height: 20, channels: 1, sampleType: .float32,
        samples: (0..<400).map { Float($0 % 20) }),
      labels: nil)
    var options = Augmentation.none
    options.scale = 1.7
    let batch = CropSampler([ramp], size: 64, augmentation: options, seed: 5).batch(0, count: 8)
    for i in 0..<8 {
      let line = Array(batch.images[i * 4096 + 640..<i * 4096 + 704])
      let steps = zip(line, line.dropFirst()).map { abs($1 - $0) }
      let slope = steps.max() ?? 0
      #expect((1 / 1.71...1.71).contains(Double(slope)))
      // All but those around the turns.
      let same = steps.filter { abs($0 - slope) < 1e-3 }.count
      #expect(same >= steps.count - Int(64 * slope / 19) - 1, "\(same) of \(steps.count)")
    }
  }

  @Test func smallImagesAreMirrored() {
    let source = chart(width: 5, height: 3)
    let batch = CropSampler([source], size: 16, augmentation: .none, seed: 2).batch(0, count: 4)
    for i in 0..<4 {
      let crop = batch.images[i * 256..<(i + 1) * 256].map { Int($0) }
      // All of the image is there, and each neighbour of a pixel is one of its neighbours there.
      #expect(Set(crop).count == 15)
      for y in 0..<16 {
        for x in 1..<16 {
          #expect(abs(crop[y * 16 + x] % 5 - crop[y * 16 + x - 1] % 5) == 1)
          #expect(abs(crop[x * 16 + y] / 5 - crop[(x - 1) * 16 + y] / 5) == 1)
        }
      }
    }
    let point = LabelledImage(
      name: "point",
      image: SampleImage(
        width: 1, height: 1, channels: 1, sampleType: .float32, samples: [0.25]),
      labels: nil)
    let crops = CropSampler([point], size: 8, augmentation: .standard, seed: 1).batch(0, count: 2)
    #expect(crops.labels.allSatisfy { $0 == SegmentationLoss.ignored })
    #expect(crops.images.allSatisfy { $0.isFinite })
  }

  @Test func theSeedDecidesEveryBit() {
    let images = [waves(width: 90, height: 70), waves(width: 60, height: 200)]
    func batch(_ index: UInt64, seed: UInt64, count: Int = 4) -> CropBatch {
      CropSampler(images, size: 48, augmentation: .standard, seed: seed).batch(index, count: count)
    }
    #expect(batch(3, seed: 1) == batch(3, seed: 1))
    #expect(batch(3, seed: 1) != batch(4, seed: 1))
    #expect(batch(3, seed: 1) != batch(3, seed: 2))
    // Crop by crop: the second batch of two is the latter half of the first of four.
    let whole = batch(0, seed: 1)
    #expect(Array(whole.images[(2 * 48 * 48)...]) == batch(1, seed: 1, count: 2).images)
  }

  /// Magnitudes mean what they say.
  @Test func elasticDisplacementsHaveTheirAmplitude() {
    var options = Augmentation.none
    options.elasticShare = 1
    options.elasticAmplitude = 6
    options.elasticSpacing = 16
    let side = 256
    var samples: [Float] = []
    for _ in 0..<side { samples += (0..<side).map(Float.init) }
    let ramp = LabelledImage(
      name: "ramp",
      image: SampleImage(
        width: side, height: side, channels: 1, sampleType: .float32, samples: samples),
      labels: nil)
    let size = 64
    let batch = CropSampler([ramp], size: size, augmentation: options, seed: 4).batch(0, count: 40)
    var (sum, count, steepest) = (0.0, 0.0, Float(0))
    for i in 0..<40 {
      let crop = Array(batch.images[i * size * size..<(i + 1) * size * size])
      // Only crops that meet no edge: there the image is a ramp and shows the displacement, of
      // which the origin is unknown.
      guard let low = crop.min(), let high = crop.max(), low > 3, high < Float(side - 4) else {
        continue
      }
      let shifts = crop.indices.map { Double(crop[$0]) - Double($0 % size) }
      let mean = shifts.reduce(0, +) / Double(shifts.count)
      sum += shifts.reduce(0) { $0 + ($1 - mean) * ($1 - mean) }
      count += Double(shifts.count)
      for y in 1..<size {
        for x in 0..<size {
          steepest = max(steepest, abs(crop[y * size + x] - crop[(y - 1) * size + x]))
        }
      }
    }
    #expect(count >= Double(10 * size * size))
    let deviation = (sum / count).squareRoot()
    // Between the nodes it is less than at them.
    #expect((3.5...6).contains(deviation), "\(deviation)")
    #expect(steepest < 3, "\(steepest)")
  }

  @Test func intensitiesChangeAsSaid() {
    let flat = LabelledImage(
      name: "flat",
      image: SampleImage(
        width: 64, height: 64, channels: 1, sampleType: .float32,
        samples: [Float](repeating: 0.25, count: 64 * 64)),
      labels: nil)
    func crops(_ change: (inout Augmentation) -> Void) -> [[Float]] {
      var options = Augmentation.none
      change(&options)
      let images = CropSampler([flat], size: 32, augmentation: options, seed: 6)
        .batch(0, count: 50).images
      return (0..<50).map { Array(images[$0 * 1024..<($0 + 1) * 1024]) }
    }
    let bright = crops { $0.brightness = 0.2 }.map { $0[0] - 0.25 }
    #expect(bright.allSatisfy { abs($0) <= 0.2001 })
    #expect((bright.max() ?? 0) > 0.15 && (bright.min() ?? 0) < -0.15)
    // Contrast leaves the mean, and a flat image as it is.
    #expect(crops { $0.contrast = 0.5 }.allSatisfy { abs($0[5] - 0.25) < 1e-6 })
    #expect(
      crops {
        $0.blurShare = 1
        $0.blur = 3
      }.allSatisfy { abs($0[5] - 0.25) < 1e-6 })
    let gamma = crops { $0.gamma = 0.5 }.map { log($0[0]) / log(Float(0.25)) }
    #expect(gamma.allSatisfy { $0 > 0.6 && $0 < 1.66 })
    #expect((gamma.max() ?? 0) > 1.3 && (gamma.min() ?? 0) < 0.75)
    let noise = crops { $0.noise = 0.1 }.map { crop in
      (crop.reduce(0) { $0 + ($1 - 0.25) * ($1 - 0.25) } / 1024).squareRoot()
    }
    #expect(noise.allSatisfy { $0 < 0.11 })
    #expect((noise.max() ?? 0) > 0.08 && (noise.min() ?? 1) < 0.02)
  }

  /// Halves of 0.2 and 0.8 in the first channel and of 0.5 and 0.1 in the second, each with the same
  /// course of the light, and labels of the share `labelled` of all rows.
  private func halves(labelled: Double = 1) -> LabelledImage {
    let side = 64
    var samples: [Float] = []
    var labels: [UInt8] = []
    for y in 0..<side {
      for x in 0..<side {
        let isRight = x >= side / 2
        samples.append((isRight ? 0.8 : 0.2) + Float(y) / 1000)
        samples.append(isRight ? 0.1 : 0.5)
        labels.append(
          Double(y) < labelled * Double(side) ? isRight ? 1 : 0 : SegmentationLoss.ignored)
      }
    }
    return LabelledImage(
      name: "halves",
      image: SampleImage(
        width: side, height: side, channels: 2, sampleType: .float32, samples: samples),
      labels: labels)
  }

  /// In a crop that is the whole image, far from the edge between the classes: what is taken from
  /// each class is a share of its difference from the mean, and the same share in both channels.
  @Test func fadingTakesAShareOfTheDifferenceBetweenClasses() {
    var options = Augmentation.none
    options.classFading = .init(share: 1, limit: 0.6)
    let source = halves()
    let crops = CropSampler([source], size: 64, augmentation: options, seed: 9).batch(0, count: 60)
    var shares: [Double] = []
    for i in 0..<60 {
      func taken(_ x: Int, _ y: Int, _ c: Int) -> Double {
        let place = (y * 64 + x) * 2 + c
        return Double(source.image.samples[place] - crops.images[i * 64 * 64 * 2 + place])
      }
      // The differences from the mean are 0.3 in the first channel, 0.2 in the second.
      for x in [0, 20, 43, 63] {
        let sign = x < 32 ? -1.0 : 1.0
        let share = sign * taken(x, 11, 0) / 0.3
        #expect(abs(share + sign * taken(x, 11, 1) / 0.2) < 1e-5)
        #expect(abs(share - sign * taken(x, 50, 0) / 0.3) < 1e-5)
        #expect((-1e-6...0.600001).contains(share))
        shares.append(share)
      }
      // From the left to the right in a straight line.
      let last = Array(shares.suffix(4))
      let (leftSlope, rightSlope) = ((last[1] - last[0]) / 20, (last[3] - last[2]) / 20)
      #expect(abs(leftSlope - rightSlope) < 1e-6)
    }
    #expect((shares.max() ?? 0) > 0.5 && (shares.min() ?? 1) < 0.1)
    // Along the labels there is no step that the image does not have.
    let row = (0..<64).map { (x: Int) -> Float in
      let place = (11 * 64 + x) * 2
      return source.image.samples[place] - crops.images[place]
    }
    let steps = zip(row, row.dropFirst()).map { abs($1 - $0) }
    #expect((steps.max() ?? 1) < 0.6 * 0.6 * 0.3)
  }

  @Test func fadingComesInItsShareOfCropsAndNeedsLabels() {
    var options = Augmentation.none
    options.classFading = .init(share: 0.3, limit: 0.5)
    func changed(_ source: LabelledImage) -> Int {
      let crops = CropSampler([source], size: 64, augmentation: options, seed: 3)
        .batch(0, count: 200)
      let area = 64 * 64 * 2
      return (0..<200).filter {
        Array(crops.images[$0 * area..<($0 + 1) * area]) != source.image.samples
      }.count
    }
    #expect((40...80).contains(changed(halves())))
    #expect((40...80).contains(changed(halves(labelled: 0.6))))
    #expect(changed(halves(labelled: 0.4)) == 0)
    let bare = LabelledImage(name: "bare", image: halves().image, labels: nil)
    #expect(changed(bare) == 0)
  }

  /// Where it is left out nothing is drawn for it, so that other changes are what they were.
  @Test func fadingThatIsLeftOutDrawsNothing() {
    var options = Augmentation.light
    let source = chart(width: 40, height: 40)
    func images() -> [Float] {
      CropSampler([source], size: 32, augmentation: options, seed: 7).batch(0, count: 8).images
    }
    let before = images()
    options = options.fadingClasses(by: 0)
    #expect(images() == before)
    options.classFading = .init(share: 1, limit: 0.5)
    #expect(images() != before)
  }

  @Test func scribblesAreInTheMiddleOfCrops() {
    var labels = [UInt8](repeating: SegmentationLoss.ignored, count: 300 * 200)
    labels[150 * 300 + 250] = 1
    for x in 20..<120 { labels[30 * 300 + x] = 0 }
    let image = SampleImage(
      width: 300, height: 200, channels: 1, sampleType: .float32,
      samples: [Float](repeating: 0, count: 60000))
    let scribbled = LabelledImage(name: "scribbled", image: image, labels: labels)
    let batch = CropSampler([scribbled], size: 64, augmentation: .none, seed: 8)
      .batch(0, count: 100)
    var counts = [0, 0]
    for i in 0..<100 {
      let crop = batch.labels[i * 4096..<(i + 1) * 4096]
      #expect(crop.contains { $0 != SegmentationLoss.ignored })
      for c in 0..<2 where crop.contains(UInt8(c)) { counts[c] += 1 }
    }
    // Classes are drawn alike, however few pixels they have.
    #expect(counts[1] > 30 && counts[0] > 30)
  }

  /// The outline of a disc, halfway between the brightness within and without, stays halfway: changes
  /// of the light are straight lines, so that they do not move it, nor does a blur.
  @Test func sharpChangesKeepOutlinesHalfway() {
    #expect(Augmentation.sharp.gamma == 0 && Augmentation.sharp.blur == 0)
    let side = 128
    var samples: [Float] = []
    var labels: [UInt8] = []
    for y in 0..<side {
      for x in 0..<side {
        let (dx, dy) = (Float(x) - 63.5, Float(y) - 63.5)
        let depth = 40 - (dx * dx + dy * dy).squareRoot()
        samples.append(0.2 + 0.6 * min(1, max(0, 0.5 + depth / 8)))
        labels.append(depth > 0 ? 1 : 0)
      }
    }
    let disc = LabelledImage(
      name: "disc",
      image: SampleImage(
        width: side, height: side, channels: 1, sampleType: .float32, samples: samples),
      labels: labels)
    /// How far from the middle of the brightness labels' outlines are on average, as a share, in the
    /// crop where they are farthest.
    func shift(_ options: Augmentation) -> Float {
      var options = options
      options.noise = 0
      let batch = CropSampler([disc], size: side, augmentation: options, seed: 4)
        .batch(0, count: 12)
      var largest: Float = 0
      for i in 0..<12 {
        let area = side * side
        let crop = Array(batch.images[i * area..<(i + 1) * area])
        guard let low = crop.min(), let high = crop.max() else { continue }
        var (sum, count) = (Float(0), Float(0))
        for y in 0..<side {
          for x in 1..<side {
            let place = y * side + x
            guard batch.labels[i * area + place] != batch.labels[i * area + place - 1] else {
              continue
            }
            let middle = (crop[place] + crop[place - 1]) / 2
            sum += (middle - low) / (high - low) - 0.5
            count += 1
          }
        }
        largest = max(largest, abs(sum / count))
      }
      return largest
    }
    let (sharp, standard) = (shift(.sharp), shift(.standard))
    #expect(sharp < 0.01, "\(sharp)")
    #expect(standard > 0.03, "\(standard)")
  }

  @Test func optionsAreStored() throws {
    let faded = Augmentation.standard.fadingClasses(by: 0.8)
    let data = try JSONEncoder().encode(faded)
    #expect(try JSONDecoder().decode(Augmentation.self, from: data) == faded)
    // Without fading it is what earlier versions wrote and read.
    let plain = try JSONEncoder().encode(Augmentation.standard)
    #expect(!String(decoding: plain, as: UTF8.self).contains("ading"))
    #expect(try JSONDecoder().decode(Augmentation.self, from: plain) == .standard)
  }

  @Test func corruptionHidesTheShareOfSquares() {
    let count = 96 * 64
    var image: [Float] = []
    for i in 0..<2 * count { image.append(Float(i % 2) + Float(i % 7) / 10) }
    let task = Corruption(maskShare: 0.3, maskSize: 8, noise: 0)(
      image, width: 96, height: 64, channels: 2, seed: 1, stream: 9)
    #expect(task.target == image)
    let share = Double(task.mask.reduce(0) { $0 + Int($1) }) / Double(96 * 64)
    #expect((0.24...0.36).contains(share), "\(share)")
    var means = [0.0, 0.0]
    for (i, value) in image.enumerated() { means[i % 2] += Double(value) / Double(count) }
    for i in image.indices {
      if task.mask[i / 2] == 0 {
        #expect(task.input[i] == image[i])
      } else {
        #expect(abs(Double(task.input[i]) - means[i % 2]) < 1e-5)
      }
    }
    // Squares, not single pixels: hardly any change from one pixel to the next.
    let changes = (1..<96 * 64).filter { task.mask[$0] != task.mask[$0 - 1] }.count
    #expect(changes < 96 * 64 / 6)
    let again = Corruption(maskShare: 0.3, maskSize: 8, noise: 0)(
      image, width: 96, height: 64, channels: 2, seed: 1, stream: 10)
    #expect(again.mask != task.mask)

    let noisy = Corruption(maskShare: 0, noise: 0.2)(
      image, width: 96, height: 64, channels: 2, seed: 1, stream: 9)
    let differences = zip(noisy.input, image).map { Double($0 - $1) }
    let mean = differences.reduce(0, +) / Double(differences.count)
    let square = differences.reduce(0) { $0 + $1 * $1 } / Double(differences.count)
    #expect(abs(mean) < 0.01 && abs(square.squareRoot() - 0.2) < 0.01)
    #expect(noisy.mask.allSatisfy { $0 == 0 })
  }
}
