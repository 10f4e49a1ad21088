import Foundation
import OpenCLBackend
import OpenCLRuntime
import Testing

/// How the injected faults of a workload went.
struct FaultTally {
  /// Calls and events that were failed.
  var injected = 0
  /// Of those, how many were noticed: an error that names the call and its code.
  var thrown = 0
  /// And how many were made good, with the right result.
  var madeGood = 0
  /// The names of the calls in the errors.
  var calls: Set<String> = []

  static func + (left: FaultTally, right: FaultTally) -> FaultTally {
    FaultTally(
      injected: left.injected + right.injected, thrown: left.thrown + right.thrown,
      madeGood: left.madeGood + right.madeGood, calls: left.calls.union(right.calls))
  }

  /// For the record in `Benchmarks/results`.
  func print(as name: String) {
    Swift.print(
      "Faults: \(name): \(injected) injected, \(thrown) errors of \(calls.count) functions,"
        + " \(madeGood) made good")
  }
}

enum Fault: CaseIterable {
  /// One call fails and the next ones work.
  case once
  /// All calls from one on fail, as of a device that is lost.
  case lasting
  /// A command is enqueued and aborted on the device.
  case event
}

enum Faults {
  /// `CL_OUT_OF_RESOURCES`, `CL_OUT_OF_HOST_MEMORY`, `CL_DEVICE_NOT_AVAILABLE`,
  /// `CL_INVALID_COMMAND_QUEUE`, `CL_MEM_OBJECT_ALLOCATION_FAILURE`.
  static let codes: [Int32] = [-5, -6, -2, -36, -4]

  /// With `SPARROW_FAULTS=all` every call fails with every code; else with one of them in turn.
  static let isThorough = ProcessInfo.processInfo.environment["SPARROW_FAULTS"] == "all"

  /// Where compiled programs lie, PoCL's too: each fault has a backend of its own, and to build its
  /// programs from source again takes four times as long as all else.
  static let cache = ProgramCache.standard().map { ProgramCache(directory: $0.directory) }

  /// Fails every call, or every event, of `work` in turn, each on a backend of its own, and looks
  /// at what is left: the error must be that of the call, nothing may leak, and the same work on
  /// the same backend must give the right result afterwards.
  ///
  /// - Parameters:
  ///   - step: 1 for every call; of every so many one unless `isThorough`.
  ///   - mayBeMadeGood: whether a failure may also go unnoticed with the right result. Where a
  ///     program is then built that would have come from the cache, it always may.
  static func failEach<Result: Equatable>(
    _ fault: Fault, device: Device, family: DeviceFamily, tuning: MatmulTuning = .rule,
    cache: ProgramCache? = cache, step: Int = 1, mayBeMadeGood: Bool = false,
    work: (OpenCLBackend) throws -> Result
  ) throws -> FaultTally {
    func backend() throws -> OpenCLBackend {
      try OpenCLBackend(device: device, family: family, cache: cache, tuning: tuning)
    }
    let expected = try work(backend())
    var tally = FaultTally()
    for code in isThorough ? codes.map({ [$0] }) : [codes] {
      var place = 1
      while true {
        let isReached = try failOne(
          fault, at: place, code: code[place % code.count], expected, &tally, mayBeMadeGood,
          backend: backend, work: work)
        guard isReached else { break }
        place += isThorough ? 1 : step
      }
      #expect(place > 1, "no \(fault) fault was injected")
    }
    let isRight = try work(backend()) == expected
    #expect(isRight, "a fresh backend goes wrong after \(tally.injected) faults")
    return tally
  }

  /// - Returns: whether there was something to fail at `place`.
  private static func failOne<Result: Equatable>(
    _ fault: Fault, at place: Int, code: Int32, _ expected: Result, _ tally: inout FaultTally,
    _ mayBeMadeGood: Bool, backend: () throws -> OpenCLBackend,
    work: (OpenCLBackend) throws -> Result
  ) throws -> Bool {
    let ledger = HandleLedger()
    let before = FaultInjection.injectedCount
    let builds = Program.buildCount
    defer { FaultInjection.disarm() }
    try ledger.observe {
      switch fault {
      case .once: FaultInjection.arm(failing: place, code: code)
      case .lasting: FaultInjection.arm(failing: place, code: code, lasting: true)
      case .event: FaultInjection.arm(failingEvent: place, code: code)
      }
      var made: OpenCLBackend?
      do {
        let backend = try backend()
        made = backend
        let isRight = try work(backend) == expected
        #expect(isRight, "\(fault) \(place): a wrong result without an error")
        if FaultInjection.injectedCount > before {
          #expect(
            mayBeMadeGood || Program.buildCount > builds, "\(fault) \(place) went unnoticed")
          tally.madeGood += 1
        }
      } catch let error as OpenCLError {
        #expect(error.code == code, "\(fault) \(place): \(error)")
        #expect(error.call.hasPrefix("cl"), "\(fault) \(place): \(error)")
        #expect("\(error)".contains(OpenCLError.symbol(of: code)))
        tally.thrown += 1
        tally.calls.insert(error.call)
      } catch {
        Issue.record("\(fault) \(place): not an OpenCLError: \(error)")
      }
      FaultInjection.disarm()
      guard let made, FaultInjection.injectedCount > before else { return }
      let isRight = try work(made) == expected
      #expect(isRight, "\(fault) \(place): the same backend goes wrong afterwards")
    }
    let injected = FaultInjection.injectedCount - before
    #expect(ledger.liveCount == 0, "\(fault) \(place): \(ledger.liveCount) objects leak")
    tally.injected += min(1, injected)
    return injected > 0
  }
}
