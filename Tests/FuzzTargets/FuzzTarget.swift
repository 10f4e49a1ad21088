import Foundation
import Imaging

/// A reader, as a fuzzer calls it: any bytes end in a result that holds together or in one of the
/// reader's own errors.
package enum FuzzTarget: String, CaseIterable, Codable, Sendable {
  /// `UnpackingReader`: plain and gzip, in pieces and whole.
  case gzip
  /// `IDX.readImages` and `IDX.readLabels`.
  case idx
  /// `NPY.readHeader` and `NPY.read`.
  case npy
  /// `Safetensors`, and what is written of what was read.
  case safetensors
  /// `ModelFile`, `PretrainedModel` and `SegmenterModel` from whole files.
  case models
  /// `Checkpoint`, `SweepCheckpoint` and the two `ConvolutionalCheckpoint`, sealed anew, to the run
  /// that goes on.
  case checkpoints
  /// The description of an autoencoder with weights that fit, to the usable network.
  case autoencoder
  /// The description of a pretrained front end with weights that fit, to the usable network.
  case pretrained
  /// The description of a segmenter with weights that fit, to the usable network.
  case segmenter
  /// What Sparrow notes of devices: `SelfTestStore`, `MatmulTuning`.
  case records
  /// What users write: `ClassMap`, `Code`, `DeviceSelector`, `DataSource`.
  case words
  /// `Orientation` from blocks of Exif.
  case exif
  /// `ImageReader` and `ImageFile` on PNG.
  case png
  /// `ImageReader` and `ImageFile` on JPEG.
  case jpeg
  /// `ImageReader` on TIFF.
  case tiff

  /// Whether the bytes go through code of this package, or mostly through the system's libraries.
  package var isOwnParser: Bool {
    switch self {
    case .png, .jpeg, .tiff: false
    default: true
    }
  }

  /// What reading `size` bytes may take at most, as the readers state it, in bytes: of every single
  /// allocation, and of all together.
  package func memoryBound(size: Int) -> Int {
    let fixed = 64 << 20
    return switch self {
    // Deflate's limit, and once more for the pieces.
    case .gzip, .idx, .npy: fixed + 2 * 1032 * size
    case .safetensors, .models, .checkpoints, .autoencoder, .pretrained, .segmenter:
      fixed + 64 * size
    case .records, .words, .exif: fixed + 64 * size
    // 1032 bytes of packed bits, each bit a pixel of three samples in single precision.
    case .png: fixed + 1032 * 8 * 3 * size
    case .jpeg: fixed + 4096 * size
    case .tiff: fixed + (1 << 15) * size
    }
  }

  /// - Precondition: nothing; where the reader breaks a promise the process ends.
  package func run(_ bytes: UnsafeRawBufferPointer) {
    do {
      switch self {
      case .gzip: try ArrayTargets.gzip(bytes)
      case .idx: try ArrayTargets.idx(bytes)
      case .npy: try ArrayTargets.npy(bytes)
      case .safetensors: try ModelTargets.safetensors(bytes)
      case .models: try ModelTargets.models(bytes)
      case .checkpoints: try CheckpointTargets.checkpoints(bytes)
      case .autoencoder: try ModelTargets.autoencoder(bytes)
      case .pretrained: try ModelTargets.pretrained(bytes)
      case .segmenter: try ModelTargets.segmenter(bytes)
      case .records: RecordTargets.records(bytes)
      case .words: try WordTargets.words(bytes)
      case .exif: ImageTargets.exif(bytes)
      case .png, .jpeg: try ImageTargets.picture(bytes)
      case .tiff: try ImageTargets.tiff(bytes)
      }
    } catch {
      Self.check(error)
    }
  }

  /// An error is one of a file, in one line that fits a terminal.
  static func check(_ error: any Error) {
    guard let error = error as? FileError else {
      broken("an error that is no FileError: \(error)")
    }
    checkLine(error.reason)
    require(
      !error.reason.contains("not enough memory for"), "more memory than there is: \(error.reason)")
    require(error.offset.map { $0 >= 0 } ?? true, "a negative offset")
  }

  static func checkLine(_ text: String) {
    require(!text.isEmpty, "an empty message")
    require(text.utf8.count <= 4000, "a message of \(text.utf8.count) bytes")
    require(text.utf8.allSatisfy { $0 >= 0x20 && $0 != 0x7F }, "control characters")
  }
}

/// What a reader promised does not hold: says so, also where the compiler drops the words of
/// preconditions, and ends the process.
func broken(_ words: String) -> Never {
  FileHandle.standardError.write(Data("BROKEN PROMISE: \(words)\n".utf8))
  abort()
}

func require(_ condition: Bool, _ words: @autoclosure () -> String) {
  if !condition { broken(words()) }
}
