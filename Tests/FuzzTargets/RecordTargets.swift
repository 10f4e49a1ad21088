import DeviceTrust
import Foundation
import Imaging
import OpenCLBackend
import Training

enum RecordTargets {
  static func records(_ bytes: UnsafeRawBufferPointer) throws {
    verdict(Data(bytes))
    try FuzzFile.with(bytes) { path in
      let memory = MatmulTuning(file: URL(fileURLWithPath: path), measures: true).memory
      require(memory.count <= bytes.count, "more devices than bytes")
      try sweep(path)
    }
  }

  /// A sweep goes on from it, or it says that it is none.
  private static func sweep(_ path: String) throws {
    let ledger = try SweepLedger(path: path)
    require(
      ledger.values.count == ledger.configurations.count
        && ledger.histories.allSatisfy { $0.count == ledger.epochsDone }
        && ledger.configurations.allSatisfy { ledger.epochsDone <= $0.epochs },
      "figures are missing")
    do {
      let again = try FuzzFile.withCopy(of: path) { copy in
        try ledger.write(to: copy)
        return try SweepLedger(path: copy)
      }
      require(
        again.configurations == ledger.configurations && again.epochsDone == ledger.epochsDone,
        "what is written of it is read as something else")
    } catch {
      broken("what is written of it cannot be read: \(error)")
    }
  }

  /// As an entry of whichever device it names, or of none.
  private static func verdict(_ json: Data) {
    guard let record = try? SelfTestStore.Record(json: json) else { return }
    if let verdict = record.verdict {
      require(verdict.isPassed == (verdict.obstacle == nil), "neither passed nor refused")
      require(!verdict.summary.contains { $0.isNewline }, "a listing of several lines")
    }
    FuzzFile.withFolder { folder in
      let store = SelfTestStore(folder: folder)
      let path = store.path(for: record.identity)
      require(
        path.hasPrefix(folder + "/self-test-") && path.utf8.count < folder.utf8.count + 96,
        "an entry elsewhere")
      defer { store.remove(record.identity) }
      guard FileManager.default.createFile(atPath: path, contents: json) else { return }
      require(store.record(for: record.identity) == record, "an entry is not found again")
    }
  }
}
