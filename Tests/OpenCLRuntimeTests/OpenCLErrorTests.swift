import OpenCLRuntime
import Testing

@Suite struct OpenCLErrorTests {
  @Test(arguments: [
    (0, "CL_SUCCESS"), (-1, "CL_DEVICE_NOT_FOUND"), (-5, "CL_OUT_OF_RESOURCES"),
    (-11, "CL_BUILD_PROGRAM_FAILURE"), (-19, "CL_KERNEL_ARG_INFO_NOT_AVAILABLE"),
    (-30, "CL_INVALID_VALUE"), (-49, "CL_INVALID_ARG_INDEX"), (-54, "CL_INVALID_WORK_GROUP_SIZE"),
    (-61, "CL_INVALID_BUFFER_SIZE"), (-68, "CL_INVALID_DEVICE_PARTITION_COUNT"),
    (-1001, "CL_PLATFORM_NOT_FOUND_KHR"),
  ])
  func symbols(code: Int, symbol: String) {
    #expect(OpenCLError(call: "clFinish", code: Int32(code)).symbol == symbol)
  }

  @Test func everyCodeOfOpenCL12HasItsOwnSymbol() {
    let codes = Array(-19...0) + Array(-68...(-30)) + [-1001]
    let symbols = codes.map { OpenCLError.symbol(of: Int32($0)) }
    #expect(symbols.allSatisfy { $0.hasPrefix("CL_") })
    #expect(Set(symbols).count == codes.count)
    #expect(OpenCLError.symbol(of: -9999) == "unknown OpenCL error")
  }

  @Test func descriptionIsOneLineAndThenTheLog() {
    #expect(
      OpenCLError(call: "clFinish", code: -5).description
        == "clFinish failed with CL_OUT_OF_RESOURCES (-5)")
    let error = OpenCLError(call: "clBuildProgram", code: -11, detail: "program 'a'\nline 1: bad")
    #expect(
      error.description
        == "clBuildProgram failed with CL_BUILD_PROGRAM_FAILURE (-11): program 'a'\nline 1: bad")
  }
}
