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
  /// The chosen device, or nil for the reference, and why.
  func choose() throws -> (device: Device?, reason: String) {
    let devices = try DeviceCatalog.devices()
    switch try request().select(from: devices.map(\.properties)) {
    case .reference(let reason): return (nil, reason)
    case .device(let index, let reason): return (devices[index], reason)
    }
  }

  /// Runs the task on the chosen backend; says on standard error which it is and why.
  func run<Task: BackendTask>(_ task: Task) throws -> Task.Result {
    let (device, reason) = try choose()
    guard let device else {
      let backend = ReferenceBackend()
      Console.note("Device: \(backend.name). \(reason)")
      return try task.run(on: backend)
    }
    Console.note("Device: \(device.name), \(device.platformName). \(reason)")
    return try task.run(on: OpenCLBackend(device: device))
  }
}
