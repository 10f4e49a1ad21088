import OpenCLRuntime

/// Decides whether a device may be used: by what is remembered of it, else by a self-test.
package struct DeviceTrial: Sendable {
  /// Runs the self-test of a device.
  package typealias Runner = (Device, SelfTestIdentity) -> SelfTestVerdict

  /// nil for no memory: the self-test is run each time.
  package let store: SelfTestStore?
  /// How long to wait for another process that tests the same device, in seconds.
  package let patience: Double

  package init(store: SelfTestStore?, patience: Double) {
    self.store = store
    self.patience = patience
  }

  /// The verdict that is remembered, if there is one; `unfinished` where the machine went down in
  /// the last self-test, and nil while another process is at it.
  package func remembered(_ identity: SelfTestIdentity) -> SelfTestVerdict? {
    guard let store, let record = store.record(for: identity) else { return nil }
    if let verdict = record.verdict { return verdict }
    guard let claim = store.claim(identity, seconds: 0) else { return nil }
    return withExtendedLifetime(claim) {
      guard let record = store.record(for: identity) else { return nil }
      if let verdict = record.standing { return verdict }
      // Its process was killed. When the machine has been started anew, nobody could tell.
      store.remove(identity)
      return nil
    }
  }

  /// The verdict on a device: the remembered one, or, where there is none, that of a self-test run
  /// now. The self-test is entered as begun before it starts, so that one which takes the machine
  /// down is known of at the next start.
  ///
  /// - Parameter anew: whether what is remembered is set aside.
  package func verdict(
    on device: Device, _ identity: SelfTestIdentity, anew: Bool = false, runner: Runner
  ) -> SelfTestVerdict {
    guard let store else { return runner(device, identity) }
    if !anew, let verdict = store.record(for: identity)?.verdict { return verdict }
    guard let claim = store.claim(identity, seconds: patience) else {
      return runner(device, identity)
    }
    return withExtendedLifetime(claim) {
      // Another process may have come to a verdict while this one waited. Without a verdict the
      // entry is of one that is gone, for the claim is ours.
      if !anew, let verdict = store.record(for: identity)?.standing { return verdict }
      let begun = SelfTestStore.Record(identity: identity, verdict: nil)
      return Interruption.removing(store.path(for: identity)) { writer in
        guard writer.write({ (try? store.store(begun)) != nil }) else {
          return runner(device, identity)
        }
        let verdict = runner(device, identity)
        let finished = SelfTestStore.Record(
          identity: identity, date: begun.date, verdict: verdict)
        let isKept =
          verdict.isLasting && writer.write(keeping: true) { (try? store.store(finished)) != nil }
        if !isKept { store.remove(identity) }
        return verdict
      }
    }
  }
}
