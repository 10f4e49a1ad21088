import OpenCLRuntime
import Testing

@Suite struct InstallationTests {
  @Test(arguments: [
    ("ID=debian\nPRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\n", "pocl-opencl-icd", "bookworm"),
    ("NAME=Mint\nID=linuxmint\nID_LIKE=\"ubuntu debian\"\n", "apt install", "Mint"),
    ("ID=fedora\n", "dnf install", "this system"),
    ("ID=\"rocky\"\nID_LIKE=\"rhel centos fedora\"\n", "dnf install", "this system"),
    ("ID=arch\n", "pacman -S", "this system"),
    ("ID=alpine\n", "apk add", "this system"),
    ("ID='opensuse-tumbleweed'\nID_LIKE='opensuse suse'\n", "zypper install", "this system"),
    ("ID=plan9\n", "from your package manager", "this system"),
    ("", "from your package manager", "this system"),
  ])
  func adviceFitsTheSystem(osRelease: String, command: String, name: String) {
    let advice = Installation.advice(osRelease: osRelease)
    #expect(advice.contains(command))
    #expect(advice.contains("On \(name)") || advice.contains(name))
    for word in ["AMD GPU", "Intel GPU", "NVIDIA GPU", "--device reference"] {
      #expect(advice.contains(word))
    }
    #expect(advice.lowercased().contains("pocl"))
  }

  @Test func thisSystemGetsAdvice() {
    #expect(Installation.advice().contains("No OpenCL device was found"))
  }
}
