import Compute
import Foundation
import Imaging
import Networks
import ReferenceBackend
import Segmentation
import Training

enum ModelTargets {
  /// What was read is written as it can be read.
  static let everyType = Set(Safetensors.ElementType.allCases)

  static func safetensors(_ bytes: UnsafeRawBufferPointer) throws {
    let file = try Safetensors(Data(bytes), path: "x", types: everyType)
    require(Set(file.entries.map(\.name)).count == file.entries.count, "a name twice")
    do {
      let written = try written(file, InputFile.content)
      let again = try self.written(
        Safetensors(Data(written), path: "x", types: everyType), InputFile.content)
      require(again == written, "what is written is read as something else")
    } catch {
      broken("what is written cannot be read: \(error)")
    }
  }

  /// Calls `body` with the path of `file`, written.
  static func written<Result>(
    _ file: Safetensors, _ body: (String) throws -> Result
  ) throws -> Result {
    try FuzzFile.with(UnsafeRawBufferPointer(start: nil, count: 0)) { path in
      try FuzzFile.withCopy(of: path) { copy in
        try file.write(to: copy)
        return try body(copy)
      }
    }
  }

  static func models(_ bytes: UnsafeRawBufferPointer) throws {
    try FuzzFile.with(bytes) { path in
      do {
        return use(try ModelFile(path: path))
      } catch let error as FileError {
        FuzzTarget.check(error)
      }
      do {
        return use(try PretrainedModel(path: path))
      } catch let error as FileError {
        FuzzTarget.check(error)
      }
      use(try SegmenterModel(path: path))
    }
  }

  // MARK: Descriptions

  static func autoencoder(_ json: UnsafeRawBufferPointer) throws {
    try described(json, as: ModelDescription.self, format: "autoencoder 2") {
      $0.training.network.problem == nil ? [$0.training.network.parameterLayout] : []
    } read: {
      use(try ModelFile(path: $0))
    }
  }

  static func pretrained(_ json: UnsafeRawBufferPointer) throws {
    try described(json, as: PretrainedDescription.self, format: PretrainedDescription.format) {
      layouts($0.training.network)
    } read: {
      use(try PretrainedModel(path: $0))
    }
  }

  static func segmenter(_ json: UnsafeRawBufferPointer) throws {
    try described(json, as: SegmenterDescription.self, format: SegmenterDescription.format) {
      layouts($0.training.network)
    } read: {
      use(try SegmenterModel(path: $0))
    }
  }

  private static func layouts(_ network: ConvolutionalConfiguration) -> [ParameterLayout] {
    network.problem == nil ? [network.parameterLayout, network.statisticsLayout] : []
  }

  /// Writes a file with the description and, where they are few, with the tensors that it wants.
  private static func described<Description: Decodable>(
    _ json: UnsafeRawBufferPointer, as type: Description.Type, format: String,
    layouts: (Description) -> [ParameterLayout], read: (String) throws -> Void
  ) throws {
    var tensors: [ParameterLayout] = []
    if let description = try? JSONDecoder().decode(type, from: Data(json)) {
      tensors = layouts(description)
      if tensors.reduce(0, { $0 + $1.count }) > 1 << 13 { tensors = [] }
    }
    let text = String(decoding: json, as: UTF8.self)
    try file(text, format: format, slots: tensors.flatMap(\.slots)).withUnsafeBytes {
      try FuzzFile.with($0, read)
    }
  }

  /// A safetensors file with the description and tensors of halves, spelt out here so that it does
  /// not depend on what is tested.
  private static func file(
    _ description: String, format: String, slots: [ParameterSlot]
  ) throws -> [UInt8] {
    let metadata = try JSONEncoder().encode([
      "sparrow.format": format, "sparrow.model": description,
    ])
    var fields = ["\"__metadata__\":" + String(decoding: metadata, as: UTF8.self)]
    var offset = 0
    for slot in slots {
      let end = offset + 4 * slot.shape.count
      fields.append(
        "\"\(slot.name)\":{\"dtype\":\"F32\",\"shape\":\(slot.shape.dimensions),"
          + "\"data_offsets\":[\(offset),\(end)]}")
      offset = end
    }
    let header = Array("{\(fields.joined(separator: ","))}".utf8)
    let half = withUnsafeBytes(of: Float(0.5).bitPattern.littleEndian) { Array($0) }
    return withUnsafeBytes(of: UInt64(header.count).littleEndian) { Array($0) } + header
      + (0..<offset / 4).flatMap { _ in half }
  }

  // MARK: Use

  /// What a model of any size would be used for comes without a trap; of a small one, all of it.
  private static func use(_ model: ModelFile) {
    let training = model.description.training
    let network = training.network
    require(network.problem == nil && training.problem == nil, "a model with a problem")
    require(model.parameters.count == network.parameterLayout.count, "parameters are missing")
    _ = training.chosenArithmetic
    for step in [1, 2, 1 << 20] {
      _ = training.schedule.rate(
        base: training.learningRate, step: step, stepsPerEpoch: 100, epochs: training.epochs)
      if let annealing = training.annealing {
        _ = annealing.value(step: step, totalSteps: 1 << 21)
      }
    }
    // An annealed K may be more than the latents are; training tells.
    guard network.parameterLayout.count <= 1 << 13 else { return }
    attempt {
      let backend = ReferenceBackend(threads: 1)
      let autoencoder = try Autoencoder(network, parameters: model.parameters, on: backend)
      let workspace = try Workspace(network, batch: 2, on: backend)
      try backend.fill(workspace.input, with: 0.25)
      try autoencoder.forward(workspace)
      _ = try backend.download(workspace.reconstruction)
    }
  }

  private static func use<Description>(_ model: ConvolutionalModel<Description>) {
    let network = model.network
    require(model.description.training.problem == nil, "a model with a problem")
    require(model.parameters.count == network.parameterLayout.count, "parameters are missing")
    require(model.statistics.count == network.statisticsLayout.count, "statistics are missing")
    _ = network.summary
    _ = network.reach
    _ = model.description.training.length.expectedSteps(done: 1, seconds: 0.001)
    _ = ConvolutionalMemory.elementCount(
      network, batch: 1, height: 64 * network.alignment, width: 64 * network.alignment)
    var samples = [Float](repeating: 1, count: 4 * network.inputs)
    samples.withUnsafeMutableBufferPointer { model.description.normalisation.apply(to: $0) }
    guard network.parameterLayout.count <= 1 << 13, network.alignment <= 8 else { return }
    attempt {
      let backend = ReferenceBackend(threads: 1)
      let folded = try model.folded(on: backend)
      let side = network.alignment
      let workspace = try ConvolutionalWorkspace(
        network, batch: 1, height: side, width: side, purpose: .use, on: backend)
      try backend.fill(workspace.input.matrix, with: 0.25)
      try folded.forward(workspace)
      _ = try backend.download(workspace.output.matrix)
    }
  }

  private static func attempt(_ body: () throws -> Void) {
    do {
      try body()
    } catch {
      broken("a model that was read cannot be used: \(error)")
    }
  }
}

extension InputFile {
  fileprivate static func content(_ path: String) throws -> [UInt8] {
    try bytes(of: path, maximum: 1 << 30)
  }
}
