import ArgumentParser
import Imaging
import Training

/// What ends a run that is kept in a folder, after what ended its training: a signal's exit status,
/// once it is said where it stopped, or an error with how the run goes on.
///
/// - Parameters:
///   - place: where the training ended, such as `step 3 of epoch 2`.
///   - advice: how to go on, for the end of a message; empty where there is nothing to go on from.
func runEnd(_ error: any Error, after place: String, advice: String) -> any Error {
  Console.clearLine()
  switch error {
  case let interruption as RunInterrupted:
    Console.note(
      "Stopped by \(StopSignals.name(interruption.signal)) after \(place)"
        + "\(advice.isEmpty ? "" : ". Saved\(advice)")")
    return ExitCode(128 + interruption.signal)
  case let error as FileError: return Problem("\(error)\(advice)")
  case TrainingError.mismatch: return Problem("\(error)\(advice)")
  default: return error
  }
}
