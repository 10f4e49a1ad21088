import ArgumentParser
import Datasets
import OpenCLRuntime
import Training

/// `--device`, with `SPARROW_DEVICE` behind it.
struct DeviceOptions: ParsableArguments {
  @Option(
    name: .customLong("device"),
    help: ArgumentHelp(
      "The device: auto, reference, gpu, cpu, P:D, or part of a device's or vendor's name.",
      discussion: """
        auto prefers a GPU, then a CPU device, then the reference. A device that is named and \
        cannot be used is an error. The environment's SPARROW_DEVICE is the default. See \
        `sparrow devices`.
        """,
      valueName: "selection"))
  var name: String?

  func validate() throws { _ = try request() }

  func request() throws -> DeviceRequest {
    do {
      return try DeviceRequest(flag: name)
    } catch {
      throw ValidationError("\(error)")
    }
  }
}

/// `--data`
struct DataOptions: ParsableArguments {
  @Option(
    name: .customLong("data"),
    help: ArgumentHelp(
      "The images: mnist:DIR, idx:IMAGES[,LABELS], images:DIR or glyphs.",
      discussion: """
        mnist:DIR has the four files of MNIST or a set in its format, gzipped or not. idx:IMAGES is \
        one IDX file. images:DIR is a folder of PNG or JPEG images of one size. glyphs are drawn \
        by the program. A source without a test part of its own is tested on every tenth image.
        """,
      valueName: "source"),
    transform: { try DataSource(parsing: $0) })
  var source: DataSource
}

/// `--json`
struct JSONOption: ParsableArguments {
  @Flag(
    name: .customLong("json"), help: "Print one JSON object, and nothing else, on standard output.")
  var isOn = false
}
