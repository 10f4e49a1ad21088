import Foundation

/// Which device to use, as the user says it with `--device` or `SPARROW_DEVICE`.
package enum DeviceSelector: Sendable, Equatable {
  /// `auto`: the best GPU, else the best CPU device, else the best accelerator, else the reference.
  case automatic
  /// `reference`: the plain CPU backend, no OpenCL.
  case reference
  /// `gpu`: the best GPU.
  case gpu
  /// `cpu`: the best CPU device.
  case cpu
  /// `P:D`: platform and device by their indices.
  case index(platform: Int, device: Int)
  /// Part of a device's, vendor's or platform's name, in any case of letters.
  case name(String)

  /// What was chosen, and a sentence that says why.
  package enum Selection: Sendable, Equatable {
    case reference(reason: String)
    /// The index is the place in the list chosen from.
    case device(Int, reason: String)

    package var reason: String {
      switch self {
      case .reference(let reason), .device(_, let reason): reason
      }
    }
  }

  /// - Throws: `DeviceSelectionError` for an empty text and for a malformed `P:D`.
  package init(parsing text: String) throws {
    let trimmed = text.trimmingCharacters(in: .whitespacesAndNewlines)
    switch trimmed.lowercased() {
    case "":
      throw DeviceSelectionError(
        "a device is auto, reference, gpu, cpu, P:D or part of a name, not an empty text")
    case "auto", "automatic": self = .automatic
    case "reference": self = .reference
    case "gpu": self = .gpu
    case "cpu": self = .cpu
    default:
      guard trimmed.allSatisfy({ $0 == ":" || ("0"..."9").contains($0) }), trimmed.contains(":")
      else {
        self = .name(trimmed)
        return
      }
      let parts = trimmed.split(separator: ":", omittingEmptySubsequences: false)
      guard parts.count == 2, let platform = Int(parts[0]), let device = Int(parts[1]) else {
        throw DeviceSelectionError(
          "'\(trimmed)' is not a device: P:D takes two numbers, a platform's and a device's")
      }
      self = .index(platform: platform, device: device)
    }
  }

  /// Chooses among `devices`: a pure function of its arguments.
  ///
  /// Among several of a kind the one with the most compute units times clock wins, then the first.
  /// Devices with an `obstacle` are passed over by kind and by name, and are an error when nothing
  /// else remains of an explicit wish.
  ///
  /// - Throws: `DeviceSelectionError`, one line that lists what there is, when the wish cannot be
  ///   met or a name means several different devices. `.automatic` and `.reference` never throw.
  package func select(from devices: [DeviceDescription]) throws -> Selection {
    switch self {
    case .reference:
      return .reference(reason: "The reference was asked for.")
    case .automatic:
      return Self.automaticSelection(from: devices)
    case .gpu:
      return try Self.best(of: .gpu, in: devices)
    case .cpu:
      return try Self.best(of: .cpu, in: devices)
    case .index(let platform, let device):
      return try Self.select(platform: platform, device: device, in: devices)
    case .name(let part):
      return try Self.select(named: part, in: devices)
    }
  }

  private static func automaticSelection(from devices: [DeviceDescription]) -> Selection {
    let skipped = devices.compactMap { device in
      device.obstacle.map { "\(device.summary) \($0)" }
    }
    let note = skipped.isEmpty ? "" : " Passed over: \(skipped.joined(separator: "; "))."
    for kind in DeviceDescription.Kind.allCases where kind != .other {
      guard let (index, rest) = strongest(of: kind, in: devices) else { continue }
      let why: String
      switch kind {
      case .gpu:
        why = rest == 0 ? "it is the only usable GPU" : "it is the fastest of \(rest + 1) GPUs"
      default:
        let missing = kind == .cpu ? "no usable GPU" : "no usable GPU or CPU device"
        why =
          "there is \(missing)"
          + (rest == 0 ? "" : ", and it is the fastest of \(rest + 1) \(kind.label)s")
      }
      return .device(index, reason: "Chose \(devices[index].summary): \(why).\(note)")
    }
    return devices.isEmpty
      ? .reference(reason: "Chose the reference: there is no OpenCL device.")
      : .reference(reason: "Chose the reference: no OpenCL device is usable.\(note)")
  }

  /// The usable device of a kind with the highest rank, the first among equals, and how many other
  /// usable ones there are.
  private static func strongest(
    of kind: DeviceDescription.Kind, in devices: [DeviceDescription]
  ) -> (index: Int, others: Int)? {
    let usable = devices.indices.filter {
      devices[$0].kind == kind && devices[$0].obstacle == nil
    }
    guard var best = usable.first else { return nil }
    for index in usable where devices[index].rank > devices[best].rank { best = index }
    return (best, usable.count - 1)
  }

  private static func best(
    of kind: DeviceDescription.Kind, in devices: [DeviceDescription]
  ) throws -> Selection {
    if let (index, others) = strongest(of: kind, in: devices) {
      let why =
        others == 0
        ? "the only usable \(kind.label)" : "the fastest of \(others + 1) \(kind.label)s"
      return .device(
        index,
        reason: "Chose \(devices[index].summary): a \(kind.label) was asked for, and it is \(why).")
    }
    let unusable = devices.filter { $0.kind == kind }
    guard unusable.isEmpty else {
      throw DeviceSelectionError.unusable(unusable, among: devices)
    }
    throw DeviceSelectionError(
      "there is no OpenCL device of the kind \(kind.label)", among: devices)
  }

  private static func select(
    platform: Int, device: Int, in devices: [DeviceDescription]
  ) throws -> Selection {
    guard
      let index = devices.firstIndex(where: {
        $0.platformIndex == platform && $0.deviceIndex == device
      })
    else {
      throw DeviceSelectionError("there is no OpenCL device \(platform):\(device)", among: devices)
    }
    guard devices[index].obstacle == nil else {
      throw DeviceSelectionError.unusable([devices[index]], among: devices)
    }
    return .device(index, reason: "Chose \(devices[index].summary): it was asked for.")
  }

  private static func select(
    named part: String, in devices: [DeviceDescription]
  ) throws -> Selection {
    let wanted = part.lowercased()
    // A full name wins over one that merely contains it: "RTX 3080" beside "RTX 3080 Ti".
    var matches = devices.indices.filter { devices[$0].name.lowercased() == wanted }
    if matches.isEmpty {
      matches = devices.indices.filter { index in
        let device = devices[index]
        // PoCL names itself in its version only.
        return [device.name, device.vendor, device.platformName, device.platformVersion].contains {
          $0.lowercased().contains(wanted)
        }
      }
    }
    guard !matches.isEmpty else {
      throw DeviceSelectionError("no OpenCL device matches '\(part)'", among: devices)
    }
    let usable = matches.filter { devices[$0].obstacle == nil }
    guard let first = usable.first else {
      throw DeviceSelectionError.unusable(matches.map { devices[$0] }, among: devices)
    }
    guard usable.allSatisfy({ devices[$0].isTwin(of: devices[first]) }) else {
      let candidates = usable.map { devices[$0].summary }.joined(separator: "; ")
      throw DeviceSelectionError(
        "'\(part)' means \(usable.count) different devices, say one as P:D: \(candidates)")
    }
    let why =
      usable.count == 1
      ? "it matches '\(part)'" : "it is the first of \(usable.count) alike that match '\(part)'"
    return .device(first, reason: "Chose \(devices[first].summary): \(why).")
  }
}

extension DeviceDescription {
  /// Whether the two are the same model behind the same driver, so that either computes the same.
  fileprivate func isTwin(of other: DeviceDescription) -> Bool {
    name == other.name && vendor == other.vendor && platformName == other.platformName
      && driverVersion == other.driverVersion
  }
}
