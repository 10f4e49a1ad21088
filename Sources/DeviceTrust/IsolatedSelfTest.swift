import Foundation
import Imaging

/// Runs a self-test in processes of its own, so that a driver which crashes or hangs takes down
/// these and not the one that wants to know.
package enum IsolatedSelfTest {
  /// The most processes that share a self-test.
  package static let mostProcesses = Interruption.mostChildren

  /// Runs a command that writes a verdict as JSON on its standard output, and waits for it.
  ///
  /// Where several processes that share the work meet an error or crash, one does it all again: a
  /// device may take no more than one at a time, or not have the memory for them.
  ///
  /// - Parameters:
  ///   - seconds: after which the processes are killed; those in which this process is suspended do
  ///     not count, since the others may be as well.
  ///   - processes: how many run the command side by side, at most `mostProcesses`.
  ///   - parts: what they share: how many numbers, from 0, they find on their standard input, a byte
  ///     each, the last first; whichever reads one does that part. At most 256.
  ///   - environment: variables that they have besides or other than this process has them.
  ///   - now: tells the time.
  /// - Returns: the joint verdict, whose seconds are those until it was known, what the processes and
  ///   the driver take to start among them; nil where the command cannot be started.
  package static func verdict(
    of executable: String, _ arguments: [String], seconds: Double, processes: Int = 1,
    parts: Int = 0, environment: [String: String] = [:],
    now: @escaping () -> ContinuousClock.Instant = { .now }
  ) -> SelfTestVerdict? {
    var time = PolledTime(now: now)
    func run(_ processes: Int) -> SelfTestVerdict? {
      sharedVerdict(
        of: executable, arguments, seconds: time.poll() + seconds, processes: processes,
        parts: parts, environment: environment, time: &time)
    }
    var verdict = run(processes)
    if processes > 1, verdict?.mayBeOfSharing == true { verdict = run(1) }
    switch verdict {
    case .passed(let cases, _): return .passed(cases: cases, seconds: time.poll())
    case .hung: return .hung(seconds: seconds)
    default: return verdict
    }
  }

  private static func sharedVerdict(
    of executable: String, _ arguments: [String], seconds: Double, processes: Int, parts: Int,
    environment: [String: String], time: inout PolledTime
  ) -> SelfTestVerdict? {
    guard let queue = Queue(parts) else { return nil }
    let children = (0..<min(processes, mostProcesses)).compactMap { _ in
      Child(executable, arguments, environment, input: queue.descriptor)
    }
    guard !children.isEmpty else { return nil }
    Interruption.setChildren(children.map(\.process))
    defer { Interruption.setChildren([]) }
    while true {
      let verdicts = children.map { $0.verdictIfEnded() }
      let known = verdicts.compactMap { $0 }
      let joined = SelfTestVerdict.joined(known)
      if known.count == children.count { return joined }
      if !joined.isPassed {
        for child in children { child.end() }
        return joined
      }
      guard time.poll() < seconds else { break }
      usleep(2000)
    }
    for child in children { child.end() }
    return .hung(seconds: seconds)
  }

  /// From a status as `waitpid` gives it.
  fileprivate static func verdict(
    status: Int32, output: [UInt8], errors: [UInt8]
  ) -> SelfTestVerdict {
    let signal = status & 0x7f
    guard signal == 0 else { return .crashed(signal: signal, words: text(ofEnd: errors)) }
    if let verdict = try? JSONDecoder().decode(SelfTestVerdict.self, from: Data(output)) {
      return verdict
    }
    return .failed("its process ended with status \(status >> 8 & 0xff) and without a verdict")
  }

  /// The last whole lines that a process wrote.
  private static func text(ofEnd bytes: [UInt8]) -> String {
    let lines = String(decoding: bytes, as: UTF8.self).split(whereSeparator: \.isNewline)
    return lines.suffix(10).map { FileError.line(String($0)) }.joined(separator: "\n")
  }

  /// The most of an error that `text(of:)` writes, in characters.
  private static let longestError = 4096

  /// A verdict as the process writes it.
  package static func text(of verdict: SelfTestVerdict) throws -> String {
    var verdict = verdict
    if case .failed(let error) = verdict, error.count > longestError {
      verdict = .failed(String(error.prefix(longestError)) + "\n...")
    }
    return String(decoding: try JSONEncoder().encode(verdict), as: UTF8.self)
  }
}

/// Numbers that several processes draw from one pipe.
private final class Queue {
  /// What is read from.
  let descriptor: Int32

  init?(_ count: Int) {
    precondition(count <= 256, "\(count) numbers in bytes")
    var ends: [Int32] = [-1, -1]
    guard pipe(&ends) == 0 else { return nil }
    descriptor = ends[0]
    // Any system's pipe takes so few without a reader.
    _ = fcntl(descriptor, F_SETFD, FD_CLOEXEC)
    let numbers = (0..<count).reversed().map { UInt8($0) }
    let written = write(ends[1], numbers, count)
    close(ends[1])
    guard written == count else { return nil }
  }

  deinit { close(descriptor) }
}

/// A process whose standard output comes back through a pipe, and the end of its standard error
/// through another: what compilers have to say is in the verdict, but not why one gave up.
private final class Child {
  let process: pid_t
  private let output, errors: Stream
  private var known: End?

  /// What is read from a pipe, of which at most so many bytes are kept.
  private final class Stream {
    private let descriptor: Int32
    private let longest: Int
    /// The last ones.
    private(set) var bytes: [UInt8] = []

    init(_ descriptor: Int32, longest: Int) {
      (self.descriptor, self.longest) = (descriptor, longest)
      _ = fcntl(descriptor, F_SETFL, O_NONBLOCK)
    }

    deinit { close(descriptor) }

    /// Takes what has been written so far.
    func read() {
      var buffer = [UInt8](repeating: 0, count: 4096)
      while true {
        let count = Foundation.read(descriptor, &buffer, buffer.count)
        if count < 0, errno == EINTR { continue }
        guard count > 0 else { return }
        bytes += buffer[..<count]
        if bytes.count > longest { bytes.removeFirst(bytes.count - longest) }
      }
    }
  }

  /// How a process ended.
  private enum End {
    /// As `waitpid` gives it.
    case status(Int32)
    /// There is no such process any more, and somebody else was told: all children of a process
    /// that ignores SIGCHLD go so.
    case unknown
  }

  init?(
    _ executable: String, _ arguments: [String], _ environment: [String: String], input: Int32
  ) {
    guard let (outputStart, outputEnd) = Self.pipe() else { return nil }
    // A verdict is shorter by far.
    output = Stream(outputStart, longest: 1 << 20)
    defer { close(outputEnd) }
    guard let (errorStart, errorEnd) = Self.pipe() else { return nil }
    errors = Stream(errorStart, longest: 1 << 11)
    defer { close(errorEnd) }

    #if canImport(Darwin)
      var actions: posix_spawn_file_actions_t?
      var attributes: posix_spawnattr_t?
    #else
      var actions = posix_spawn_file_actions_t()
      var attributes = posix_spawnattr_t()
    #endif
    posix_spawn_file_actions_init(&actions)
    posix_spawnattr_init(&attributes)
    defer {
      posix_spawn_file_actions_destroy(&actions)
      posix_spawnattr_destroy(&attributes)
    }
    posix_spawn_file_actions_adddup2(&actions, input, STDIN_FILENO)
    posix_spawn_file_actions_adddup2(&actions, outputEnd, STDOUT_FILENO)
    posix_spawn_file_actions_adddup2(&actions, errorEnd, STDERR_FILENO)
    // What the parent ignores, as it does some of these while it waits, ends the child.
    var signals = sigset_t()
    sigemptyset(&signals)
    for number in Signals.asking + [SIGABRT, SIGALRM, SIGPIPE] {
      sigaddset(&signals, number)
    }
    posix_spawnattr_setsigdefault(&attributes, &signals)
    // Threads of a pool block signals.
    sigemptyset(&signals)
    posix_spawnattr_setsigmask(&attributes, &signals)
    posix_spawnattr_setflags(
      &attributes, Int16(POSIX_SPAWN_SETSIGDEF) | Int16(POSIX_SPAWN_SETSIGMASK))

    var words = ([executable] + arguments).map { strdup($0) } + [nil]
    let all = ProcessInfo.processInfo.environment.merging(environment) { _, new in new }
    var variables = all.map { strdup("\($0.key)=\($0.value)") } + [nil]
    defer { for text in words + variables { free(text) } }
    var process = pid_t()
    guard posix_spawn(&process, executable, &actions, &attributes, &words, &variables) == 0 else {
      return nil
    }
    self.process = process
  }

  /// The end to read from and the one to write to, of which no other child may hold the latter.
  private static func pipe() -> (start: Int32, end: Int32)? {
    var ends: [Int32] = [-1, -1]
    guard Foundation.pipe(&ends) == 0 else { return nil }
    for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
    return (ends[0], ends[1])
  }

  /// What it wrote; nil while it runs.
  func verdictIfEnded() -> SelfTestVerdict? {
    // Before the output is read for the last time, so that nothing comes after.
    let end = endIfEnded()
    output.read()
    errors.read()
    return end.map { end in
      switch end {
      case .status(let status):
        IsolatedSelfTest.verdict(status: status, output: output.bytes, errors: errors.bytes)
      case .unknown: .failed("its process ended, and the system does not say how")
      }
    }
  }

  /// Kills it, and waits a moment: a process in a driver's uninterruptible call does not even end
  /// then.
  func end() {
    guard endIfEnded() == nil else { return }
    kill(process, SIGKILL)
    let patience = ContinuousClock.now + .seconds(2)
    while endIfEnded() == nil, ContinuousClock.now < patience { usleep(2000) }
  }

  /// nil while the process runs.
  private func endIfEnded() -> End? {
    if let known { return known }
    var value: Int32 = 0
    let answer = waitpid(process, &value, WNOHANG)
    if answer == process {
      known = .status(value)
    } else if answer < 0, errno == ECHILD {
      known = .unknown
    }
    return known
  }
}
