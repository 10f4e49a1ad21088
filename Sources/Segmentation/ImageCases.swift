import Foundation
import Imaging

/// One image and the files that hold it: one, or one for each channel.
package struct ImageCase: Hashable, Sendable {
  /// The base name: of `imagesTr/nerve_0000.png` read as a channel, `nerve`.
  package let name: String
  /// In the order of the channels.
  package let paths: [String]

  /// - Throws: `FileError` with the path.
  package func read() throws -> SampleImage {
    try SampleImage.read(stacking: paths)
  }
}

/// The images of one folder, by base name.
package enum ImageCases {
  /// What a file's name must end with, in any case, to be an image.
  package static let extensions = ["png", "jpg", "jpeg", "tif", "tiff"]

  /// The images of a folder, or the one that a path names, in the byte order of their names; hidden
  /// files, folders and other files are passed over.
  ///
  /// In a folder of the name `imagesTr`, `imagesTs` or `imagesVal` with names as nnU-Net demands
  /// them, `CASE_0000.png`, `CASE_0001.png` and so on are the channels of one image. Elsewhere they
  /// are images of their own, such as those of a film.
  ///
  /// - Throws: `FileError` for an absent folder, one without images, two files of one base name, and
  ///   a missing channel.
  package static func list(_ path: String) throws -> [ImageCase] {
    var isFolder: ObjCBool = false
    guard FileManager.default.fileExists(atPath: path, isDirectory: &isFolder) else {
      throw FileError(path: path, reason: "no such file or folder")
    }
    guard isFolder.boolValue else {
      return [ImageCase(name: baseName(of: path), paths: [path])]
    }
    let files = try files(in: path)
    let folder = URL(fileURLWithPath: path).lastPathComponent
    if ["imagesTr", "imagesTs", "imagesVal"].contains(folder), files.allSatisfy(\.hasChannel) {
      return try channelCases(files, folder: path)
    }
    return files.map { ImageCase(name: $0.name, paths: [$0.path]) }
  }

  /// A file of an image's kind, by its name.
  struct File {
    let path: String
    /// Without folder and extension.
    let name: String

    /// Whether the name ends like `_0000`.
    var hasChannel: Bool { channel != nil }

    /// `nerve` and 1 of `nerve_0001`; nil of a name that does not end like this.
    var channel: (name: String, index: Int)? {
      let digits = name.utf8.suffix(4)
      let rest = name.utf8.dropLast(4)
      guard digits.count == 4, digits.allSatisfy({ (48...57).contains($0) }), rest.count > 1,
        rest.last == UInt8(ascii: "_"), let index = Int(name.suffix(4))
      else { return nil }
      return (String(name.dropLast(5)), index)
    }
  }

  /// The image files of a folder in the byte order of their base names.
  static func files(in folder: String) throws -> [File] {
    var isFolder: ObjCBool = false
    guard FileManager.default.fileExists(atPath: folder, isDirectory: &isFolder) else {
      throw FileError(path: folder, reason: "no such folder")
    }
    guard isFolder.boolValue else { throw FileError(path: folder, reason: "not a folder") }
    guard let names = try? FileManager.default.contentsOfDirectory(atPath: folder) else {
      throw FileError(path: folder, reason: "cannot list this folder")
    }
    var files: [File] = []
    for name in names where !name.hasPrefix(".") {
      let dot = name.lastIndex(of: ".") ?? name.startIndex
      guard extensions.contains(name[dot...].dropFirst().lowercased()) else { continue }
      let path = folder.hasSuffix("/") ? folder + name : "\(folder)/\(name)"
      var isFolder: ObjCBool = false
      guard FileManager.default.fileExists(atPath: path, isDirectory: &isFolder),
        !isFolder.boolValue
      else { continue }
      files.append(File(path: path, name: baseName(of: path)))
    }
    guard !files.isEmpty else {
      throw FileError(path: folder, reason: "no PNG, JPEG or TIFF image in this folder")
    }
    files.sort {
      $0.name == $1.name
        ? $0.path.utf8.lexicographicallyPrecedes($1.path.utf8)
        : $0.name.utf8.lexicographicallyPrecedes($1.name.utf8)
    }
    for (first, second) in zip(files, files.dropFirst()) where first.name == second.name {
      let other = URL(fileURLWithPath: first.path).lastPathComponent
      throw FileError(path: second.path, reason: "has the base name of \(other)")
    }
    return files
  }

  /// Files named `CASE_0000` and so on as the channels of images.
  static func channelCases(_ files: [File], folder: String) throws -> [ImageCase] {
    var names: [String] = []
    var paths: [String: [String]] = [:]
    // In the order of names, so a case's channels come one after the other.
    for file in files {
      guard let (name, index) = file.channel else {
        preconditionFailure("\(file.name) names no channel")
      }
      let known = paths[name, default: []].count
      guard index == known else {
        let missing = String(repeating: "0", count: 4 - min(4, "\(known)".count)) + "\(known)"
        throw FileError(path: file.path, reason: "channel \(name)_\(missing) is missing before it")
      }
      if known == 0 { names.append(name) }
      paths[name, default: []].append(file.path)
    }
    return names.map { ImageCase(name: $0, paths: paths[$0, default: []]) }
  }

  private static func baseName(of path: String) -> String {
    URL(fileURLWithPath: path).deletingPathExtension().lastPathComponent
  }
}
