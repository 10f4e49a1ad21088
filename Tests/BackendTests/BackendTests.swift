import Compute
import ReferenceBackend
import Testing
import Verification

@Suite struct ReferenceOperationTests {
  @Test func everyCasePasses() throws {
    let backend = ReferenceBackend()
    for operation in OperationCases.all(.full) {
      let report = try operation.report(on: backend)
      #expect(
        report.comparison.passes,
        "\(report.operation) \(report.label) \(report.tier): \(report.comparison.failure ?? "")")
    }
  }
}
