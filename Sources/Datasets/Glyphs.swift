import Dispatch
import RandomNumbers

/// A data set that the program draws itself: digits, letters and symbols as pen strokes with random
/// affine maps, jitter, thickness, intensity and noise. The seed alone decides every byte, on every
/// platform and whatever the number of threads.
package enum Glyphs {
  /// Pixels in a row and in a column.
  package static let side = 28
  package static let defaultTrainCount = 10_000
  package static let defaultTestCount = 2_000
  package static let defaultSeed: UInt64 = 1

  /// The classes; a label is an index into this.
  package static var classNames: [String] { GlyphShape.all.map(\.name) }

  /// Training and test parts from streams of their own: asking for more of one leaves the other
  /// as it was, and adds to the end of the one.
  ///
  /// - Parameter progress: called on the calling thread with samples done and in all.
  package static func dataset(
    trainCount: Int = defaultTrainCount, testCount: Int = defaultTestCount,
    seed: UInt64 = defaultSeed, progress: (_ done: Int, _ total: Int) -> Void = { _, _ in }
  ) -> Dataset {
    let total = trainCount + testCount
    let train = draw(trainCount, seed: seed, part: 0) { progress($0, total) }
    let test = draw(testCount, seed: seed, part: 1) { progress(trainCount + $0, total) }
    return Dataset(name: "glyphs", train: train, test: test)
  }

  private static func draw(_ count: Int, seed: UInt64, part: UInt64, progress: (Int) -> Void)
    -> ImageSet
  {
    precondition(count > 0, "at least one glyph")
    let size = side * side
    let chunk = 64
    let chunksPerReport = 32
    var labels = [UInt8](repeating: 0, count: count)
    let pixels = [UInt8](unsafeUninitializedCapacity: count * size) { buffer, initialized in
      labels.withUnsafeMutableBufferPointer { labelBuffer in
        // Threads write to disjoint ranges.
        nonisolated(unsafe) let pixelTarget = buffer
        nonisolated(unsafe) let labelTarget = labelBuffer
        let chunks = (count + chunk - 1) / chunk
        for firstChunk in stride(from: 0, to: chunks, by: chunksPerReport) {
          let batch = min(chunksPerReport, chunks - firstChunk)
          DispatchQueue.concurrentPerform(iterations: batch) { i in
            let start = (firstChunk + i) * chunk
            var pen = GlyphPen(side: side)
            for index in start..<min(start + chunk, count) {
              var random = SplitMix64(seed: seed, stream: part << 56 | UInt64(index))
              let label = Int(random.nextIndex(below: UInt64(GlyphShape.all.count)))
              labelTarget[index] = UInt8(label)
              let range = index * size..<(index + 1) * size
              pen.draw(
                GlyphShape.all[label], random: &random,
                into: UnsafeMutableBufferPointer(rebasing: pixelTarget[range]))
            }
          }
          progress(min((firstChunk + batch) * chunk, count))
        }
      }
      initialized = count * size
    }
    return ImageSet(
      count: count, width: side, height: side, channels: 1, pixels: pixels, labels: labels)
  }
}
