import Foundation
import Imaging

/// The images of one folder as one set.
package enum ImageFolder {
  /// Every PNG and JPEG of the folder itself, by content and in the byte order of the names; hidden
  /// files, folders and other files are passed over. All must have one size. Grey unless any of
  /// them is colour, then all are RGB.
  ///
  /// - Parameter progress: called with images done and in all.
  /// - Throws: `FileError` for a folder without images, an image of another size (with both sizes),
  ///   one that cannot be decoded, and a file named `.png`, `.jpg` or `.jpeg` that is neither or
  ///   cannot be opened.
  package static func read(
    _ folder: String, progress: (_ done: Int, _ total: Int) -> Void = { _, _ in }
  ) throws -> ImageSet {
    let paths = try imagePaths(in: folder)
    guard let firstPath = paths.first else {
      throw FileError(path: folder, reason: "no PNG or JPEG image in this folder")
    }
    let first = try ImageFile.read(firstPath)
    var channels = first.channels
    var pixels: [UInt8] = []
    func reserve() throws {
      guard let size = checkedProduct([paths.count, first.width, first.height, channels]) else {
        throw FileError(path: folder, reason: "more images than any memory can hold")
      }
      try checkFitsMemory(size, path: folder)
      pixels.reserveCapacity(size)
    }
    try reserve()
    for (index, path) in paths.enumerated() {
      let image = index == 0 ? first : try ImageFile.read(path)
      guard image.width == first.width, image.height == first.height else {
        let reason =
          "\(image.width)x\(image.height) pixels, but \(firstPath) has "
          + "\(first.width)x\(first.height)"
        throw FileError(path: path, reason: reason)
      }
      if image.channels > channels {
        let grey = Image(
          width: first.width, height: first.height * index, channels: 1, samples: pixels)
        channels = 3
        pixels = grey.expandedToRGB().samples
        try reserve()
      }
      pixels += channels == 3 ? image.expandedToRGB().samples : image.samples
      progress(index + 1, paths.count)
    }
    return ImageSet(
      count: paths.count, width: first.width, height: first.height, channels: channels,
      pixels: pixels)
  }

  private static func imagePaths(in folder: String) throws -> [String] {
    let entries = try Folder.entries(of: folder).sorted {
      $0.name.utf8.lexicographicallyPrecedes($1.name.utf8)
    }
    var paths: [String] = []
    for entry in entries {
      let path = joinedPath(folder, entry.name)
      let isNamedImage = ["png", "jpg", "jpeg"].contains(
        URL(fileURLWithPath: entry.name).pathExtension.lowercased())
      if let obstacle = entry.obstacle {
        guard isNamedImage else { continue }
        throw FileError(path: path, reason: obstacle)
      }
      var status = stat()
      guard stat(path, &status) == 0, status.st_mode & S_IFMT == S_IFREG else { continue }
      if try ImageFile.format(of: path) != nil {
        paths.append(path)
      } else if isNamedImage {
        throw FileError(path: path, reason: "neither a PNG nor a JPEG image")
      }
    }
    return paths
  }
}

/// `folder` and `name` with one separator between them; the user's spelling of the folder stays.
func joinedPath(_ folder: String, _ name: String) -> String {
  folder.hasSuffix("/") ? folder + name : "\(folder)/\(name)"
}
