import Foundation
import Imaging

/// The files that `Fixtures/make-fixtures.py` made with other programs than Sparrow and libtiff.
enum Fixtures {
  static let (width, height) = (37, 21)

  static func path(_ name: String) -> String {
    URL(fileURLWithPath: #filePath).deletingLastPathComponent()
      .appendingPathComponent("Fixtures/\(name)").path
  }

  static func sum(_ x: Int, _ y: Int, _ c: Int) -> Int { x * 131 + y * 977 + c * 4001 }

  /// An image by the formula of the script.
  static func image<Sample: ImageSample>(
    _: Sample.Type, channels: Int = 1, width: Int = width, height: Int = height
  ) -> Raster<Sample> {
    var samples: [Sample] = []
    for y in 0..<height {
      for x in 0..<width {
        for c in 0..<channels { samples.append(sample(sum(x, y, c))) }
      }
    }
    return Raster(width: width, height: height, channels: channels, samples: samples)
  }

  private static func sample<Sample: ImageSample>(_ v: Int) -> Sample {
    let value: any ImageSample =
      switch Sample.sampleType {
      case .uint8: UInt8(v % 256)
      case .uint16: UInt16(v * 7 % 65536)
      case .float32: Float(v % 65536) / 64 - 100
      }
    guard let sample = value as? Sample else { preconditionFailure("the three types are all") }
    return sample
  }
}

/// What an operation failed with, in words; "no error" where it did not.
func failure(_ body: () throws -> Void) -> String {
  do {
    try body()
    return "no error"
  } catch let error as FileError {
    return error.description
  } catch {
    return "another error: \(error)"
  }
}

extension ImageReader {
  var size: String { "\(width)x\(height)x\(channels)" }
}
