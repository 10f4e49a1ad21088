// swift-tools-version: 6.1
import Foundation
import PackageDescription

let package = Package(
  name: "Sparrow",
  platforms: [.macOS(.v13)],
  products: [
    .executable(name: "sparrow", targets: ["sparrow"])
  ],
  dependencies: [
    .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
    .package(url: "https://github.com/apple/swift-log", from: "1.16.2"),
    .package(url: "https://github.com/apple/swift-crypto", from: "4.5.2"),
  ],
  targets: [
    // The system's OpenCL: Khronos' loader on Linux, the framework on macOS.
    .target(
      name: "COpenCL",
      linkerSettings: [
        .linkedLibrary("OpenCL", .when(platforms: [.linux])),
        .linkedFramework("OpenCL", .when(platforms: [.macOS])),
      ]),
    .systemLibrary(
      name: "CZlib", pkgConfig: "zlib", providers: [.apt(["zlib1g-dev"]), .brew(["zlib"])]),
    .systemLibrary(
      name: "CPNG", pkgConfig: "libpng", providers: [.apt(["libpng-dev"]), .brew(["libpng"])]),
    .systemLibrary(
      name: "CJPEG", pkgConfig: "libjpeg",
      providers: [.apt(["libjpeg-dev"]), .brew(["jpeg-turbo"])]),
    .systemLibrary(
      name: "CTIFF", pkgConfig: "libtiff-4",
      providers: [.apt(["libtiff-dev"]), .brew(["libtiff"])]),
    // C around libpng, libjpeg and libtiff: error handling by longjmp cannot cross Swift frames,
    // nor can Swift call functions of a variable number of arguments.
    .target(name: "CImageCodecs", dependencies: ["CPNG", "CJPEG", "CTIFF"]),
    // C for what the linker notes in an executable, which Swift's view of the system lacks.
    .target(name: "CExecutable"),
    // And for words that a signal's handler shares, which Swift's own atomics need a newer macOS for.
    .target(name: "CSignals"),
    // The OpenCL C sources, embedded.
    .target(
      name: "Kernels", path: "Kernels", sources: ["Kernels.c"], publicHeadersPath: "include"),

    .target(
      name: "OpenCLRuntime",
      dependencies: [
        "COpenCL", .product(name: "Crypto", package: "swift-crypto"),
        .product(name: "Logging", package: "swift-log"),
      ]),
    .target(name: "RandomNumbers"),
    .target(name: "Compute", dependencies: ["RandomNumbers"]),
    // Every operation in double precision with its error bound, and the cases all backends walk.
    .target(name: "Verification", dependencies: ["Compute", "RandomNumbers"]),
    .target(name: "ReferenceBackend", dependencies: ["Compute"]),
    .target(
      name: "OpenCLBackend",
      dependencies: [
        "Compute", "Kernels", "OpenCLRuntime", "Verification",
        .product(name: "Logging", package: "swift-log"),
      ]),
    // The self-test of a device, and what is remembered of it.
    .target(
      name: "DeviceTrust",
      dependencies: [
        "CExecutable", "CSignals", "Compute", "Imaging", "OpenCLBackend", "OpenCLRuntime",
        "Verification",
        .product(name: "Crypto", package: "swift-crypto"),
      ]),
    .target(name: "Networks", dependencies: ["Compute", "RandomNumbers"]),
    .target(name: "Imaging", dependencies: ["CImageCodecs", "CSignals"]),
    .target(
      name: "Datasets",
      dependencies: [
        "CZlib", "Imaging", "RandomNumbers", .product(name: "Crypto", package: "swift-crypto"),
      ]),
    .target(
      name: "Training",
      dependencies: [
        "Compute", "Networks", "Datasets", "Imaging", "RandomNumbers", "Verification",
        .product(name: "Crypto", package: "swift-crypto"),
      ]),
    // Labelled images, their augmentation, training on them, prediction in tiles, scores.
    .target(
      name: "Segmentation",
      dependencies: [
        "Compute", "Datasets", "Imaging", "Networks", "RandomNumbers", "Training", "Verification",
        .product(name: "Crypto", package: "swift-crypto"),
      ]),
    .executableTarget(
      name: "sparrow",
      dependencies: [
        "Compute", "Verification", "ReferenceBackend", "OpenCLBackend", "OpenCLRuntime",
        "DeviceTrust", "Networks", "Datasets", "Imaging", "RandomNumbers", "Segmentation",
        "Training",
        .product(name: "ArgumentParser", package: "swift-argument-parser"),
        .product(name: "Logging", package: "swift-log"),
      ]),

    // The readers as a fuzzer calls them: a test replays the corpus, Scripts/fuzz.sh adds to it.
    .target(
      name: "FuzzTargets",
      dependencies: [
        "Compute", "Datasets", "DeviceTrust", "Imaging", "Networks", "OpenCLBackend",
        "OpenCLRuntime", "ReferenceBackend", "Segmentation", "Training",
      ],
      path: "Tests/FuzzTargets"),
    // Folders, files and the device, for the tests below.
    .testTarget(
      name: "TestSupport", dependencies: ["CZlib", "Datasets", "Imaging", "OpenCLRuntime"]),
    .testTarget(
      name: "FuzzTests", dependencies: ["FuzzTargets", "RandomNumbers"],
      exclude: ["Corpus", "Dictionaries"]),

    .testTarget(name: "RandomNumbersTests", dependencies: ["RandomNumbers"]),
    .testTarget(name: "OpenCLRuntimeTests", dependencies: ["OpenCLRuntime", "TestSupport"]),
    .testTarget(
      name: "BackendTests",
      dependencies: [
        "Compute", "Verification", "RandomNumbers", "ReferenceBackend", "OpenCLBackend",
        "OpenCLRuntime", "Datasets", "Networks", "TestSupport", "Training",
      ],
      exclude: ["Fixtures"]),
    .testTarget(
      name: "DeviceTrustTests",
      dependencies: [
        "Compute", "Datasets", "DeviceTrust", "Networks", "OpenCLBackend", "OpenCLRuntime",
        "RandomNumbers", "Segmentation", "TestSupport", "Training", "Verification",
      ]),
    .testTarget(
      name: "ImagingTests", dependencies: ["Imaging", "TestSupport"], exclude: ["Fixtures"]),
    .testTarget(
      name: "DatasetsTests", dependencies: ["Datasets", "Imaging", "RandomNumbers", "TestSupport"]),
    .testTarget(
      name: "NetworksTests", dependencies: ["Networks", "RandomNumbers", "ReferenceBackend"]),
    .testTarget(
      name: "TrainingTests",
      dependencies: [
        "Compute", "Datasets", "Imaging", "Networks", "OpenCLBackend", "OpenCLRuntime",
        "RandomNumbers", "ReferenceBackend", "TestSupport", "Training",
      ],
      exclude: ["Fixtures"]),
    .testTarget(
      name: "SegmentationTests",
      dependencies: [
        "Compute", "Imaging", "Networks", "OpenCLBackend", "OpenCLRuntime", "RandomNumbers",
        "ReferenceBackend", "Segmentation", "TestSupport", "Training",
      ]),
    .testTarget(
      name: "CommandLineTests",
      dependencies: [
        "sparrow", "Datasets", "DeviceTrust", "Imaging", "Segmentation", "TestSupport", "Training",
      ]),
  ],
  swiftLanguageModes: [.v6],
  cLanguageStandard: .c11
)

// Only for Scripts/fuzz.sh, which links libFuzzer to it.
if ProcessInfo.processInfo.environment["SPARROW_FUZZ"] != nil {
  package.targets += [
    .target(name: "CFuzzer", path: "Tests/CFuzzer"),
    .executableTarget(
      name: "sparrow-fuzz", dependencies: ["CFuzzer", "FuzzTargets"], path: "Tests/FuzzDriver"),
  ]
}
