import Compute
import Imaging

/// Which values of label images mean which class.
package struct ClassMap: Codable, Hashable, Sendable {
  /// A class, known by its name.
  package struct Class: Codable, Hashable, Sendable {
    package let name: String
    /// The values of its pixels; masks are written with the first.
    package let values: [Int]

    package init(name: String, values: [Int]) {
      self.name = name
      self.values = values
    }
  }

  /// At least two; a class's index is its place here.
  package let classes: [Class]
  /// Values of pixels that nobody labelled; 0 is among them where labels are scribbles.
  package let ignoredValues: [Int]

  package var names: [String] { classes.map(\.name) }
  package var count: Int { classes.count }

  /// The largest value that a label may have.
  package static let maximumValue = 65535
  /// Class indices are bytes, of which 255 means unlabelled.
  package static let maximumCount = Int(SegmentationLoss.ignored)

  /// - Throws: `ClassMapError` for less than two classes or more than 255, a name or a value that
  ///   comes twice, a class without values and values outside of 0...65535.
  package init(classes: [Class], ignoring ignoredValues: [Int] = []) throws(ClassMapError) {
    guard classes.count >= 2 else {
      throw ClassMapError("\(classes.count == 1 ? "one class is" : "no classes are") too few")
    }
    guard classes.count <= Self.maximumCount else {
      throw ClassMapError("\(classes.count) classes are more than \(Self.maximumCount)")
    }
    var owners: [Int: String] = [:]
    for value in ignoredValues {
      try Self.check(value)
      owners[value] = "the values to ignore"
    }
    var names: Set<String> = []
    for entry in classes {
      guard !entry.name.isEmpty else { throw ClassMapError("a class has no name") }
      guard names.insert(entry.name).inserted else {
        throw ClassMapError("two classes are named \(entry.name)")
      }
      guard !entry.values.isEmpty else { throw ClassMapError("\(entry.name) has no value") }
      for value in entry.values {
        try Self.check(value)
        if let owner = owners.updateValue(entry.name, forKey: value) {
          throw ClassMapError("value \(value) belongs to \(owner) and to \(entry.name)")
        }
      }
    }
    self.classes = classes
    self.ignoredValues = ignoredValues
  }

  /// From the words of a command line: `membrane=0,cell=255`, or `cell=1|2|3` for several values.
  ///
  /// - Parameter scribbles: 0 means unlabelled, so that no class may have it.
  package init(
    parsing text: String, ignoring ignored: [Int] = [], scribbles: Bool = false
  ) throws(ClassMapError) {
    var classes: [Class] = []
    for part in text.split(separator: ",", omittingEmptySubsequences: false) {
      let sides = part.split(separator: "=", omittingEmptySubsequences: false)
      guard sides.count == 2 else {
        throw ClassMapError("'\(part)' is not NAME=VALUE or NAME=VALUE|VALUE")
      }
      var values: [Int] = []
      for word in sides[1].split(separator: "|", omittingEmptySubsequences: false) {
        guard let value = Int(word.trimming(" ")) else {
          throw ClassMapError("'\(word)' in '\(part)' is not a whole number")
        }
        values.append(value)
      }
      classes.append(Class(name: String(sides[0].trimming(" ")), values: values))
    }
    try self.init(classes: classes, ignoring: Self.ignored(ignored, scribbles: scribbles))
  }

  package init(from decoder: any Decoder) throws {
    let values = try decoder.container(keyedBy: CodingKeys.self)
    try self.init(
      classes: values.decode([Class].self, forKey: .classes),
      ignoring: values.decode([Int].self, forKey: .ignoredValues))
  }

  /// What is given on a command line, for example `membrane=0,cell=255`.
  package var description: String {
    classes.map { entry in
      "\(entry.name)=\(entry.values.map(String.init).joined(separator: "|"))"
    }.joined(separator: ",")
  }

  static func ignored(_ values: [Int], scribbles: Bool) -> [Int] {
    scribbles && !values.contains(0) ? [0] + values : values
  }

  private static func check(_ value: Int) throws(ClassMapError) {
    guard (0...maximumValue).contains(value) else {
      throw ClassMapError("value \(value) is not within 0...\(maximumValue)")
    }
  }
}

extension ClassMap {
  /// The class index of each pixel of a label image, `SegmentationLoss.ignored` where its value is
  /// to be ignored. A colour image whose channels are equal counts as grey.
  ///
  /// - Throws: `FileError` naming the file, the value and its place where no class has it, and for a
  ///   label in colour.
  package func indices(of label: SampleImage, path: String) throws -> [UInt8] {
    let unknown: UInt16 = 256
    var table = [UInt16](repeating: unknown, count: Self.maximumValue + 1)
    for value in ignoredValues { table[value] = UInt16(SegmentationLoss.ignored) }
    for (index, entry) in classes.enumerated() {
      for value in entry.values { table[value] = UInt16(index) }
    }
    let count = label.width * label.height
    return try [UInt8](unsafeUninitializedCapacity: count) { target, initialized in
      try label.forEachLabel(path: path) { pixel, value in
        let index = table[value]
        guard index != unknown else {
          throw FileError(
            path: path,
            reason: "no class has the value \(value) at x \(pixel % label.width), "
              + "y \(pixel / label.width); the classes are \(description)")
        }
        target[pixel] = UInt8(index)
        initialized = pixel + 1
      }
    }
  }

  /// The way back, for writing masks: the first value of each pixel's class. A pixel that is to be
  /// ignored gets the first ignored value, or 0 where there is none.
  ///
  /// - Precondition: every index is a class's or `SegmentationLoss.ignored`.
  package func values(of indices: [UInt8]) -> [UInt16] {
    var table = [UInt16](repeating: 0, count: 256)
    for (index, entry) in classes.enumerated() { table[index] = UInt16(entry.values[0]) }
    table[Int(SegmentationLoss.ignored)] = UInt16(ignoredValues.first ?? 0)
    return indices.map { index in
      precondition(
        Int(index) < classes.count || index == SegmentationLoss.ignored, "no class \(index)")
      return table[Int(index)]
    }
  }

  /// Whether masks fit 8 bits a pixel.
  package var fitsBytes: Bool {
    classes.allSatisfy { $0.values[0] < 256 } && (ignoredValues.first ?? 0) < 256
  }
}

/// What is wrong with the classes a user named, in a few words.
package struct ClassMapError: Error, Equatable, Sendable, CustomStringConvertible {
  package let description: String

  package init(_ description: String) {
    self.description = description
  }
}

extension SampleImage {
  /// Every pixel's label, which must be grey and a whole number in 0...65535.
  func forEachLabel(path: String, _ body: (_ pixel: Int, _ value: Int) throws -> Void) throws {
    let limit = Float(ClassMap.maximumValue)
    try samples.withUnsafeBufferPointer { samples in
      for pixel in 0..<width * height {
        let value = samples[pixel * channels]
        for c in 1..<max(1, channels) where samples[pixel * channels + c] != value {
          throw FileError(
            path: path,
            reason: "a label in colour at x \(pixel % width), y \(pixel / width); labels are grey, "
              + "or their channels are equal")
        }
        guard value >= 0, value <= limit, value == value.rounded() else {
          throw FileError(
            path: path,
            reason: "the label \(value) at x \(pixel % width), y \(pixel / width) is not a whole "
              + "number in 0...\(ClassMap.maximumValue)")
        }
        try body(pixel, Int(value))
      }
    }
  }
}

extension Substring {
  fileprivate func trimming(_ character: Character) -> Substring {
    var part = drop { $0 == character }
    while part.last == character { part.removeLast() }
    return part
  }
}
