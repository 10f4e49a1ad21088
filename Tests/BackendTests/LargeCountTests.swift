import Compute
import OpenCLBackend
import TestSupport
import Testing

/// Counts beyond 2^24, above which a float skips whole numbers.
@Suite(.usesDevice) struct LargeCountTests {
  @Test(arguments: DeviceFamily.allCases)
  func aBatchKeepsAsManyEntriesAsItShould(family: DeviceFamily) throws {
    guard let device = try TestDevice.find() else { return }
    let backend = try OpenCLBackend(device: device, family: family, tuning: .rule)
    let (rows, width, kept) = (2, 1 << 24 | 32, 1 << 23)
    var values = [Float](repeating: 0.5, count: rows * width)
    // One more than are kept is of the largest value.
    let largest = rows * kept + 1
    for i in 0..<largest { values[i] = 1 }
    let z = try backend.allocate([rows, width], of: Float.self)
    let threshold = try backend.allocate([1], of: Float.self)
    try backend.upload(values, into: z)
    values = []
    try backend.batchTopK(z, k: kept, into: z, threshold: threshold)
    let result = try backend.download(z)
    #expect(result.count { $0 != 0 } == rows * kept)
    #expect(result[largest - 2] == 1 && result[largest - 1] == 0)
    #expect(try backend.download(threshold) == [1])
  }
}
