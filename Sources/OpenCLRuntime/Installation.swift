import Foundation

/// What to install where no OpenCL device is found.
package enum Installation {
  /// Advice for this system, of a few lines.
  package static func advice() -> String {
    #if os(macOS)
      return macOS
    #else
      let release =
        (try? String(contentsOfFile: "/etc/os-release", encoding: .utf8))
        ?? (try? String(contentsOfFile: "/usr/lib/os-release", encoding: .utf8))
      return advice(osRelease: release ?? "")
    #endif
  }

  /// Advice for a Linux system, given the contents of its `os-release` file.
  package static func advice(osRelease: String) -> String {
    let fields = parse(osRelease)
    let ids =
      [fields["ID"] ?? ""] + (fields["ID_LIKE"] ?? "").split(separator: " ").map(String.init)
    let family = ids.lazy.compactMap { families[$0] }.first ?? other
    let name = fields["PRETTY_NAME"] ?? fields["NAME"] ?? "this system"
    return """
      No OpenCL device was found. On \(name):
        any CPU:    \(family.cpu)
        AMD GPU:    \(family.amd)
        Intel GPU:  \(family.intel)
        NVIDIA GPU: \(family.nvidia)
      A GPU's device file must also be open to you (groups 'render' and 'video').
      Until then Sparrow runs on its reference backend, on the CPU: --device reference.
      """
  }

  private struct Family {
    let cpu: String
    let amd: String
    let intel: String
    let nvidia: String
  }

  private static let debian = Family(
    cpu: "sudo apt install ocl-icd-libopencl1 pocl-opencl-icd",
    amd: "sudo apt install mesa-opencl-icd, or AMD's ROCm packages (rocm-opencl-runtime)",
    intel: "sudo apt install intel-opencl-icd",
    nvidia: "sudo apt install nvidia-opencl-icd, or on Ubuntu the driver's libnvidia-compute")
  private static let fedora = Family(
    cpu: "sudo dnf install ocl-icd pocl",
    amd: "sudo dnf install rocm-opencl, or mesa-libOpenCL",
    intel: "sudo dnf install intel-compute-runtime",
    nvidia: "sudo dnf install xorg-x11-drv-nvidia-cuda (from RPM Fusion)")
  private static let arch = Family(
    cpu: "sudo pacman -S ocl-icd pocl",
    amd: "sudo pacman -S rocm-opencl-runtime, or opencl-mesa",
    intel: "sudo pacman -S intel-compute-runtime",
    nvidia: "sudo pacman -S opencl-nvidia")
  private static let alpine = Family(
    cpu: "sudo apk add opencl-icd-loader pocl (from the community or testing repository)",
    amd: "sudo apk add mesa-rusticl",
    intel: "sudo apk add intel-compute-runtime, where the repository has it",
    nvidia: "NVIDIA's driver does not support musl; use the reference or another system")
  private static let suse = Family(
    cpu: "sudo zypper install libOpenCL1 pocl",
    amd: "sudo zypper install Mesa-libRusticlOpenCL, or AMD's ROCm packages",
    intel: "sudo zypper install intel-opencl",
    nvidia: "sudo zypper install nvidia-compute-G06 (from NVIDIA's repository)")
  private static let other = Family(
    cpu: "PoCL and an OpenCL ICD loader (ocl-icd), from your package manager",
    amd: "ROCm's OpenCL runtime, or Mesa's rusticl",
    intel: "Intel's compute runtime (intel-opencl-icd)",
    nvidia: "the OpenCL part of NVIDIA's driver")

  private static let families: [String: Family] = [
    "debian": debian, "ubuntu": debian,
    "fedora": fedora, "rhel": fedora, "centos": fedora,
    "arch": arch,
    "alpine": alpine,
    "suse": suse, "opensuse": suse,
  ]

  private static let macOS = """
    No OpenCL device was found. macOS has OpenCL built in for its own GPUs; nothing can be
    installed for them. For the CPU: brew install pocl.
    Until then Sparrow runs on its reference backend, on the CPU: --device reference.
    """

  /// The assignments of an `os-release` file: `KEY=value`, the value perhaps in quotes.
  private static func parse(_ text: String) -> [String: String] {
    var fields: [String: String] = [:]
    for line in text.split(whereSeparator: \.isNewline) {
      let parts = line.split(separator: "=", maxSplits: 1)
      guard parts.count == 2, !line.hasPrefix("#") else { continue }
      fields[String(parts[0])] = parts[1].trimmingCharacters(in: CharacterSet(charactersIn: "\"'"))
    }
    return fields
  }
}
