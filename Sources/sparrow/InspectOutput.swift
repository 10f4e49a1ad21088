import Training

/// inspection.json, and what `sparrow inspect --json` prints.
struct InspectionOutput: Encodable {
  struct Inputs: Encodable {
    /// The norms of mu, the mean image, and of sigma, the pixels' standard deviations.
    let muNorm, sigmaNorm, ratio: JSONNumber
  }

  struct L0: Encodable {
    let mean, deviation: JSONNumber
    let minimum, p5, p25, median, p75, p95, maximum: Int
    /// Entry n: images with n active latents.
    let histogram: [Int]
  }

  struct Firing: Encodable {
    /// One more than `counts`; bin i holds the frequencies in [edges_i, edges_(i+1)).
    let edges: [Double]
    let counts: [Int]
    let dead: Int
  }

  struct Latent: Encodable {
    let latent, firings: Int
    let frequency: JSONNumber
    /// Over the images that it fires for; absent for a dead one.
    let meanActive, maximum: JSONNumber?
  }

  struct Exciters: Encodable {
    struct Image: Encodable {
      let image: Int
      let value: JSONNumber
      let label: Int?
    }

    let latent: Int
    let images: [Image]
  }

  struct Probe: Encodable {
    let accuracy, trainingAccuracy, majorityAccuracy: JSONNumber
    let classes, trainingImages, trainingImagesInAll, testImages: Int
  }

  let model, data, part, device: String
  let images, latents, dead: Int
  let inputs: Inputs
  let l0: L0
  let firing: Firing
  /// In the order of their numbers.
  let perLatent: [Latent]
  /// The latents of dictionary.png, from the top left; `weights` or `responses`.
  let dictionaryOrder: [Int]
  let dictionaryKind: String
  let exciters: [Exciters]
  let probe: Probe?

  init(_ outcome: InspectionOutcome, model: String, data: String, part: Part) {
    let codes = outcome.codes
    self.model = model
    self.data = data
    self.part = part.rawValue
    device = outcome.device
    images = outcome.images.count
    latents = codes.latents
    dead = codes.dead
    inputs = Inputs(
      muNorm: JSONNumber(outcome.inputs.meanNorm),
      sigmaNorm: JSONNumber(outcome.inputs.deviationNorm),
      ratio: JSONNumber(outcome.inputs.ratio))
    let summary = codes.l0Summary
    l0 = L0(
      mean: JSONNumber(summary.mean), deviation: JSONNumber(summary.deviation),
      minimum: summary.minimum, p5: summary.percentile(5), p25: summary.percentile(25),
      median: summary.percentile(50), p75: summary.percentile(75), p95: summary.percentile(95),
      maximum: summary.maximum, histogram: summary.histogram)
    let histogram = codes.firingHistogram
    firing = Firing(edges: histogram.edges, counts: histogram.counts, dead: histogram.dead)
    perLatent = (0..<codes.latents).map { latent in
      Latent(
        latent: latent, firings: codes.firings[latent],
        frequency: JSONNumber(codes.frequency(latent)),
        meanActive: codes.meanActive(latent).map(JSONNumber.init),
        maximum: codes.maximum(latent).map { JSONNumber(Double($0)) })
    }
    dictionaryOrder = outcome.shown
    dictionaryKind = outcome.kind.rawValue
    exciters = outcome.chosen.map { latent in
      Exciters(
        latent: latent,
        images: codes.exciters(of: latent).map { exciter in
          Exciters.Image(
            image: exciter.image, value: JSONNumber(Double(exciter.value)),
            label: outcome.images.labels.map { Int($0[exciter.image]) })
        })
    }
    probe = outcome.probe.map { probe in
      Probe(
        accuracy: JSONNumber(probe.accuracy), trainingAccuracy: JSONNumber(probe.trainingAccuracy),
        majorityAccuracy: JSONNumber(probe.majorityAccuracy), classes: probe.classes,
        trainingImages: probe.trainingImages, trainingImagesInAll: probe.trainingImagesInAll,
        testImages: probe.testImages)
    }
  }
}
