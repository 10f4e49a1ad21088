import Datasets
import Foundation
import Imaging
import Networks
import OpenCLRuntime
import Segmentation
import Training

enum WordTargets {
  /// What users write on the command line.
  static func words(_ bytes: UnsafeRawBufferPointer) throws {
    let text = String(decoding: bytes, as: UTF8.self)
    classes(text)
    code(text)
    device(text)
    data(text)
  }

  private static func classes(_ text: String) {
    guard let map = try? ClassMap(parsing: text, scribbles: text.utf8.count % 2 == 0) else {
      return
    }
    require(map.count >= 2 && map.count <= ClassMap.maximumCount, "\(map.count) classes")
    let indices = (0..<UInt8(map.count)) + [255]
    let values = map.values(of: Array(indices))
    require(values.count == map.count + 1, "values are missing")
    do {
      let again = try ClassMap(parsing: map.description, ignoring: map.ignoredValues)
      require(again == map, "its description means other classes")
      let json = try JSONEncoder().encode(map)
      let decoded = try JSONDecoder().decode(ClassMap.self, from: json)
      require(decoded == map, "its JSON differs")
    } catch {
      broken("its own words are not understood: \(error)")
    }
  }

  private static func code(_ text: String) {
    guard let code = Code(text) else { return }
    require(Code(code.description) == code, "its description means another code")
    for latents in [1, 64, 1 << 24] {
      guard code.problem(latents: latents) == nil else { continue }
      for network in [
        AutoencoderConfiguration.collapsed(inputs: 4, latents: latents, code: code),
        .dictionary(inputs: 4, latents: latents, code: code),
      ] where network.problem == nil {
        let training = TrainingConfiguration.recommended(for: network, epochs: 2, targetL0: 1)
        require(training.problem == nil, training.problem ?? "")
        _ = training.chosenArithmetic
        for step in [1, 2, 50, 100] {
          _ = training.annealing?.value(step: step, totalSteps: 100)
        }
      }
    }
  }

  private static func device(_ text: String) {
    do {
      let selector = try DeviceSelector(parsing: text)
      _ = try selector.select(from: [])
    } catch let error as DeviceSelectionError {
      require(!error.message.isEmpty, "an empty message")
    } catch {
      broken("an error that is no DeviceSelectionError: \(error)")
    }
  }

  private static func data(_ text: String) {
    do {
      _ = try DataSource(parsing: text).describe()
    } catch let error as DataSource.SyntaxError {
      require(!error.description.isEmpty, "an empty message")
    } catch {
      broken("an error that is no SyntaxError: \(error)")
    }
  }
}
