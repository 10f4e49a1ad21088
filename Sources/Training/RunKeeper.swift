import Foundation

/// Decides when a run is saved, saves it, and passes on the wish to stop.
package final class RunKeeper<State: Sendable> {
  /// Nil: no checkpoint but when the run is stopped, and at its end where there is an older one.
  private let interval: CheckpointInterval?
  private let store: CheckpointStore
  private let contents: @Sendable (State) throws -> Safetensors
  private let requestedStop: () -> Int32?
  private var lastSaved = ContinuousClock.now
  /// Called with each state before it is handed over to be written, to add to it.
  package var willSave: (inout State) throws -> Void = { _ in }

  /// - Parameters:
  ///   - contents: what a state is as a file; called on the writing thread.
  ///   - requestedStop: the signal that asks the run to stop, if one has come.
  package init(
    store: CheckpointStore, interval: CheckpointInterval?, requestedStop: @escaping () -> Int32?,
    contents: @escaping @Sendable (State) throws -> Safetensors
  ) {
    self.store = store
    self.interval = interval
    self.requestedStop = requestedStop
    self.contents = contents
  }

  /// Saves the run where it is time to, and always where it is to stop.
  ///
  /// - Parameter state: nil where the run has gone astray; the last checkpoint is then kept.
  /// - Throws: `RunInterrupted` where a signal has asked the run to stop; what went wrong with
  ///   writing a checkpoint.
  package func keep(_ moment: RunMoment, state: () throws -> State?) throws {
    try stopIfRequested(state: state)
    guard isDue(moment) else { return }
    lastSaved = .now
    if let state = try state() { try save(state) }
    // A run that has ended has its checkpoint on the disk.
    if moment.isEnd { try store.finish() }
  }

  /// Saves the run where it is to stop: for long work between two steps.
  ///
  /// - Parameter state: as for `keep`.
  /// - Throws: as `keep` does.
  package func stopIfRequested(state: () throws -> State?) throws {
    try store.check()
    guard let signal = requestedStop() else { return }
    if let state = try state() { try save(state) }
    try store.finish()
    throw RunInterrupted(signal: signal)
  }

  /// Starts writing `state`.
  package func save(_ state: State) throws {
    var complete = state
    try willSave(&complete)
    let (saved, contents) = (complete, contents)
    try store.write { try contents(saved) }
  }

  package func finish() throws { try store.finish() }

  private func isDue(_ moment: RunMoment) -> Bool {
    switch interval {
    // A checkpoint that is there, of a run that was stopped before, would be gone on from.
    case nil: return moment.isEnd && !store.isEmpty
    case _ where moment.isEnd: return true
    case .seconds(let seconds): return lastSaved.secondsSince() >= seconds
    case .steps(let steps): return moment.step.isMultiple(of: steps)
    case .epochs(let epochs): return moment.epoch?.isMultiple(of: epochs) ?? false
    }
  }
}

/// Where a run stands between two steps.
package struct RunMoment: Sendable {
  /// Steps done.
  package let step: Int
  /// Epochs done, where one has just ended.
  package let epoch: Int?
  package let isEnd: Bool

  package init(step: Int, epoch: Int?, isEnd: Bool) {
    self.step = step
    self.epoch = epoch
    self.isEnd = isEnd
  }
}

/// A signal has asked a run to stop, and it is saved.
package struct RunInterrupted: Error {
  package let signal: Int32

  package init(signal: Int32) { self.signal = signal }
}
