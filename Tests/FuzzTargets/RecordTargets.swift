import DeviceTrust
import Foundation
import OpenCLBackend

enum RecordTargets {
  static func records(_ bytes: UnsafeRawBufferPointer) {
    verdict(Data(bytes))
    FuzzFile.with(bytes) { path in
      let memory = MatmulTuning(file: URL(fileURLWithPath: path), measures: true).memory
      require(memory.count <= bytes.count, "more devices than bytes")
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
