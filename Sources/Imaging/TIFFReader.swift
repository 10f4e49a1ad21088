import CImageCodecs
import Foundation

/// An open TIFF file, of which one page at a time is read.
final class TIFFReader {
  let path: String
  let pageCount: Int
  /// Whether the page whose rows were asked for last has alpha, which is dropped.
  private(set) var hasAlpha = false
  fileprivate private(set) var palette: [UInt8] = []
  private let file: InputFile
  private let handle: OpaquePointer

  init(_ file: InputFile) throws {
    var pages: UInt32 = 0
    let path = file.path
    let handle = try withCodecMessage { message in
      guard
        let handle = sparrow_tiff_open(file.descriptor, UInt64(file.size), &pages, message)
      else { throw FileError(path: path, reason: "TIFF: \(String(cString: message))") }
      return handle
    }
    self.path = path
    self.file = file
    self.handle = handle
    pageCount = Int(pages)
  }

  deinit { sparrow_tiff_close(handle) }

  fileprivate func attempt(_ body: (OpaquePointer, UnsafeMutablePointer<CChar>) -> Bool) throws {
    try withCodecMessage { message in
      guard body(handle, message) else {
        throw FileError(path: path, reason: "TIFF: \(String(cString: message))")
      }
    }
  }

  /// The rows of a page. Those of other pages are not to be read any more.
  func rows(ofPage number: Int) throws -> any RowSource {
    let page = try turn(to: number)
    let source: any RowSource =
      page.streamsRows
      ? try StreamedRows(TIFFRowStream(self, page, number)) : try TIFFChunks(self, page)
    hasAlpha = page.hasAlpha
    return try page.orientation.upright(
      source, goesBack: !page.streamsRows, most: page.mostBytes(fileSize: file.size), path: path)
  }

  /// Whether a page says that it is a smaller copy of another, or a mask of one. Rows of other pages
  /// are not to be read any more.
  func isCopy(_ number: Int) -> Bool {
    var tags = sparrow_tiff_page()
    try? attempt { sparrow_tiff_turn($0, UInt32(number), &tags, $1) }
    return tags.is_copy
  }

  fileprivate func turn(to number: Int) throws -> TIFFPage {
    var tags = sparrow_tiff_page()
    try attempt { sparrow_tiff_turn($0, UInt32(number), &tags, $1) }
    let page: TIFFPage
    do {
      page = try TIFFPage(tags, fileSize: file.size, pageCount: pageCount)
    } catch let refusal as TIFFPage.Refusal {
      let place = pageCount > 1 ? "page \(number + 1): " : ""
      throw FileError(path: path, reason: "TIFF: \(place)\(refusal.reason)")
    }
    if page.hasPalette {
      var colours = [UInt8](repeating: 0, count: 768)
      try attempt { sparrow_tiff_palette($0, &colours, $1) }
      palette = colours
    }
    return page
  }
}

/// A page read by whole strips or tiles; the latest row of them is kept.
private final class TIFFChunks: RowSource {
  var layout: ImageLayout { page.layout }
  private let file: TIFFReader
  private let page: TIFFPage
  private let chunk: RawMemory
  private let band: RawMemory
  /// Which row of strips or tiles `band` holds.
  private var held: Int?

  init(_ file: TIFFReader, _ page: TIFFPage) throws {
    self.file = file
    self.page = page
    chunk = try RawMemory(byteCount: page.chunkBytes, path: file.path)
    band = try RawMemory(
      byteCount: page.layout.rowBytes * min(page.chunkHeight, page.layout.height), path: file.path)
  }

  func read(_ rows: Range<Int>, into target: UnsafeMutableRawPointer) throws {
    let rowBytes = layout.rowBytes
    var row = rows.lowerBound
    while row < rows.upperBound {
      let index = row / page.chunkHeight
      if held != index { try load(index) }
      let first = index * page.chunkHeight
      let end = min(rows.upperBound, first + page.chunkHeight)
      memcpy(
        target + (row - rows.lowerBound) * rowBytes, band.base + (row - first) * rowBytes,
        (end - row) * rowBytes)
      row = end
    }
  }

  private func load(_ index: Int) throws {
    held = nil
    let top = index * page.chunkHeight
    let height = min(page.chunkHeight, layout.height - top)
    // A tile is stored whole, the last strip only as far as the image goes.
    let bytes = page.chunkRowBytes * (page.isTiled ? page.chunkHeight : height)
    let pixelBytes = layout.channels * layout.sampleType.size
    for plane in 0..<(page.isPlanar ? layout.channels : 1) {
      for left in stride(from: 0, to: layout.width, by: page.chunkWidth) {
        try file.attempt {
          sparrow_tiff_read_chunk(
            $0, UInt32(left), UInt32(top), UInt16(plane), chunk.base, bytes, $1)
        }
        let width = min(page.chunkWidth, layout.width - left)
        for y in 0..<height {
          page.deliver(
            chunk.base + y * page.chunkRowBytes,
            band.base + y * layout.rowBytes + left * pixelBytes, count: width, plane: plane,
            palette: file.palette)
        }
      }
    }
    held = index
  }
}

/// A page of large strips, unpacked row by row.
private final class TIFFRowStream: RowStream {
  var layout: ImageLayout { page.layout }
  var path: String { file.path }
  private let file: TIFFReader
  private let page: TIFFPage
  private let number: Int
  private let row: RawMemory
  private var position = 0

  init(_ file: TIFFReader, _ page: TIFFPage, _ number: Int) throws {
    self.file = file
    self.page = page
    self.number = number
    row = try RawMemory(byteCount: page.chunkRowBytes, path: file.path)
  }

  func rewind() throws {
    // Fresh from the tags: libtiff's decoders cannot go back, least of all after an error. Rows are
    // written into memory for those that the tags promised first.
    guard try file.turn(to: number) == page else { throw FileError.changed(path: path) }
    position = 0
  }

  func next(into target: UnsafeMutableRawPointer) throws {
    try file.attempt { sparrow_tiff_read_row($0, UInt32(position), row.base, $1) }
    page.deliver(row.base, target, count: layout.width, plane: 0, palette: file.palette)
    position += 1
  }
}
