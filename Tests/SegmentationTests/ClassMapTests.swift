import Compute
import Foundation
import Imaging
import Segmentation
import Testing

struct ClassMapTests {
  private func label(
    _ values: [Float], width: Int, channels: Int = 1,
    type: SampleType = .uint8
  ) -> SampleImage {
    SampleImage(
      width: width, height: values.count / width / channels, channels: channels, sampleType: type,
      samples: values)
  }

  @Test func understandsTheCommandLine() throws {
    let map = try ClassMap(parsing: "membrane = 0, cell=255|254", ignoring: [7])
    #expect(map.names == ["membrane", "cell"])
    #expect(map.classes[1].values == [255, 254])
    #expect(map.description == "membrane=0,cell=255|254")
    let indices = try map.indices(of: label([0, 255, 254, 7], width: 2), path: "l")
    #expect(indices == [0, 1, 1, 255])
    #expect(map.values(of: [0, 1, 1, 255]) == [0, 255, 255, 7])
    let decoded = try JSONDecoder().decode(ClassMap.self, from: JSONEncoder().encode(map))
    #expect(decoded == map)
  }

  @Test(arguments: [
    ("a=0", "one class is too few"),
    ("a=0,b", "'b' is not NAME=VALUE or NAME=VALUE|VALUE"),
    ("a=0,b=1=2", "'b=1=2' is not NAME=VALUE or NAME=VALUE|VALUE"),
    ("a=0,b=x", "'x' in 'b=x' is not a whole number"),
    ("a=0,b=1|", "'' in 'b=1|' is not a whole number"),
    ("a=0,a=1", "two classes are named a"),
    ("a=0,=1", "a class has no name"),
    ("a=0,b=1|0", "value 0 belongs to a and to b"),
    ("a=0,b=65536", "value 65536 is not within 0...65535"),
    ("a=0,b=-1", "value -1 is not within 0...65535"),
    ("a=0,b=9", "value 9 belongs to the values to ignore and to b"),
  ])
  func refuses(_ text: String, _ reason: String) {
    #expect(throws: ClassMapError(reason)) { try ClassMap(parsing: text, ignoring: [9]) }
  }

  @Test func damagedModelsHaveNoClasses() {
    let text = #"{"classes":[{"name":"a","values":[0]}],"ignoredValues":[]}"#
    #expect(throws: (any Error).self) {
      try JSONDecoder().decode(ClassMap.self, from: Data(text.utf8))
    }
  }

  @Test func namesTheFileTheValueAndThePlace() throws {
    let map = try ClassMap(parsing: "a=0,b=1")
    #expect(
      throws: FileError(
        path: "l.png", reason: "no class has the value 3 at x 1, y 2; the classes are a=0,b=1")
    ) { try map.indices(of: label([0, 1, 1, 0, 0, 3], width: 2), path: "l.png") }
    #expect(
      throws: FileError(
        path: "l.tif", reason: "the label 0.5 at x 1, y 0 is not a whole number in 0...65535")
    ) { try map.indices(of: label([0, 0.5], width: 2, type: .float32), path: "l.tif") }
    for value: Float in [-1, .nan, .infinity, 1e9] {
      #expect(throws: FileError.self) {
        try map.indices(of: label([0, value], width: 2, type: .float32), path: "l.tif")
      }
    }
  }

  @Test func colourIsGreyOnlyWhereItsChannelsAreEqual() throws {
    let map = try ClassMap(parsing: "a=0,b=1")
    let grey = label([0, 0, 0, 1, 1, 1], width: 2, channels: 3)
    #expect(try map.indices(of: grey, path: "l") == [0, 1])
    #expect(
      throws: FileError(
        path: "l",
        reason: "a label in colour at x 1, y 0; labels are grey, or their channels are equal")
    ) { try map.indices(of: label([0, 0, 0, 1, 1, 0], width: 2, channels: 3), path: "l") }
  }

  private func inferred(
    _ labels: [Float], ignoring: [Int] = [], scribbles: Bool = false
  ) throws -> ClassMap {
    var survey = LabelSurvey(ignoring: ignoring, scribbles: scribbles)
    try survey.add(label(labels, width: labels.count, type: .uint16), path: "first")
    return try survey.classMap(path: "first")
  }

  @Test func infersClassesFromValues() throws {
    #expect(try inferred([0, 255, 255]).description == "background=0,foreground=255")
    #expect(try inferred([1, 0]).description == "background=0,foreground=1")
    #expect(try inferred([9, 2, 2, 700]).description == "2=2,9=9,700=700")
    #expect(try inferred([9, 2, 255], ignoring: [255]).description == "2=2,9=9")
    #expect(try !inferred([9, 700]).fitsBytes)
    #expect(
      throws: FileError(
        path: "first",
        reason: "the labels have only the value 3, but a segmentation has at least two classes")
    ) { try inferred([3, 3]) }
  }

  @Test func scribblesAreSaidToBeSo() throws {
    let map = try inferred([0, 1, 2, 0], scribbles: true)
    #expect(map.description == "1=1,2=2")
    #expect(map.ignoredValues == [0])
    #expect(try map.indices(of: label([0, 2, 1], width: 3), path: "l") == [255, 1, 0])
    // Nobody said so: 0 is a class.
    #expect(try inferred([0, 1, 2, 0]).count == 3)
    #expect(throws: ClassMapError("value 0 belongs to the values to ignore and to a")) {
      try ClassMap(parsing: "a=0,b=1", scribbles: true)
    }
  }

  /// What a JPEG makes of labels are no classes; where all values are far apart it has kept them.
  @Test func blurredLabelsAreNoLabels() throws {
    func add(_ values: [Float], isJPEG: Bool) throws -> Int {
      var survey = LabelSurvey()
      try survey.add(label(values, width: values.count), path: "a", isJPEG: isJPEG)
      return try survey.classMap(path: "a").count
    }
    #expect(try add([0, 128, 255], isJPEG: true) == 3)
    #expect(try add([0, 255, 254], isJPEG: false) == 3)
    #expect {
      _ = try add([0, 255, 254], isJPEG: true)
    } throws: {
      ($0 as? FileError)?.reason.contains("(254 lies beside 255)") == true
    }
  }

  @Test func manyValuesAreNoLabels() throws {
    var survey = LabelSurvey()
    try survey.add(label((0..<20).map(Float.init), width: 20), path: "first")
    try survey.add(label((10..<32).map(Float.init), width: 22), path: "second")
    #expect(try survey.classMap(path: "first").count == 32)
    #expect {
      try survey.add(label([0, 40], width: 2), path: "third")
    } throws: {
      ($0 as? FileError)?.path == "third"
    }
  }
}
