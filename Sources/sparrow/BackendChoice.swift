import ArgumentParser
import Compute
import DeviceTrust
import OpenCLBackend
import OpenCLRuntime
import ReferenceBackend

/// Work that runs on whichever backend was chosen.
protocol BackendTask {
  associatedtype Result
  /// The operations that it may need, by the names that the list of cases has for them: what the
  /// self-test of a device is about. All when nil.
  var operations: Set<String>? { get }
  /// Those of a training of the same model, `operations` among them: what a device was tested for
  /// then needs no test of its own.
  var trainingOperations: Set<String>? { get }
  func run<B: Backend>(on backend: B) throws -> Result
}

extension BackendTask {
  var operations: Set<String>? { nil }
  var trainingOperations: Set<String>? { nil }
}

extension DeviceOptions {
  /// The chosen device, or nil for the reference; says on standard error which it is and why.
  ///
  /// - Parameters:
  ///   - tested: whether a device that fails its self-test is refused: `auto` then moves on.
  ///   - operations: what the self-test is about; everything when nil.
  ///   - wider: more operations; where a self-test of them is remembered, there is no other.
  /// - Throws: `Problem` or `DeviceRefusal` where a device was named that cannot be used.
  func choose(
    tested: Bool = true, for operations: Set<String>? = nil, within wider: Set<String>? = nil
  ) throws -> Device? {
    let request = try request()
    // The reference works where not even the loader does.
    if request.selector == .reference {
      announce(try request.select(from: []))
      return nil
    }
    let devices: [Device]
    do {
      devices = try DeviceCatalog.devices()
    } catch  where request.selector == .automatic {
      let reason = "Chose the reference: OpenCL does not answer (\(error))."
      announce(.reference(reason: reason))
      return nil
    }
    var descriptions = devices.map(\.properties)
    while true {
      let selection = try select(request, from: descriptions)
      guard case .device(let index, _) = selection else {
        announce(selection, advises: devices.isEmpty)
        return nil
      }
      guard tested, let obstacle = obstacle(of: devices[index], for: operations, within: wider)
      else {
        announce(selection)
        return devices[index]
      }
      guard request.selector == .automatic else {
        throw DeviceRefusal(
          origin: origin(of: request), device: descriptions[index].summary, obstacle: obstacle)
      }
      descriptions[index].refusal =
        obstacle.prefix { !$0.isNewline } + "; \(DeviceRefusal.remedy)"
    }
  }

  /// Why a self-test, now or remembered, forbids the device; nil where it does not, or where the
  /// device is forced.
  private func obstacle(
    of device: Device, for operations: Set<String>?, within wider: Set<String>?
  ) -> String? {
    let extent = SelfTesting.Extent.start(of: operations)
    // What has passed, or failed, as a whole needs no test of a part.
    let identities = [nil, wider, operations].map {
      SelfTestIdentity(device.properties, cases: SelfTesting.Extent.start(of: $0).cases)
    }
    let identity =
      identities.first { SelfTesting.trial.remembered($0) != nil } ?? identities[2]
    guard isForced else {
      return SelfTesting.trial.verdict(on: device, identity) { device, _ in
        Console.note(
          "Self-test of \(device.properties.summary): the first use with this driver and build;"
            + " compiling takes most of the time.")
        let verdict = SelfTesting.run(device, extent)
        if let store = SelfTesting.trial.store, store.record(for: identity) == nil {
          Console.note("Warning: \(store.folder): what the self-test found cannot be kept there")
        }
        return verdict
      }.obstacle
    }
    let remembered = SelfTesting.trial.remembered(identity)
    if let obstacle = remembered?.obstacle?.prefix(while: { !$0.isNewline }) {
      Console.note("Warning: --force-device: \(device.properties.summary) \(obstacle)")
    } else if remembered == nil {
      Console.note("Warning: --force-device: \(device.properties.summary) has not been tested")
    }
    return nil
  }

  /// As `DeviceRequest.select(from:)`, with the flag named in the error where it is to blame.
  func select(
    _ request: DeviceRequest, from devices: [DeviceDescription]
  ) throws -> DeviceSelector.Selection {
    do {
      return try request.select(from: devices)
    } catch let error as DeviceSelectionError {
      let origin = request.origin == nil ? "--device: " : ""
      let advice = devices.isEmpty ? "; 'sparrow devices' says what to install" : ""
      throw Problem(origin + error.message + advice)
    }
  }

  private func origin(of request: DeviceRequest) -> String { request.origin ?? "--device" }

  private func announce(_ selection: DeviceSelector.Selection, advises: Bool = false) {
    switch selection {
    case .device(_, let reason):
      Console.note("Device: " + reason.droppingPrefix("Chose "))
    case .reference(let reason):
      let advice = advises ? " 'sparrow devices' says what to install." : ""
      Console.note("Device: \(ReferenceBackend().name). \(reason)\(advice)")
    }
  }

  /// Runs the task on the chosen backend.
  func run<Task: BackendTask>(_ task: Task) throws -> Task.Result {
    guard let device = try choose(for: task.operations, within: task.trainingOperations) else {
      return try task.run(on: ReferenceBackend())
    }
    return try task.run(on: OpenCLBackend(device: device))
  }
}

/// A device that was asked for and fails its self-test.
struct DeviceRefusal: Error, CustomStringConvertible {
  /// `--device` or `SPARROW_DEVICE`.
  let origin: String
  let device: String
  /// Its first line is short, a build log may follow.
  let obstacle: String

  static let remedy = "'sparrow devices --retest' tests it again"

  var description: String {
    let end = obstacle.firstIndex(where: \.isNewline) ?? obstacle.endIndex
    return
      "\(origin): \(device) \(obstacle[..<end]); \(Self.remedy), --force-device uses it as it is"
      + obstacle[end...]
  }
}

extension String {
  fileprivate func droppingPrefix(_ prefix: String) -> String {
    hasPrefix(prefix) ? String(dropFirst(prefix.count)) : self
  }
}
