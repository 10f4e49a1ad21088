/// How often a run is saved.
package enum CheckpointInterval: Hashable, Sendable {
  case seconds(Double)
  case steps(Int)
  case epochs(Int)

  package static let forms = "30s, 5m or 1h of time, 2epochs, 500steps"
  /// Of runs that have no epochs.
  package static let formsWithoutEpochs = "30s, 5m or 1h of time, 500steps"

  package var isOfEpochs: Bool {
    if case .epochs = self { true } else { false }
  }

  /// For example `30s`, `5m`, `1h`, `1epoch`, `2e`, `500steps`; nil for anything else.
  package init?(_ text: String) {
    let number = text.prefix { $0.isNumber || $0 == "." }
    let unit = text.dropFirst(number.count).trimmingPrefix(while: { $0 == " " })
    switch unit {
    case "s", "m", "h":
      guard let value = Double(number), value > 0, value.isFinite else { return nil }
      self = .seconds(value * (unit == "s" ? 1 : unit == "m" ? 60 : 3600))
    case "step", "steps":
      guard let value = Int(number), value > 0 else { return nil }
      self = .steps(value)
    case "e", "epoch", "epochs":
      guard let value = Int(number), value > 0 else { return nil }
      self = .epochs(value)
    default: return nil
    }
  }
}
