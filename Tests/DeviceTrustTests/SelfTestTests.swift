import Compute
import Datasets
import DeviceTrust
import Foundation
import Networks
import OpenCLBackend
import OpenCLRuntime
import Segmentation
import TestSupport
import Testing
import Training
import Verification

@Suite(.usesDevice) struct SelfTestTests {
  @Test(arguments: DeviceFamily.allCases) func aGoodDevicePasses(family: DeviceFamily) throws {
    guard let device = try TestDevice.find() else { return }
    let verdict = SelfTest.run(OperationCases.start, on: device, family: family)
    #expect(verdict.isPassed && verdict.obstacle == nil, "\(verdict)")
    guard case .passed(let cases, _) = verdict else { return }
    #expect(cases == OperationCases.start.count)
  }

  /// Every operation is in it, and every kernel that the small cases use.
  @Test(arguments: DeviceFamily.allCases) func coversEveryFamily(family: DeviceFamily) throws {
    let operations = Set(OperationCases.all(.quick).map(\.operation))
    #expect(Set(OperationCases.start.map(\.operation)) == operations)
    for (key, labels) in OperationCases.startLabels {
      let cases = OperationCases.start(of: [key])
      #expect(cases.allSatisfy { $0.operation == OperationCases.operation(ofKey: key) })
      for label in labels {
        #expect(cases.contains { $0.label == label }, "there is no \(key) \(label)")
      }
    }
    guard let device = try TestDevice.find() else { return }
    func kernels(_ cases: [any OperationCase]) throws -> Set<String> {
      let backend = try OpenCLBackend(device: device, family: family, tuning: .rule)
      for operation in cases { _ = try operation.report(on: backend) }
      return backend.kernelNames
    }
    let all = try kernels(OperationCases.all(.quick))
    #expect(all.count >= 60)
    let untried = all.subtracting(try kernels(OperationCases.start))
    #expect(untried.isEmpty, "\(untried.sorted())")
  }

  /// Whatever a segmenter's number of classes, there are cases of the program for it.
  @Test func coversEveryNumberOfClasses() {
    for classes in 2...20 {
      for operation in ["softmax", "segmentationLoss"] {
        let name = SegmentationLoss.name(of: operation, classes: classes)
        let cases = OperationCases.start(of: [name])
        #expect(cases.count == 1)
        let known = SegmentationLoss.specialClassCounts.contains(classes)
        #expect(cases.allSatisfy { !known || $0.label.contains("x\(classes), ") })
      }
    }
  }

  /// Processes that share the parts build hardly a program twice.
  @Test func partsHaveProgramsOfTheirOwn() throws {
    let parts = OperationCases.parts(of: OperationCases.start)
    func names(_ cases: [any OperationCase]) -> [String] {
      cases.map { "\($0.operation) \($0.label) \($0.tier.rawValue)" }.sorted()
    }
    #expect(names(parts.flatMap { $0 }) == names(OperationCases.start))
    #expect(OperationCases.parts(of: OperationCases.start(of: ["adam", "topK"])).count == 2)
    guard let device = try TestDevice.find() else { return }
    var owners: [String: Int] = [:]
    for part in parts {
      let backend = try OpenCLBackend(device: device, family: .cpu, tuning: .rule)
      for operation in part { _ = try operation.report(on: backend) }
      for program in usedPrograms(backend) { owners[program, default: 0] += 1 }
    }
    // The way forward and back apart from the gradients, since together they take too long.
    #expect(owners.filter { $0.value > 1 } == ["denseCPU": 2])
  }

  /// For GPUs a part has at most one form of a product or a convolution, since each is a program.
  @Test func partsForGPUsHaveOneFormEach() throws {
    let forms: Set = ["matmul", "convolution", "transposedConvolution", "convolutionGradient"]
    for cases in [OperationCases.start, OperationCases.all(.quick)] {
      let parts = OperationCases.parts(of: cases, formsApart: true)
      #expect(parts.count > OperationCases.parts(of: cases).count && parts.count <= 256)
      #expect(parts.reduce(0) { $0 + $1.count } == cases.count)
    }
    guard let device = try TestDevice.find() else { return }
    for part in OperationCases.parts(of: OperationCases.start, formsApart: true)
    where forms.contains(part[0].operation) {
      let backend = try OpenCLBackend(device: device, family: .gpu, tuning: .rule)
      for operation in part { _ = try operation.report(on: backend) }
      let programs = backend.programNames.filter { $0.contains(" -DTILE_M=") }
      #expect(programs.count == 1, "\(part[0].operation) \(part[0].label): \(programs)")
    }
  }

  private func usedPrograms(_ backend: OpenCLBackend) -> Set<String> {
    Set(backend.kernelNames.map { String($0.prefix { $0 != "." }) })
  }

  /// The self-test before a training is of its operations alone: no kernel is used that it has not
  /// tried.
  @Test(arguments: DeviceFamily.allCases) func coversWhatATrainingUses(family: DeviceFamily) throws
  {
    guard let device = try TestDevice.find() else { return }
    let images = Glyphs.dataset(trainCount: 20, testCount: 4, seed: 1)
    for configuration in Self.configurations {
      let backend = try OpenCLBackend(device: device, family: family, tuning: .rule)
      let trainer = try Trainer(
        configuration, images: images.train, normalisation: .unit, on: backend)
      try trainer.run { _ in }
      try expect(configuration.operations, coverWhatWasUsedBy: backend, configuration.network)
      let used = try OpenCLBackend(device: device, family: family, tuning: .rule)
      let network = try Autoencoder(
        configuration.network, parameters: trainer.step.parameters(), on: used)
      let evaluator = try Evaluator(network, batchSize: 4)
      _ = try evaluator.evaluate(images.test, normalisation: .unit)
      try expect(
        configuration.evaluationOperations, coverWhatWasUsedBy: used, configuration.network)
      #expect(configuration.evaluationOperations.isSubset(of: configuration.operations))
    }
  }

  private func expect(
    _ operations: Set<String>, coverWhatWasUsedBy backend: OpenCLBackend, _ subject: Any
  ) throws {
    let tried = try OpenCLBackend(
      device: backend.device, family: backend.family, tuning: .rule)
    for operation in OperationCases.start(of: operations) { _ = try operation.report(on: tried) }
    let untried = backend.kernelNames.subtracting(tried.kernelNames)
    #expect(untried.isEmpty, "\(subject): \(untried.sorted())")
    #expect(operations.isSubset(of: OperationCases.startLabels.map(\.key)))
  }

  private static let configurations: [TrainingConfiguration] = {
    func make(
      _ network: AutoencoderConfiguration,
      _ change: (inout TrainingConfiguration) -> Void = { _ in }
    ) -> TrainingConfiguration {
      var result = TrainingConfiguration(network: network, epochs: 1, batchSize: 8)
      change(&result)
      return result
    }
    let codes: [Code] = [.relu, .topK(4), .batchTopK(4), .jumpReLU, .hardConcrete, .l1]
    return codes.flatMap { code in
      [
        make(.collapsed(inputs: 784, latents: 16, code: code)) {
          if code.hasPenalty { ($0.beta, $0.targetL0) = (1e-3, TargetL0(4)) }
        },
        make(.dictionary(inputs: 784, latents: 32, code: code)),
      ]
    } + [
      make(.dictionary(inputs: 784, latents: 32, code: .topK(4))) { $0.arithmetic = .sparse },
      make(.dictionary(inputs: 784, latents: 32, code: .topK(4))) {
        $0.arithmetic = .sparse
        $0.optimizer.gradientLimit = 1
      },
      // Trained in one arithmetic, evaluated in the other.
      make(.dictionary(inputs: 784, latents: 31, code: .topK(4))) { $0.arithmetic = .sparse },
      make(.dictionary(inputs: 784, latents: 32, code: .topK(4))) { $0.arithmetic = .dense },
      make(.dictionary(inputs: 784, latents: 32, code: .topK(4))) {
        $0.arithmetic = .sparse
        $0.optimizer.method = .sgd(momentum: 0.9)
        ($0.startsFromData, $0.centresLayers) = (true, true)
      },
      make(.collapsed(inputs: 784, latents: 300)),
      make(.collapsed(inputs: 784, latents: 16)) {
        $0.optimizer.method = .sgd(momentum: 0.9)
        $0.optimizer.averageDecay = 0.9
        $0.contractive = 0.1
      },
    ]
  }()

  @Test(arguments: DeviceFamily.allCases) func coversWhatSegmentationUses(
    family: DeviceFamily
  ) throws {
    guard let device = try TestDevice.find() else { return }
    for code: Code in [.relu, .topK(4), .batchTopK(4), .jumpReLU, .hardConcrete, .l1] {
      func backend() throws -> OpenCLBackend {
        try OpenCLBackend(device: device, family: family, tuning: .rule)
      }
      let work = try SegmentationWork()
      let (pretraining, training) = (try backend(), try backend())
      let (encoding, prediction) = (try backend(), try backend())
      let front = try work.pretrain(on: pretraining, code: code)
      let model = try work.train(on: training, code: code)
      try work.encode(front, on: encoding)
      _ = try work.predict(model, on: prediction)
      let network = model.description.training.network
      try expect(
        network.operations(for: .pretraining), coverWhatWasUsedBy: pretraining, code)
      try expect(network.operations(for: .training), coverWhatWasUsedBy: training, code)
      try expect(network.operations(for: .encoding), coverWhatWasUsedBy: encoding, code)
      try expect(network.operations(for: .prediction), coverWhatWasUsedBy: prediction, code)
      let adaptedPrediction = try backend()
      _ = try work.predict(model, adaptation: 0.2, on: adaptedPrediction)
      try expect(
        network.operations(for: .adaptedPrediction), coverWhatWasUsedBy: adaptedPrediction, code)
      // A device that was tested for a training needs no test for what the network is for.
      func all(
        of use: ConvolutionalConfiguration.Use,
        areAmongThoseOf wider: ConvolutionalConfiguration.Use
      ) -> Bool {
        network.operations(for: use).isSubset(of: network.operations(for: wider))
      }
      #expect(all(of: .encoding, areAmongThoseOf: .pretraining))
      #expect(all(of: .prediction, areAmongThoseOf: .training))
      #expect(all(of: .adaptedPrediction, areAmongThoseOf: .training))
    }
  }

  /// A text in a kernel, and what a driver that miscompiles it would make of it.
  private struct Miscompilation {
    let source: KernelSource
    let right, wrong: String
    /// nil where both layouts use it.
    var family: DeviceFamily?
  }

  private static let miscompilations: [Miscompilation] = [
    .init(source: .activation, right: "5.0000001201e-1f", wrong: "4.9990001201e-1f"),
    .init(source: .adam, right: "slope = g[i];", wrong: "slope = g[first];"),
    .init(
      source: .adam, right: "fma((T)(beta2), V, (T)(rest2) * (G * G))",
      wrong: "fma((T)(beta2), V, (T)(rest2) * G)"),
    .init(
      source: .optimizer, right: "p[i] = fma(-rate, velocity, p[i]);",
      wrong: "p[i] = fma(rate, velocity, p[i]);"),
    .init(
      source: .gather, right: "(float)source[j], scale", wrong: "(float)(char)source[j], scale"),
    .init(source: .lossRow, right: "rest = fma(d, d, rest);", wrong: "rest = d * d;", family: .cpu),
    .init(
      source: .loss, right: "sums[lane] += sums[lane + step];",
      wrong: "sums[lane] -= sums[lane + step];", family: .gpu),
    .init(
      source: .columns, right: "sum += x[(ulong)i * width + j];",
      wrong: "sum += x[(ulong)i * width];"),
    .init(
      source: .matmulBlock, right: "fma((float16)(A_VALUE(i)), b16, x##i)",
      wrong: "fma((float16)(A_VALUE(i)), b16.s1032547698badcfe, x##i)",
      family: .cpu),
    .init(
      source: .convolutionCPU, right: "fma((float16)(p##i[k]), factor, s##i)",
      wrong: "fma((float16)(p##i[0]), factor, s##i)", family: .cpu),
    .init(
      source: .winogradCPU, right: "d[u][2] = d2 - d1;", wrong: "d[u][2] = d1 - d2;", family: .cpu),
    .init(
      source: .tileGPU, right: "fma(av[i], bv[j], acc[i][j])",
      wrong: "fma(av[i], bv[0], acc[i][j])",
      family: .gpu),
    .init(
      source: .matmulGPU, right: "e / (TILE_K / VECTOR)), STRIDE", wrong: "0), STRIDE",
      family: .gpu),
    .init(
      source: .convolutionGPU, right: "+= bias[biasOffset + n]", wrong: "+= bias[biasOffset]",
      family: .gpu),
    .init(
      source: .convolutionGradientGPU, right: "staged[s] = JOIN(partOf_, X_PART)",
      wrong: "staged[s] = -JOIN(partOf_, X_PART)", family: .gpu),
    .init(
      source: .convolutionPartsGPU, right: "sums[row][column] += sums",
      wrong: "sums[row][column] -= sums", family: .gpu),
    .init(
      source: .balance, right: "share < threshold) bias", wrong: "share > threshold) bias"),
    .init(
      source: .tickets, right: "block < (blocks);", wrong: "block + 1 < (blocks);", family: .cpu),
    .init(source: .logarithm, right: "(F)(2.0f / 3)", wrong: "(F)(2.0f / 3.1f)"),
    .init(
      source: .strips, right: "c += 8) CALL(float8)", wrong: "c += 16) CALL(float8)", family: .cpu),
    .init(source: .pool, right: "if (accumulating) slope +=", wrong: "if (accumulating) slope ="),
    .init(source: .segmentation, right: "sum += e; ", wrong: "sum = e; "),
    .init(source: .gates, right: "fma(sigmoid, (F)(STRETCH)", wrong: "fma(sigmoid, (F)(1.0f)"),
    .init(
      source: .normalise, right: "fma(momentum, average - *runningMean, *runningMean)",
      wrong: "fma(momentum, average, *runningMean)"),
  ]

  /// A driver that miscompiles one line of one file is refused, and the operation named.
  @Test func deliberatelyWrongKernelsAreCaught() throws {
    guard let device = try TestDevice.find() else { return }
    var caught = 0
    for change in Self.miscompilations {
      let text = KernelSources.standard.text(of: change.source)
      #expect(text.contains(change.right), "\(change.source): \(change.right)")
      let wrong = text.replacingOccurrences(of: change.right, with: change.wrong)
      caught += expectRefusal(
        KernelSources.standard.replacing(change.source, with: wrong), "\(change.source)",
        families: change.family.map { [$0] } ?? DeviceFamily.allCases, on: device)
    }
    // Files whose lines say less: their sums and largest values are taken wrongly throughout.
    for (source, families) in [
      (KernelSource.sparse, DeviceFamily.allCases), (.sparseLatents, DeviceFamily.allCases),
      (.sparseSums, DeviceFamily.allCases), (.codes, DeviceFamily.allCases),
      (.select, DeviceFamily.allCases),
    ] {
      let text = KernelSources.standard.text(of: source)
      let wrong =
        """
        #undef fma
        #undef fmax
        #define fma(a, b, c) mad((a), (b), (c) * 1.0078125f)
        #define fmax(a, b) min((a), (b))

        """ + text
      caught += expectRefusal(
        KernelSources.standard.replacing(source, with: wrong), "\(source)", families: families,
        on: device)
    }
    print("Deliberately wrong kernels refused: \(caught)")
    #expect(caught >= 30)
  }

  /// Returns in how many layouts it was refused.
  private func expectRefusal(
    _ sources: KernelSources, _ name: String, families: [DeviceFamily], on device: Device
  ) -> Int {
    families.count { family in
      let verdict = SelfTest.run(
        OperationCases.start, on: device, family: family, sources: sources)
      guard case .miscomputed(let operation, _, let failure) = verdict else {
        Issue.record("\(name), \(family): \(verdict)")
        return false
      }
      #expect(verdict.obstacle?.contains(operation) == true && !failure.isEmpty)
      return true
    }
  }

  @Test func aKernelThatDoesNotBuildIsTold() throws {
    guard let device = try TestDevice.find() else { return }
    let sources = KernelSources.standard.replacing(.adam, with: "kernel void adam( {")
    let verdict = SelfTest.run(OperationCases.start, on: device, sources: sources)
    guard case .failed(let error) = verdict else {
      Issue.record("\(verdict)")
      return
    }
    #expect(error.contains("clBuildProgram") && error.contains("'common'"))
  }

  /// PoCL compiles all programs with the declarations that come with them, and, where it does not,
  /// with its own.
  @Test(arguments: DeviceFamily.allCases) func programsBringTheirDeclarations(
    family: DeviceFamily
  ) throws {
    guard let device = try TestDevice.find() else { return }
    let isPoCL = device.properties.isPoCL && device.properties.kind == .cpu
    let backend = try OpenCLBackend(device: device, family: family, tuning: .rule)
    for operation in OperationCases.start { _ = try operation.report(on: backend) }
    #expect(backend.declaresFunctions == isPoCL)
    let other = try OpenCLBackend(
      device: device, family: family, tuning: .rule,
      sources: KernelSources.standard.replacing(.declarations, with: "float fma(float);\n"))
    let operations = OperationCases.start(of: ["adam", "matmul"])
    try #require(operations.count > 1)
    for operation in operations {
      #expect(try operation.report(on: other).comparison.failure == nil)
    }
    #expect(!other.declaresFunctions)
  }

  @Test func theIdentityFollowsWhatMatters() {
    let device = DeviceDescription(name: "A", driverVersion: "1", platformName: "P", kind: .gpu)
    let identity = SelfTestIdentity(device)
    #expect(identity == SelfTestIdentity(device))
    #expect(identity.digest == SelfTestIdentity(device).digest)
    #expect(identity.digest.count == 64)
    var others = [SelfTestIdentity(device, family: .cpu)]
    var other = device
    other.driverVersion = "2"
    others.append(SelfTestIdentity(other))
    other = device
    other.name = "B"
    others.append(SelfTestIdentity(other))
    other = device
    other.platformVersion = "OpenCL 3.0"
    others.append(SelfTestIdentity(other))
    for unit in ["uuid 01", "uuid 02"] {
      other = device
      other.unit = unit
      others.append(SelfTestIdentity(other))
    }
    others.append(SelfTestIdentity(device, build: "another"))
    others.append(
      SelfTestIdentity(device, sources: KernelSources.standard.replacing(.peak, with: "")))
    others.append(SelfTestIdentity(device, cases: Array(OperationCases.start.dropLast())))
    for other in others { #expect(other.digest != identity.digest) }
    #expect(Set(others.map(\.digest)).count == others.count)
    // What a listing of devices changes between starts is no part of it.
    other = device
    other.platformIndex = 3
    other.globalMemory = 7 << 30
    #expect(SelfTestIdentity(other) == identity)
  }

  @Test func theBuildIsKnown() throws {
    #expect(BuildIdentity.current.count >= 16)
    let whole = try #require(BuildIdentity.contents(of: BuildIdentity.executable))
    #expect(whole.count == 64)
    #expect(BuildIdentity.current == BuildIdentity.linkerNote() ?? whole)
    let folder = try TemporaryFolder()
    let empty = try folder.write("", to: "empty")
    #expect(
      BuildIdentity.contents(of: empty)
        == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")
    #expect(BuildIdentity.contents(of: folder.file("absent")) == nil)
  }
}
