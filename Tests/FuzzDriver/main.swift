// Runs libFuzzer on the target that SPARROW_FUZZ_TARGET names: see Scripts/fuzz.sh. Built only where
// SPARROW_FUZZ is set when the package is evaluated.

import CFuzzer
import Foundation
import FuzzTargets

let name = ProcessInfo.processInfo.environment["SPARROW_FUZZ_TARGET"] ?? ""
guard let target = FuzzTarget(rawValue: name) else {
  let names = FuzzTarget.allCases.map(\.rawValue).joined(separator: " ")
  if name != "list" {
    FileHandle.standardError.write(Data("SPARROW_FUZZ_TARGET names none of: \(names)\n".utf8))
    exit(64)
  }
  // For the script: the longest input, whether the parser is ours, and the memory that the longest
  // input may take, in MiB.
  for target in FuzzTarget.allCases {
    let size = target.isOwnParser ? 2048 : 8192
    let bound = target.memoryBound(size: size) >> 20
    print(target.rawValue, size, target.isOwnParser ? "own" : "library", bound)
  }
  exit(0)
}

/// The callback is a C function and takes nothing along.
let chosen = target

var count = CommandLine.argc
var arguments: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>? = CommandLine.unsafeArgv
exit(
  LLVMFuzzerRunDriver(&count, &arguments) { data, size in
    chosen.run(UnsafeRawBufferPointer(start: data, count: size))
    return 0
  })
