import Imaging

/// The rows of an image that lies in one file, or in one for each channel.
package final class ImageRows {
  private let readers: [ImageReader]
  /// The numbers of the pages that are images; one where files are channels.
  package let pages: [Int]

  package var width: Int { readers[0].width }
  package var height: Int { readers[0].height }
  package var channels: Int { readers.reduce(0) { $0 + $1.channels } }
  package var sampleType: SampleType { readers[0].sampleType }
  package var format: ImageReader.Format { readers[0].format }

  /// - Throws: `FileError` where a file cannot be read or differs from the first one, and where one
  ///   of several has pages.
  package init(_ entry: ImageCase) throws {
    try entry.check()
    readers = try entry.paths.map { try ImageReader(path: $0) }
    if readers.count > 1 { for reader in readers { try reader.turnToOnlyImage() } }
    pages = try readers.count > 1 ? [readers[0].page] : readers[0].imagePages()
    for (reader, path) in zip(readers, entry.paths).dropFirst()
    where (reader.width, reader.height) != (width, height) || reader.sampleType != sampleType {
      throw FileError(
        path: path,
        reason: "\(reader.width)x\(reader.height) \(reader.sampleType.words), but "
          + "\(entry.paths[0]) is \(width)x\(height) \(sampleType.words)")
    }
  }

  package func turn(to page: Int) throws { try readers[0].turn(to: page) }

  /// Channels interleaved, values as stored.
  package func rows(_ range: Range<Int>) throws -> [Float] {
    guard readers.count > 1 else { return try readers[0].rows(range, as: Float.self).samples }
    var result = [Float](repeating: 0, count: range.count * width * channels)
    var first = 0
    for reader in readers {
      let part = try reader.rows(range, as: Float.self).samples
      for pixel in 0..<range.count * width {
        for c in 0..<reader.channels {
          result[pixel * channels + first + c] = part[pixel * reader.channels + c]
        }
      }
      first += reader.channels
    }
    return result
  }
}

extension PercentileNormalisation {
  /// Refuses an image of another kind than those the percentiles come from.
  ///
  /// - Throws: `FileError` naming both kinds.
  package func check(
    channels: Int, sampleType: SampleType, path: String
  ) throws {
    guard channels != self.channels || sampleType != self.sampleType else { return }
    func kind(_ channels: Int, _ type: SampleType) -> String {
      "\(type.words) images of \(channels) channel\(channels == 1 ? "" : "s")"
    }
    throw FileError(
      path: path,
      reason: "one of \(kind(channels, sampleType)), but the model takes "
        + kind(self.channels, self.sampleType))
  }
}
