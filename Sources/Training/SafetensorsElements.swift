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

    /// Reads `count` elements from `offset` on.
    ///
    /// - Precondition: the bytes have as many.
    init(_ type: ElementType, count: Int, in bytes: Data, at offset: Int) {
      func read<Bits: FixedWidthInteger, Element>(
        _ element: (Bits) -> Element
      ) -> [Element] {
        // All empty arrays are one object, into which this initializer would write its count.
        guard count > 0 else { return [] }
        return [Element](unsafeUninitializedCapacity: count) { target, initialized in
          bytes.withUnsafeBytes { raw in
            for i in 0..<count {
              let place = offset + MemoryLayout<Bits>.size * i
              let bits = raw.loadUnaligned(fromByteOffset: place, as: Bits.self)
              target.initializeElement(at: i, to: element(Bits(littleEndian: bits)))
            }
          }
          initialized = count
        }
      }
      switch type {
      case .f32: self = .f32(read { (bits: UInt32) in Float(bitPattern: bits) })
      case .f64: self = .f64(read { (bits: UInt64) in Double(bitPattern: bits) })
      case .u32: self = .u32(read { (bits: UInt32) in bits })
      }
    }
  }
}
