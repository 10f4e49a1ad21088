import Compute
import Imaging
import OpenCLBackend
import ReferenceBackend

/// What the bits of a run depend on besides its settings and images, as checkpoints say it.
struct RunOrigin {
  /// With the version of its driver, where it has one.
  let device: String
  /// The version of Sparrow.
  let program: String

  /// Of a run as this process does it.
  init(_ backend: some Backend) {
    let driver = (backend as? OpenCLBackend)?.device.driverVersion ?? ""
    device = driver.isEmpty ? backend.name : backend.name + Self.driver + driver
    program = Sparrow.version
  }

  /// Of a run as its checkpoint has it.
  init(device: String, program: String) {
    self.device = FileError.line(device)
    self.program = FileError.line(program)
  }

  private static let driver = ", driver "

  /// Says on standard error where a run goes on with other bits than those it was begun with.
  ///
  /// - Parameter now: where it goes on.
  func noteChange(to now: RunOrigin) {
    guard !isAlike(now) else { return }
    func words(_ origin: RunOrigin) -> String {
      program == now.program ? origin.device : "\(origin.device) with Sparrow \(origin.program)"
    }
    Console.note(
      "Note: this run was on \(words(self)) and goes on on \(words(now)); its bits will be "
        + "those of neither alone")
  }

  /// Whether a run of one is a run of the other to the bit, as far as is known.
  private func isAlike(_ now: RunOrigin) -> Bool {
    guard !device.isEmpty else { return true }
    guard program == now.program else { return false }
    // The reference's threads do not change its bits, and old checkpoints have no driver.
    let reference = "CPU reference,"
    return device == now.device || now.device.hasPrefix(device + Self.driver)
      || device.hasPrefix(reference) && now.device.hasPrefix(reference)
  }
}
