import Foundation

/// A device wish together with where it came from, so that errors can say whose fault it is.
package struct DeviceRequest: Sendable, Equatable {
  /// The environment variable that gives the default.
  package static let environmentVariable = "SPARROW_DEVICE"

  package let selector: DeviceSelector
  /// `SPARROW_DEVICE` where the wish came from there, else nil.
  package let origin: String?

  /// The flag's value if there is one, else that of `SPARROW_DEVICE` unless it is empty, else
  /// `auto`.
  ///
  /// - Throws: `DeviceSelectionError` for a value that is no selector.
  package init(
    flag: String?, environment: [String: String] = ProcessInfo.processInfo.environment
  ) throws {
    if let flag {
      selector = try DeviceSelector(parsing: flag)
      origin = nil
    } else if let value = environment[Self.environmentVariable], !value.isEmpty {
      origin = Self.environmentVariable
      selector = try Self.naming(origin) { try DeviceSelector(parsing: value) }
    } else {
      selector = .automatic
      origin = nil
    }
  }

  /// As `DeviceSelector.select(from:)`, with the variable named in the error where it is to blame.
  package func select(from devices: [DeviceDescription]) throws -> DeviceSelector.Selection {
    try Self.naming(origin) { try selector.select(from: devices) }
  }

  private static func naming<Result>(
    _ origin: String?, _ body: () throws -> Result
  ) throws -> Result {
    do {
      return try body()
    } catch let error as DeviceSelectionError {
      throw origin.map { DeviceSelectionError("\($0): \(error.message)") } ?? error
    }
  }
}

/// A device wish that cannot be met: one line that lists what there is.
package struct DeviceSelectionError: Error, CustomStringConvertible, Equatable {
  package let message: String

  package var description: String { message }

  init(_ message: String) { self.message = message }

  init(_ message: String, among devices: [DeviceDescription]) {
    let list = devices.map(\.summary).joined(separator: "; ")
    self.message =
      devices.isEmpty
      ? "\(message), for there is none at all" : "\(message); there is: \(list)"
  }

  /// The wish means only devices that Sparrow cannot use.
  static func unusable(
    _ wanted: [DeviceDescription], among devices: [DeviceDescription]
  ) -> DeviceSelectionError {
    let reasons = wanted.map { "\($0.summary) \($0.obstacle ?? "can be used")" }
    let message = "the device cannot be used: \(reasons.joined(separator: "; "))"
    let others = devices.filter { $0.obstacle == nil }.map(\.summary)
    return DeviceSelectionError(
      others.isEmpty ? message : "\(message); usable: \(others.joined(separator: "; "))")
  }
}
