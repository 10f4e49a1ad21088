import Foundation

/// What the samples of an image are stored as.
package enum SampleType: String, Codable, Sendable, CaseIterable {
  case uint8, uint16, float32

  /// In bytes.
  package var size: Int {
    switch self {
    case .uint8: 1
    case .uint16: 2
    case .float32: 4
    }
  }

  /// As said to users.
  package var words: String {
    switch self {
    case .uint8: "8-bit"
    case .uint16: "16-bit"
    case .float32: "32-bit floating-point"
    }
  }

  /// White, where a type has one: 255, 65535 and 1.
  package var white: Float {
    switch self {
    case .uint8: 255
    case .uint16: 65535
    case .float32: 1
    }
  }

  /// Whether every value of this type is one of `other`'s too, unchanged.
  package func fits(_ other: SampleType) -> Bool { size <= other.size }

  /// Copies `count` samples stored as this type to samples of `other`, without changing a value.
  func widen(
    _ source: UnsafeRawPointer, to other: SampleType, _ target: UnsafeMutableRawPointer, count: Int
  ) {
    switch (self, other) {
    case (.uint8, .uint16):
      let (from, to) = (source.as(UInt8.self), target.as(UInt16.self))
      for i in 0..<count { to[i] = UInt16(from[i]) }
    case (.uint8, .float32):
      let (from, to) = (source.as(UInt8.self), target.as(Float.self))
      for i in 0..<count { to[i] = Float(from[i]) }
    case (.uint16, .float32):
      let (from, to) = (source.as(UInt16.self), target.as(Float.self))
      for i in 0..<count { to[i] = Float(from[i]) }
    default:
      precondition(self == other, "samples are never narrowed")
      memcpy(target, source, count * size)
    }
  }
}

/// A type that samples are handled as.
package protocol ImageSample: BitwiseCopyable, Equatable, Sendable {
  static var sampleType: SampleType { get }
}

extension UInt8: ImageSample {
  package static var sampleType: SampleType { .uint8 }
}

extension UInt16: ImageSample {
  package static var sampleType: SampleType { .uint16 }
}

extension Float: ImageSample {
  package static var sampleType: SampleType { .float32 }
}

extension UnsafeRawPointer {
  func `as`<T: BitwiseCopyable>(_: T.Type) -> UnsafePointer<T> { assumingMemoryBound(to: T.self) }
}

extension UnsafeMutableRawPointer {
  func `as`<T: BitwiseCopyable>(_: T.Type) -> UnsafeMutablePointer<T> {
    assumingMemoryBound(to: T.self)
  }
}
