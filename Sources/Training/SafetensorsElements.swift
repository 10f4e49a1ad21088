import Foundation

extension Safetensors {
  /// The types of elements that are read and written; the raw value is the format's name.
  package enum ElementType: String, CaseIterable, Sendable {
    case f32 = "F32"
    case f64 = "F64"
    case u32 = "U32"

    /// In bytes.
    package var size: Int { self == .f64 ? 8 : 4 }
  }

  /// A tensor's elements.
  package enum Elements: Sendable, Equatable {
    case f32([Float])
    case f64([Double])
    case u32([UInt32])

    package var type: ElementType {
      switch self {
      case .f32: .f32
      case .f64: .f64
      case .u32: .u32
      }
    }

    package var count: Int {
      switch self {
      case .f32(let values): values.count
      case .f64(let values): values.count
      case .u32(let values): values.count
      }
    }

    package var byteCount: Int { count * type.size }

    /// Calls `body` with the elements as they are in a file: little-endian, one after the other.
    package func withBytes<Result>(
      _ body: (UnsafeRawBufferPointer) throws -> Result
    ) rethrows -> Result {
      #if _endian(little)
        switch self {
        case .f32(let values): try values.withUnsafeBytes(body)
        case .f64(let values): try values.withUnsafeBytes(body)
        case .u32(let values): try values.withUnsafeBytes(body)
        }
      #else
        switch self {
        case .f32(let values): try values.map(\.bitPattern.littleEndian).withUnsafeBytes(body)
        case .f64(let values): try values.map(\.bitPattern.littleEndian).withUnsafeBytes(body)
        case .u32(let values): try values.map(\.littleEndian).withUnsafeBytes(body)
        }
      #endif
    }

    /// Takes `count` elements from where `read` fills a buffer with the next bytes and returns how
    /// many there were; nil where there were too few.
    init?(
      _ type: ElementType, count: Int, read: (UnsafeMutableRawBufferPointer) throws -> Int
    ) rethrows {
      func elements<Element: BitwiseCopyable>(_ type: Element.Type) throws -> [Element]? {
        // All empty arrays are one object, into which this initializer would write its count.
        guard count > 0 else { return [] }
        let elements = try [Element](unsafeUninitializedCapacity: count) { target, initialized in
          let bytes = UnsafeMutableRawBufferPointer(target)
          initialized = try read(bytes) == bytes.count ? count : 0
        }
        return elements.isEmpty ? nil : elements
      }
      switch type {
      case .f32:
        guard let values = try elements(Float.self) else { return nil }
        self = .f32(values)
      case .f64:
        guard let values = try elements(Double.self) else { return nil }
        self = .f64(values)
      case .u32:
        guard let values = try elements(UInt32.self) else { return nil }
        self = .u32(values)
      }
      #if _endian(big)
        self = byteSwapped
      #endif
    }

    #if _endian(big)
      private var byteSwapped: Elements {
        switch self {
        case .f32(let values): .f32(values.map { Float(bitPattern: $0.bitPattern.byteSwapped) })
        case .f64(let values): .f64(values.map { Double(bitPattern: $0.bitPattern.byteSwapped) })
        case .u32(let values): .u32(values.map(\.byteSwapped))
        }
      }
    #endif
  }
}
