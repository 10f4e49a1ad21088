import OpenCLBackend
import Testing

/// What holds of the texts of kernels, whatever a compiler makes of them.
@Suite struct KernelTextTests {
  /// C99's `inline` alone declares that the function is elsewhere: a compiler that does not inline
  /// it leaves a symbol that is not there, and AMD's and Mesa's stop there.
  @Test(arguments: KernelSource.allCases) func helpersAreStatic(_ source: KernelSource) {
    let text = KernelSources.standard.text(of: source)
    for line in text.split(separator: "\n") where !line.hasPrefix("//") {
      let words = line.split { !$0.isLetter && $0 != "_" }
      guard let place = words.firstIndex(of: "inline") else { continue }
      #expect(place > 0 && words[place - 1] == "static", "\(source): \(line)")
    }
  }
}
