import Foundation
import Imaging

/// One image and the files that hold it: one, or one for each channel or page.
package struct ImageCase: Hashable, Sendable {
  /// What several files are of one image.
  enum Parts: Hashable, Sendable { case channels, pages }

  /// The base name: of `imagesTr/nerve_0000.png` read as a channel, `nerve`.
  package let name: String
  /// In the order of the channels or pages.
  package let paths: [String]
  private let parts: Parts
  /// The file that cannot be opened, and why; nil where that is not known before it is tried.
  private let obstacle: FileError?

  init(name: String, paths: [String], of parts: Parts = .channels, obstacle: FileError? = nil) {
    (self.name, self.paths, self.parts, self.obstacle) = (name, paths, parts, obstacle)
  }

  /// Its image, or those of its pages, with their names.
  ///
  /// - Throws: `FileError` with the path; also for a channel's or a page's file of several pages.
  package func read() throws -> [(name: String, image: SampleImage)] {
    try check()
    let images =
      switch (paths.count, parts) {
      case (1, _): try SampleImage.pages(of: paths[0])
      case (_, .channels): [try SampleImage.read(stacking: paths)]
      case (_, .pages): try paths.map { try SampleImage.read($0) }
      }
    return images.enumerated().map { (self.name(ofPage: $0, among: images.count), $1) }
  }

  /// The file of a page, counted from 0, or the first of its channels'.
  package func path(ofPage page: Int) -> String { parts == .pages ? paths[page] : paths[0] }

  /// For errors, of so many pages as were read: `a.tif has 3`.
  func description(ofPages count: Int) -> String {
    parts == .pages ? "there are \(count) from \(paths[0]) on" : "\(paths[0]) has \(count)"
  }

  /// What a page, counted from 0, is called: `slide-page0001` of two or more.
  package func name(ofPage page: Int, among count: Int) -> String {
    count > 1 ? Self.name(name, ofPage: page) : name
  }

  fileprivate static func name(_ name: String, ofPage page: Int) -> String {
    name + String(format: "-page%04d", page + 1)
  }

  /// - Throws: `FileError` where it is known that one of its files cannot be opened.
  package func check() throws {
    if let obstacle { throw obstacle }
  }
}

/// The images of one folder, by base name.
package enum ImageCases {
  /// What a file's name must end with, in any case, to be an image.
  package static let extensions = ["png", "jpg", "jpeg", "tif", "tiff"]

  /// The images of a folder, or the one that a path names, in the byte order of their names; hidden
  /// files, folders and other files are passed over. Names of images under which no file can be opened
  /// are among them: reading those says why.
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
    return files.map(\.asCase)
  }

  /// A file of an image's kind, by its name.
  struct File {
    let path: String
    /// Without folder and extension.
    let name: String
    /// Why it cannot be opened, where that is known.
    var obstacle: FileError?

    /// The file as an image of its own.
    var asCase: ImageCase { ImageCase(name: name, paths: [path], obstacle: obstacle) }

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
  ///
  /// - Parameter wanted: where given, what a prediction writes beside the mask of `a` is left out,
  ///   `a-overlay.png`, `a-uncertainty.tif`, `a-probability-cell.tif`, unless its name is one of these.
  static func files(
    in folder: String, passesOverPicturesBut wanted: Set<String>? = nil
  ) throws -> [File] {
    var files: [File] = []
    for entry in try Folder.entries(of: folder) {
      let name = entry.name
      let dot = name.lastIndex(of: ".") ?? name.startIndex
      guard extensions.contains(name[dot...].dropFirst().lowercased()) else { continue }
      let path = folder.hasSuffix("/") ? folder + name : "\(folder)/\(name)"
      var isFolder: ObjCBool = false
      if FileManager.default.fileExists(atPath: path, isDirectory: &isFolder), isFolder.boolValue {
        continue
      }
      let obstacle = entry.obstacle.map { FileError(path: path, reason: $0) }
      files.append(File(path: path, name: baseName(of: path), obstacle: obstacle))
    }
    if let wanted {
      let names = Set(files.map(\.name))
      files.removeAll { file in
        !wanted.contains(file.name)
          && ["-overlay", "-uncertainty", "-probability-"].contains { ending in
            guard let place = file.name.range(of: ending, options: .backwards) else { return false }
            return (ending.hasSuffix("-") || place.upperBound == file.name.endIndex)
              && names.contains(String(file.name[..<place.lowerBound]))
          }
      }
    }
    guard !files.isEmpty else {
      throw FileError(path: folder, reason: "no PNG, JPEG or TIFF image in this folder")
    }
    files.sort {
      $0.name == $1.name
        ? $0.path.utf8.lexicographicallyPrecedes($1.path.utf8)
        : $0.name.utf8.lexicographicallyPrecedes($1.name.utf8)
    }
    // The same text may have several forms in bytes, which do not lie side by side.
    var paths: [String: String] = [:]
    for file in files {
      guard let other = paths.updateValue(file.path, forKey: file.name) else { continue }
      throw FileError(
        path: file.path,
        reason: "has the base name of \(URL(fileURLWithPath: other).lastPathComponent)")
    }
    return files
  }

  /// Files named `CASE_0000` and so on as the channels of images.
  static func channelCases(_ files: [File], folder: String) throws -> [ImageCase] {
    var names: [String] = []
    var paths: [String: [String]] = [:]
    var obstacles: [String: FileError] = [:]
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
      obstacles[name] = obstacles[name] ?? file.obstacle
    }
    return names.map {
      ImageCase(name: $0, paths: paths[$0, default: []], obstacle: obstacles[$0])
    }
  }

  /// Files, those named `NAME-page0001`, `NAME-page0002` and so on as the pages of one image where
  /// `labels` has its name and neither them nor a file of the name: so masks are written of a TIFF's
  /// pages.
  static func pageCases(_ files: [File], of labels: Set<String>) -> [ImageCase] {
    let byName = Dictionary(uniqueKeysWithValues: files.map { ($0.name, $0) })
    var pages: [String: [File]] = [:]
    for name in labels where byName[name] == nil {
      var all: [File] = []
      while case let page = ImageCase.name(name, ofPage: all.count), !labels.contains(page),
        let file = byName[page]
      { all.append(file) }
      if all.count > 1 { pages[name] = all }
    }
    let taken = Set(pages.values.joined().map(\.name))
    let cases =
      files.filter { !taken.contains($0.name) }.map(\.asCase)
      + pages.map { name, files in
        ImageCase(
          name: name, paths: files.map(\.path), of: .pages,
          obstacle: files.lazy.compactMap(\.obstacle).first)
      }
    return cases.sorted { $0.name.utf8.lexicographicallyPrecedes($1.name.utf8) }
  }

  private static func baseName(of path: String) -> String {
    URL(fileURLWithPath: path).deletingPathExtension().lastPathComponent
  }
}
