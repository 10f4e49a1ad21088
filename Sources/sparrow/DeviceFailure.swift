import ArgumentParser
import OpenCLRuntime

enum OnDeviceFailure: String, CaseIterable, ExpressibleByArgument { case stop, reference }

extension OpenCLError {
  /// Says that the run goes on on the reference.
  ///
  /// - Parameter place: such as "after step 3".
  func noteGoingOn(_ place: String) {
    Console.clearLine()
    Console.note(
      "Warning: the device failed: "
        + "\(self)".appendingToFirstLine("; going on \(place), on the reference"))
  }

  /// What ends a run.
  ///
  /// - Parameter advice: how it can go on, from its first sign of punctuation.
  func problem(advice: String) -> Problem {
    guard !isShortageOfMemory else { return Problem("out of device memory: \(self)\(advice)") }
    return Problem(
      "the device failed: "
        + "\(self)".appendingToFirstLine(
          advice + "; --device reference works without OpenCL"))
  }
}
