import ArgumentParser
import Foundation
import Networks
import Training

enum Preset: String, CaseIterable, ExpressibleByArgument {
  case collapsed
}

/// The network's shape.
struct ShapeOptions: ParsableArguments {
  @Option(help: "The network: collapsed, inputs-64-64-64-inputs.") var preset: Preset?
  @Option(
    parsing: .unconditional,
    help: ArgumentHelp(
      "A dictionary of so many latents instead: one encoder and one decoder layer.",
      discussion: """
        The input is centred by the mean image, the decoder's rows have norm 1 (with --average \
        those of which the average is), and the encoder starts as the decoder.
        """))
  var latents: Int?
  @Option(
    help: ArgumentHelp(
      "The widths of the layers instead, such as 784-64-64-64-784; the middle one is the code.",
      valueName: "widths"))
  var layers: String?

  func validate() throws {
    if [preset != nil, latents != nil, layers != nil].count(where: { $0 }) > 1 {
      throw ValidationError("--preset, --latents and --layers exclude each other")
    }
    if let latents { try requirePositive(latents, "--latents") }
    if let layers { _ = try Self.widths(layers) }
  }

  /// The network for images of `inputs` values.
  func network(inputs: Int, code: Code) throws -> AutoencoderConfiguration {
    let network: AutoencoderConfiguration
    if let latents {
      network = .dictionary(inputs: inputs, latents: latents, code: code)
    } else if let layers {
      let widths = try Self.widths(layers)
      guard widths.first == inputs, widths.last == inputs else {
        throw ValidationError(
          "--layers \(layers) must begin and end with the \(inputs) values of an image")
      }
      network = AutoencoderConfiguration(
        widths: widths, encoderLayers: widths.count / 2, code: code, unitNormDecoder: code == .l1)
    } else {
      network = .collapsed(inputs: inputs, code: code)
    }
    if let problem = network.problem {
      let isOfCode = problem == code.problem(latents: network.latents)
      let flag = latents != nil ? "--latents" : layers != nil ? "--layers" : "--preset"
      throw ValidationError("\(isOfCode ? "--code" : flag): \(problem)")
    }
    return network
  }

  private static func widths(_ text: String) throws -> [Int] {
    let widths = text.split(separator: "-", omittingEmptySubsequences: false).map { Int($0) }
    guard widths.count >= 3, !widths.count.isMultiple(of: 2), widths.allSatisfy({ ($0 ?? 0) > 0 })
    else {
      throw ValidationError(
        "--layers takes an odd number of widths, three or more, such as 784-64-64-64-784, not "
          + text)
    }
    return widths.compactMap { $0 }
  }
}

/// The network's shape and its code.
struct NetworkOptions: ParsableArguments {
  @OptionGroup var shape: ShapeOptions
  @Option(
    help: ArgumentHelp(
      "The code: \(Code.forms).",
      discussion: """
        topk keeps the K largest latents of an image, batchtopk the K largest an image on average \
        over a batch; jumprelu learns a threshold for each latent, hardconcrete stochastic gates, \
        both by the weight --beta of the L0 itself; l1 penalises the latents' sum. With \
        --target-l0 no K is needed.
        """, valueName: "code"),
    completion: .codes)
  var code = "relu"
  @Option(
    name: .customLong("target-l0"), parsing: .unconditional,
    help: ArgumentHelp(
      "The mean number of active latents: K itself, or held by a closed loop on beta.",
      valueName: "count"))
  var targetL0: Double?

  func validate() throws {
    try requirePositive(targetL0, "--target-l0")
    _ = try parsedCode()
  }

  /// The network for images of `inputs` values.
  func configuration(inputs: Int) throws -> AutoencoderConfiguration {
    let network = try shape.network(inputs: inputs, code: parsedCode())
    if let targetL0, targetL0 > Double(network.latents) {
      throw ValidationError(
        "--target-l0 \(significant(targetL0)) cannot be met: the code has \(network.latents) latents"
      )
    }
    return network
  }

  private func parsedCode() throws -> Code {
    let name = code.lowercased()
    if name == "topk" || name == "batchtopk" {
      guard let targetL0 else {
        throw ValidationError("--code \(name) needs its K, as in \(name):16, or --target-l0")
      }
      guard targetL0 == targetL0.rounded(), targetL0 < 0x1p24 else {
        throw ValidationError("--target-l0 is the K of \(name): a whole number, not \(targetL0)")
      }
      guard let result = Code("\(name):\(Int(targetL0))") else {
        throw ValidationError("--code \(code) is not one of \(Code.forms)")
      }
      return result
    }
    guard let result = Code(code) else {
      throw ValidationError("--code \(code) is not one of \(Code.forms)")
    }
    if let k = result.count {
      if k < 1 { throw ValidationError("--code \(code): K must be at least 1") }
      if let targetL0, targetL0 != Double(k) {
        throw ValidationError("--code \(code) and --target-l0 \(significant(targetL0)) differ")
      }
    }
    if result == .relu, targetL0 != nil {
      throw ValidationError("--target-l0 needs a code with a handle on L0, which relu has not")
    }
    return result
  }
}

/// Says what a code does not do although its name, or a weight that was given, would have it.
func noteUse(of code: Code, latents: Int, beta: Double? = nil) {
  if let beta, beta > 0, !code.hasPenalty {
    Console.note("Note: \(code) has no gradient of ||z||_0; beta counts in the loss alone")
  }
  if code.count == latents {
    Console.note("Note: \(code) keeps all of the \(latents) latents, as relu does")
  }
}
