import DeviceTrust
import Foundation
import Imaging
import OpenCLRuntime
import TestSupport
import Testing

@Suite struct SelfTestStoreTests {
  private let identity = SelfTestIdentity(DeviceDescription(name: "A", kind: .gpu))

  @Test func verdictsComeBack() throws {
    let folder = try TemporaryFolder()
    let store = SelfTestStore(folder: folder.path + "/not/yet/there")
    #expect(store.record(for: identity) == nil)
    let verdicts: [SelfTestVerdict?] = [
      .passed(cases: 9, seconds: 0.25),
      .miscomputed(operation: "matmul", label: "1x1x1", failure: "C[0] is NaN"),
      .crashed(signal: 11), .hung(seconds: 120), .unfinished, nil,
    ]
    for verdict in verdicts {
      let record = SelfTestStore.Record(
        identity: identity, date: Date(timeIntervalSince1970: 1e9), verdict: verdict)
      try store.store(record)
      #expect(store.record(for: identity) == record)
    }
    #expect(try FileManager.default.contentsOfDirectory(atPath: store.folder).count == 1)
    store.remove(identity)
    #expect(store.record(for: identity) == nil)
  }

  /// Truncated at every length, with every byte changed, of another device, too long, or a folder.
  @Test func damagedEntriesCountAsAbsent() throws {
    let folder = try TemporaryFolder()
    let store = SelfTestStore(folder: folder.path)
    let record = SelfTestStore.Record(
      identity: identity, date: Date(timeIntervalSince1970: 1e9),
      verdict: .passed(cases: 9, seconds: 0.25))
    try store.store(record)
    let url = URL(fileURLWithPath: store.path(for: identity))
    let whole = try Data(contentsOf: url)
    for count in whole.indices {
      try whole.prefix(count).write(to: url)
      #expect(store.record(for: identity) == nil, "\(count) of \(whole.count) bytes")
    }
    for index in whole.indices {
      var damaged = whole
      damaged[index] ^= 0x80
      try damaged.write(to: url)
      #expect(store.record(for: identity) == nil, "byte \(index)")
    }
    try (whole + Data(count: 1 << 17)).write(to: url)
    #expect(store.record(for: identity) == nil)
    let other = SelfTestIdentity(DeviceDescription(name: "B", kind: .gpu))
    try store.store(.init(identity: other, verdict: .unfinished))
    try Data(contentsOf: URL(fileURLWithPath: store.path(for: other))).write(to: url)
    #expect(store.record(for: identity) == nil)
    try FileManager.default.removeItem(at: url)
    try FileManager.default.createDirectory(at: url, withIntermediateDirectories: false)
    #expect(store.record(for: identity) == nil)
  }
}

@Suite(.usesDevice) struct DeviceTrialTests {
  private let passed = SelfTestVerdict.passed(cases: 1, seconds: 0)
  private let wrong = SelfTestVerdict.miscomputed(
    operation: "matmul", label: "1x1x1", failure: "C[0] is 1")

  /// Runs the trial and counts the self-tests.
  private func verdict(
    _ trial: DeviceTrial, _ answer: SelfTestVerdict, anew: Bool = false, on device: Device
  ) -> (verdict: SelfTestVerdict, runs: Int) {
    var runs = 0
    let verdict = trial.verdict(on: device, SelfTestIdentity(device.properties), anew: anew) {
      _, _ in
      runs += 1
      return answer
    }
    return (verdict, runs)
  }

  @Test func aVerdictIsRemembered() throws {
    guard let device = try TestDevice.find() else { return }
    for answer in [passed, wrong, .crashed(signal: 11), .hung(seconds: 1)] {
      let folder = try TemporaryFolder()
      let trial = DeviceTrial(store: SelfTestStore(folder: folder.path), patience: 1)
      let identity = SelfTestIdentity(device.properties)
      #expect(trial.remembered(identity) == nil)
      #expect(verdict(trial, answer, on: device) == (answer, 1))
      #expect(trial.remembered(identity) == answer)
      #expect(verdict(trial, .unfinished, on: device) == (answer, 0))
      #expect(verdict(trial, passed, anew: true, on: device) == (passed, 1))
      #expect(verdict(trial, wrong, on: device) == (passed, 0))
    }
  }

  /// An error may pass by itself; it also takes back what was remembered before.
  @Test func anErrorIsNotRemembered() throws {
    guard let device = try TestDevice.find() else { return }
    let folder = try TemporaryFolder()
    let trial = DeviceTrial(store: SelfTestStore(folder: folder.path), patience: 1)
    // As PoCL gives up without a linker.
    for error in [
      SelfTestVerdict.failed("clCreateBuffer failed"), .crashed(signal: SIGABRT, words: "no ld"),
    ] {
      #expect(verdict(trial, error, anew: true, on: device) == (error, 1))
      #expect(trial.remembered(SelfTestIdentity(device.properties)) == nil)
      #expect(verdict(trial, passed, on: device) == (passed, 1))
    }
  }

  @Test func withoutAMemoryItIsRunEachTime() throws {
    guard let device = try TestDevice.find() else { return }
    let none = DeviceTrial(store: nil, patience: 1)
    #expect(verdict(none, passed, on: device).runs == 1)
    #expect(verdict(none, wrong, on: device) == (wrong, 1))
    // A folder that cannot be made.
    let folder = try TemporaryFolder()
    try Data().write(to: URL(fileURLWithPath: folder.path + "/file"))
    let broken = DeviceTrial(
      store: SelfTestStore(folder: folder.path + "/file/cache"), patience: 1)
    #expect(verdict(broken, passed, on: device) == (passed, 1))
    #expect(verdict(broken, wrong, on: device) == (wrong, 1))
  }

  /// What a self-test leaves that ends with its machine is an entry without a verdict.
  @Test func oneThatTookTheMachineDownIsRefusedUntilTestedAnew() throws {
    guard let device = try TestDevice.find() else { return }
    let folder = try TemporaryFolder()
    let store = SelfTestStore(folder: folder.path)
    let identity = SelfTestIdentity(device.properties)
    let trial = DeviceTrial(store: store, patience: 1)
    // While it runs the entry is there, and has no verdict.
    _ = trial.verdict(on: device, identity) { _, identity in
      #expect(store.record(for: identity)?.identity == identity)
      #expect(store.record(for: identity)?.verdict == nil)
      // Not known yet.
      #expect(trial.remembered(identity) == nil)
      return wrong
    }
    for boot in ["another", nil] {
      try store.store(.init(identity: identity, verdict: nil, boot: boot))
      #expect(trial.remembered(identity) == .unfinished)
      #expect(verdict(trial, passed, on: device) == (.unfinished, 0))
      #expect(verdict(trial, passed, on: device) == (.unfinished, 0))
      #expect(verdict(trial, passed, anew: true, on: device) == (passed, 1))
      #expect(verdict(trial, wrong, on: device) == (passed, 0))
    }
  }

  /// It says nothing of the device, whose driver runs in other processes.
  @Test func oneWhoseProcessWasKilledIsRunAgain() throws {
    guard let device = try TestDevice.find() else { return }
    try #require(BootIdentity.current != nil)
    let folder = try TemporaryFolder()
    let store = SelfTestStore(folder: folder.path)
    let identity = SelfTestIdentity(device.properties)
    let trial = DeviceTrial(store: store, patience: 1)
    try store.store(.init(identity: identity, verdict: nil))
    #expect(verdict(trial, wrong, on: device) == (wrong, 1))
    try store.store(.init(identity: identity, verdict: nil))
    #expect(trial.remembered(identity) == nil)
    // Else it would count as one that took the machine down when that is started anew.
    #expect(store.record(for: identity) == nil)
    #expect(verdict(trial, wrong, on: device) == (wrong, 1))
    #expect(verdict(trial, passed, on: device) == (wrong, 0))
  }

  /// Two that start together: one tests, the other waits for its verdict.
  @Test func onlyOneTestsAtATime() throws {
    guard let device = try TestDevice.find() else { return }
    let folder = try TemporaryFolder()
    let trial = DeviceTrial(store: SelfTestStore(folder: folder.path), patience: 600)
    let identity = SelfTestIdentity(device.properties)
    let begun = DispatchSemaphore(value: 0)
    let done = DispatchSemaphore(value: 0)
    nonisolated(unsafe) var first: SelfTestVerdict?
    Thread.detachNewThread {
      first = trial.verdict(on: device, identity) { _, _ in
        begun.signal()
        usleep(300_000)
        return .passed(cases: 7, seconds: 0)
      }
      done.signal()
    }
    begun.wait()
    #expect(verdict(trial, wrong, on: device) == (.passed(cases: 7, seconds: 0), 0))
    done.wait()
    #expect(first == .passed(cases: 7, seconds: 0))
    // One that waits too long tests for itself.
    let hasty = DeviceTrial(store: trial.store, patience: 0)
    _ = trial.verdict(on: device, identity, anew: true) { _, _ in
      #expect(verdict(hasty, wrong, anew: true, on: device) == (wrong, 1))
      return passed
    }
    #expect(trial.remembered(identity) == passed)
  }
}

/// What lies in a folder at the moment in which a signal has its way.
private enum Remains {
  // Written by the handler alone, read when no signal comes any more.
  nonisolated(unsafe) static var store: SelfTestStore?
  nonisolated(unsafe) static var identity: SelfTestIdentity?
  nonisolated(unsafe) static var signals = 0
  nonisolated(unsafe) static var halves: [String] = []
  /// The thread of the self-test.
  nonisolated(unsafe) static var own: pthread_t?

  /// Runs `body` with a signal that is looked at; a pool's threads block all of them.
  static func watching(_ number: Int32, _ body: () throws -> Void) rethrows {
    (signals, halves, own) = (0, [], pthread_self())
    var (one, mask) = (sigset_t(), sigset_t())
    sigemptyset(&one)
    sigaddset(&one, number)
    let before = signal(number) { _ in Remains.note() }
    pthread_sigmask(SIG_UNBLOCK, &one, &mask)
    defer {
      pthread_sigmask(SIG_SETMASK, &mask, nil)
      signal(number, before)
    }
    try body()
  }

  static func note() {
    signals += 1
    guard let store, let identity else { return }
    if let record = store.record(for: identity), record.verdict == nil { halves.append("entry") }
    // On another thread the self-test's goes on meanwhile, as it would not if the process ended.
    guard let own, pthread_equal(pthread_self(), own) != 0 else { return }
    let names = (try? FileManager.default.contentsOfDirectory(atPath: store.folder)) ?? []
    halves += names.filter { $0.hasSuffix(".tmp") }
  }
}

/// The process ends between any two instructions; here it goes on, and what it would have left is
/// looked at.
@Suite(.usesDevice) struct InterruptionTests {
  private let passed = SelfTestVerdict.passed(cases: 1, seconds: 0)

  /// A signal comes at any moment around a self-test that is over at once: what is there then is
  /// nothing, or an entry with its verdict.
  @Test(arguments: Signals.asking)
  func nothingHalfIsLeft(number: Int32) throws {
    guard let device = try TestDevice.find() else { return }
    let folder = try TemporaryFolder()
    let store = SelfTestStore(folder: folder.path)
    let trial = DeviceTrial(store: store, patience: 1)
    let identity = SelfTestIdentity(device.properties)
    (Remains.store, Remains.identity) = (store, identity)
    defer { (Remains.store, Remains.identity) = (nil, nil) }
    let rounds = 60
    Remains.watching(number) {
      for round in 0..<rounds {
        let over = DispatchSemaphore(value: 0)
        let verdict = trial.verdict(on: device, identity, anew: true) { _, _ in
          // On a thread of its own, so that the handler may allocate.
          Thread.detachNewThread {
            usleep(UInt32(round * 50))
            raise(number)
            over.signal()
          }
          return passed
        }
        over.wait()
        #expect(verdict == passed)
      }
    }
    // One that comes as a write ends may be seen by both, of which the first would end the process.
    #expect(Remains.signals >= rounds)
    #expect(Remains.halves == [])
    #expect(folder.names.filter { $0.hasSuffix(".json") }.count <= 1)
  }

  /// One that comes while the file is written waits, and what is to be kept is kept.
  @Test func aFileThatIsWrittenIsWhole() throws {
    let folder = try TemporaryFolder()
    for keeps in [false, true] {
      let path = try folder.write("half", to: "file")
      Remains.watching(SIGHUP) {
        Interruption.removing(path) { writer in
          let isDone = writer.write(keeping: keeps) {
            raise(SIGHUP)
            #expect(Remains.signals == 0)
            return FileManager.default.fileExists(atPath: path)
          }
          #expect(isDone && Remains.signals == 1)
          #expect(FileManager.default.fileExists(atPath: path) == keeps)
        }
      }
    }
  }
}

extension SelfTestVerdict {
  fileprivate var passedCases: Int? {
    if case .passed(let cases, _) = self { cases } else { nil }
  }
}

// One at a time with the tests above: an interruption ends all processes of self-tests.
@Suite(.usesDevice) struct IsolatedSelfTestTests {
  private func verdict(_ script: String, seconds: Double = 600) -> SelfTestVerdict? {
    IsolatedSelfTest.verdict(of: "/bin/sh", ["-c", script], seconds: seconds)
  }

  @Test func verdictsArrive() throws {
    let verdicts: [SelfTestVerdict] = [
      .failed("a\nb"),
      .miscomputed(operation: "matmul", label: "1x1x1", failure: "C[0] is \"NaN\""),
    ]
    for expected in verdicts {
      let text = try IsolatedSelfTest.text(of: expected)
      #expect(verdict("cat <<'END'\n\(text)\nEND") == expected)
    }
  }

  /// What the user waits for, and not what a process says of itself: its start is not in that.
  @Test func secondsAreThoseUntilTheVerdict() throws {
    let text = try IsolatedSelfTest.text(of: .passed(cases: 9, seconds: 1e6))
    guard case .passed(9, let seconds)? = verdict("sleep 0.3; echo '\(text)'") else {
      Issue.record("not passed")
      return
    }
    #expect((0.3..<1e6).contains(seconds))
  }

  /// Processes take each number once, and their verdicts are one.
  @Test(arguments: [2, 8]) func processesShareTheWork(count: Int) throws {
    let folder = try TemporaryFolder()
    let passed = try IsolatedSelfTest.text(of: .passed(cases: 1, seconds: 0.5))
    let script = "dd bs=1 2>/dev/null >> '\(folder.path)/numbers'; echo '\(passed)'"
    #expect(
      IsolatedSelfTest.verdict(
        of: "/bin/sh", ["-c", script], seconds: 600, processes: count, parts: 200)?.passedCases
        == count)
    let numbers = try Data(contentsOf: URL(fileURLWithPath: folder.path + "/numbers"))
    #expect(numbers.sorted() == (0..<200).map { UInt8($0) })
    // What one finds counts, and does not wait for the others.
    let wrong = SelfTestVerdict.miscomputed(operation: "x", label: "", failure: "")
    let text = try IsolatedSelfTest.text(of: wrong)
    let either = "mkdir '\(folder.path)/first' 2>/dev/null || exec sleep 600; echo '\(text)'"
    #expect(
      IsolatedSelfTest.verdict(of: "/bin/sh", ["-c", either], seconds: 300, processes: count)
        == wrong)
  }

  /// What goes wrong where processes share a device is tried again by one alone.
  @Test(arguments: ["kill -SEGV $$", "exit 1"]) func whatMayComeOfSharingIsTriedAlone(
    trouble: String
  ) throws {
    let folder = try TemporaryFolder()
    let passed = try IsolatedSelfTest.text(of: .passed(cases: 4, seconds: 0.5))
    let script = """
      mkdir '\(folder.path)/first' 2>/dev/null && { \(trouble); }
      dd bs=1 count=4 2>/dev/null | wc -c >> '\(folder.path)/parts'
      echo '\(passed)'
      """
    let verdict = IsolatedSelfTest.verdict(
      of: "/bin/sh", ["-c", script], seconds: 600, processes: 2, parts: 4)
    #expect(verdict?.passedCases == 4)
    // The one alone had all parts again.
    let taken = try String(contentsOfFile: folder.path + "/parts", encoding: .utf8)
    #expect(taken.split(whereSeparator: \.isNewline).last == "4")
    // One by itself has no other to blame.
    rmdir(folder.path + "/first")
    #expect(
      IsolatedSelfTest.verdict(of: "/bin/sh", ["-c", script], seconds: 600)?.isPassed == false)
  }

  @Test func asManyProcessesAsDeviceAndMachineTake() {
    func count(_ kind: DeviceDescription.Kind, gibibytes: UInt64, parts: Int, cores: Int) -> Int {
      var device = DeviceDescription(name: "A", kind: kind)
      device.globalMemory = gibibytes << 30
      return SelfTest.processes(for: device, parts: parts, cores: cores)
    }
    #expect(count(.cpu, gibibytes: 16, parts: 13, cores: 2) == 2)
    #expect(count(.cpu, gibibytes: 0, parts: 13, cores: 1) == 1)
    #expect(count(.gpu, gibibytes: 139, parts: 20, cores: 16) == IsolatedSelfTest.mostProcesses)
    #expect(count(.gpu, gibibytes: 139, parts: 3, cores: 16) == 3)
    #expect(count(.gpu, gibibytes: 4, parts: 20, cores: 16) == 4)
    #expect(count(.gpu, gibibytes: 0, parts: 0, cores: 16) == 1)
  }

  /// Variables reach the processes, in the place of those that are there.
  @Test func variablesReachTheProcesses() throws {
    let passed = try IsolatedSelfTest.text(of: .passed(cases: 3, seconds: 0.5))
    let script = "[ \"$PATH:$SPARROW_A\" = 'x:y z' ] && echo '\(passed)'"
    #expect(
      IsolatedSelfTest.verdict(
        of: "/bin/sh", ["-c", script], seconds: 600,
        environment: ["SPARROW_A": "y z", "PATH": "x"])?.passedCases == 3)
  }

  /// A build log of any length leaves the pipe free.
  @Test func longErrorsAreCut() throws {
    let long = SelfTestVerdict.failed(String(repeating: "\u{1}é", count: 100_000))
    let text = try IsolatedSelfTest.text(of: long)
    #expect(text.utf8.count < 60_000)
    let folder = try TemporaryFolder()
    try text.write(toFile: folder.path + "/text", atomically: true, encoding: .utf8)
    guard case .failed(let error) = verdict("cat '\(folder.path)/text'") else {
      Issue.record("no verdict")
      return
    }
    #expect(error.hasSuffix("..."))
  }

  @Test func crashesAndHangs() throws {
    #expect(verdict("kill -SEGV $$") == .crashed(signal: SIGSEGV))
    #expect(
      verdict("printf 'one\\n\\033two\\n' >&2; kill -ABRT $$")
        == .crashed(signal: SIGABRT, words: "one\n?two"))
    // More than is kept, and than a pipe holds.
    let long = verdict("seq 100000 >&2; kill -SEGV $$")
    #expect(
      long
        == .crashed(
          signal: SIGSEGV, words: (99991...100000).map { "\($0)" }.joined(separator: "\n")))
    #expect(verdict("exec sleep 600", seconds: 0.2) == .hung(seconds: 0.2))
    #expect(IsolatedSelfTest.verdict(of: "/nonexistent", [], seconds: 1) == nil)
  }

  /// As after a laptop's lid was closed for an hour, or the process suspended: that time is none of
  /// the self-test's.
  @Test func timeInWhichNobodyRunsDoesNotCount() throws {
    let passed = try IsolatedSelfTest.text(of: .passed(cases: 2, seconds: 0.5))
    let start = ContinuousClock.now
    func run(_ script: String, seconds: Double) -> SelfTestVerdict? {
      var rounds = 0
      return IsolatedSelfTest.verdict(of: "/bin/sh", ["-c", script], seconds: seconds) {
        rounds += 1
        return .now + (rounds < 5 ? .zero : .seconds(3600))
      }
    }
    guard case .passed(2, let taken)? = run("sleep 0.5; echo '\(passed)'", seconds: 300) else {
      Issue.record("not passed")
      return
    }
    // Of the hour a second may count.
    #expect(taken < 300)
    #expect(run("exec sleep 600", seconds: 1.5) == .hung(seconds: 1.5))
    #expect(ContinuousClock.now - start > .seconds(0.9))
  }

  /// Another who waits for the process takes its status away, almost always: it has ended all the
  /// same.
  @Test(arguments: 1...3) func aProcessWhoseStatusIsTakenAwayHasEnded(attempt: Int) throws {
    let folder = try TemporaryFolder()
    let passed = try IsolatedSelfTest.text(of: .passed(cases: 1, seconds: 0.5))
    let script = """
      echo $$ > '\(folder.path)/new' && mv '\(folder.path)/new' '\(folder.path)/process'
      while [ ! -e '\(folder.path)/awaited' ]; do sleep 0.01; done
      sleep 0.05; echo '\(passed)'
      """
    Thread.detachNewThread {
      var process: pid_t?
      while process == nil, FileManager.default.fileExists(atPath: folder.path) {
        usleep(1000)
        let text = try? String(contentsOfFile: folder.path + "/process", encoding: .utf8)
        process = text.flatMap { pid_t($0.trimmingCharacters(in: .whitespacesAndNewlines)) }
      }
      guard let process else { return }
      _ = FileManager.default.createFile(atPath: folder.path + "/awaited", contents: nil)
      // Asking without a pause, it is told before one that asks now and then.
      while waitpid(process, nil, WNOHANG) == 0 {}
    }
    switch verdict(script, seconds: 20) {
    case .passed: break
    case .failed(let error): #expect(error.contains("does not say how"))
    case let other: Issue.record("\(String(describing: other))")
    }
  }

  @Test(arguments: ["exit 3", "echo nonsense", "echo '{}'; exit 1"])
  func withoutAVerdict(script: String) {
    guard case .failed(let error) = verdict(script) else {
      Issue.record("\(script) has a verdict")
      return
    }
    #expect(error.contains("without a verdict"))
  }
}
