import ArgumentParser
import Compute
import OpenCLBackend
import OpenCLRuntime
import ReferenceBackend
import Training

enum OnDeviceFailure: String, CaseIterable, ExpressibleByArgument { case stop, reference }

/// A training whose run is kept in a folder, from whose last checkpoint it can go on.
protocol KeptTraining: BackendTask where Result == Void {
  var session: RunSession { get }
  var onDeviceFailure: OnDeviceFailure { get }
  /// After what it starts, such as `step 3`; nil for the run's start.
  var startingPlace: String? { get }
  /// How to go on, for the end of a message.
  var advice: String { get }
  var memoryNeed: MemoryNeed { get }
  /// Lets it start from the last checkpoint that can be read, of which there is one.
  mutating func returnToLastCheckpoint() throws
}

/// What a run takes of a device's memory.
struct MemoryNeed {
  let memory: TrainingMemory
  let batch: Int
  /// What takes memory whatever the batch.
  let fixedParts: String
  /// What else may be made smaller, for the end of a message.
  var advice = ""
}

/// A training whose errors say what would fit where a device's memory was short.
private struct AdvisedTraining<Job: KeptTraining>: BackendTask {
  let job: Job
  var operations: Set<String>? { job.operations }
  var trainingOperations: Set<String>? { job.trainingOperations }

  func run<B: Backend>(on backend: B) throws {
    do {
      try job.run(on: backend)
    } catch let error as OpenCLError {
      throw error.advised(job.memoryNeed, on: backend)
    }
  }
}

extension DeviceOptions {
  /// Runs the job on the chosen device, and where that fails and it is wished, on the reference.
  func train(_ job: some KeptTraining) throws {
    do {
      try run(AdvisedTraining(job: job))
    } catch let error as OpenCLError where job.onDeviceFailure == .reference {
      var next = job
      if job.session.isOpen, !job.session.store.isEmpty { try next.returnToLastCheckpoint() }
      if let signal = StopSignals.signal {
        Console.clearLine()
        Console.note("Warning: the device failed: \(error)")
        throw runEnd(
          RunInterrupted(signal: signal), after: next.startingPlace ?? "its start",
          advice: job.advice)
      }
      error.noteGoingOn(next.startingPlace.map { "after \($0)" } ?? "from the start")
      try next.run(on: ReferenceBackend())
    } catch let error as OpenCLError where error.isShortageOfMemory || job.session.isOpen {
      throw error.problem(advice: job.advice)
    }
  }
}

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

  /// The error, and where memory was short what would fit.
  fileprivate func advised(_ need: MemoryNeed, on backend: some Backend) -> OpenCLError {
    let (memory, batch) = (need.memory, need.batch)
    guard isShortageOfMemory, let device = (backend as? OpenCLBackend)?.device else { return self }
    func size(_ bytes: Int) -> String { "\(bytes >> 20) MiB" }
    // A tenth is left for what single operations take.
    let fitting = memory.largestBatch(
      memory: Int(clamping: device.globalMemory / 10 * 9),
      largestBuffer: Int(clamping: device.maximumAllocation))
    let words =
      fitting < 1
      ? "; \(need.fixedParts) take \(size(memory.fixed)), and \(size(memory.total(batch: 1))) with "
        + "--batch 1, which does not fit\(need.advice)"
      : "; with --batch \(batch) the run takes \(size(memory.total(batch: batch)))"
        + (fitting < batch ? "; --batch \(fitting) would fit" : "; try a smaller --batch")
    return OpenCLError(call: call, code: code, detail: (detail ?? "") + words)
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
