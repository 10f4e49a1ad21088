import ArgumentParser
import Compute
import OpenCLBackend
import OpenCLRuntime
import ReferenceBackend

/// Work that runs on whichever backend was chosen.
protocol BackendTask {
  associatedtype Result
  func run<B: Backend>(on backend: B) throws -> Result
}

extension DeviceOptions {
  /// The chosen device, or nil for the reference; says on standard error which it is and why.
  ///
  /// - Throws: `Problem` where a device was named that cannot be used.
  func choose() throws -> Device? {
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
    let selection = try select(request, from: devices)
    announce(selection, advises: devices.isEmpty)
    guard case .device(let index, _) = selection else { return nil }
    return devices[index]
  }

  /// As `DeviceRequest.select(from:)`, with the flag named in the error where it is to blame.
  func select(
    _ request: DeviceRequest, from devices: [Device]
  ) throws -> DeviceSelector.Selection {
    do {
      return try request.select(from: devices.map(\.properties))
    } catch let error as DeviceSelectionError {
      let origin = request.origin == nil ? "--device: " : ""
      let advice = devices.isEmpty ? "; 'sparrow devices' says what to install" : ""
      throw Problem(origin + error.message + advice)
    }
  }

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
    guard let device = try choose() else { return try task.run(on: ReferenceBackend()) }
    return try task.run(on: OpenCLBackend(device: device))
  }
}

extension String {
  fileprivate func droppingPrefix(_ prefix: String) -> String {
    hasPrefix(prefix) ? String(dropFirst(prefix.count)) : self
  }
}
