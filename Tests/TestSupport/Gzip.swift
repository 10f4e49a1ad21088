import CZlib

/// Packs bytes as gzip, without a file name or a time, so that the same bytes give the same file.
package enum Gzip {
  package static func pack(_ bytes: [UInt8], level: Int32 = 6) -> [UInt8] {
    var stream = z_stream()
    let started = deflateInit2_(
      &stream, level, Z_DEFLATED, 16 + 15, 8, Z_DEFAULT_STRATEGY, ZLIB_VERSION,
      Int32(MemoryLayout<z_stream>.size))
    precondition(started == Z_OK, "zlib could not start")
    defer { deflateEnd(&stream) }
    var packed: [UInt8] = []
    var chunk = [UInt8](repeating: 0, count: 1 << 16)
    bytes.withUnsafeBufferPointer { source in
      var offset = 0
      var result = Z_OK
      while result != Z_STREAM_END {
        // avail_in has 32 bits.
        let count = min(source.count - offset, 1 << 30)
        let isLast = offset + count == source.count
        stream.next_in = source.baseAddress.map { UnsafeMutablePointer(mutating: $0 + offset) }
        stream.avail_in = UInt32(count)
        chunk.withUnsafeMutableBufferPointer { target in
          stream.next_out = target.baseAddress
          stream.avail_out = UInt32(target.count)
          result = deflate(&stream, isLast ? Z_FINISH : Z_NO_FLUSH)
        }
        offset += count - Int(stream.avail_in)
        packed += chunk[..<(chunk.count - Int(stream.avail_out))]
      }
    }
    return packed
  }
}
