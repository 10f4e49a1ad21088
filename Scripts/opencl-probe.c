// Answers "does an OpenCL device answer here?" before Sparrow itself can be built.
//
//   opencl-probe         one line per usable device; exit status 0 when there is one, 1 when none.
//   opencl-probe --run   also builds a kernel on each and compares what it computes; status 1 when
//                        any device fails.
//
// Build: clang -o opencl-probe opencl-probe.c -lOpenCL   (macOS: -framework OpenCL)
#define CL_TARGET_OPENCL_VERSION 120
#ifdef __APPLE__
#include <OpenCL/opencl.h>
#else
#include <CL/cl.h>
#endif
#include <stdio.h>
#include <string.h>

enum { MAX_PLATFORMS = 16, MAX_DEVICES = 16, COUNT = 256, TEXT = 256 };

static const char *const source =
    "kernel void square(global const float *x, global float *y) {\n"
    "  const size_t i = get_global_id(0);\n"
    "  y[i] = x[i] * x[i];\n"
    "}\n";

// Squares COUNT small integers on the device: NULL when all are right, else the call that failed.
static const char *run(cl_context context, cl_device_id device) {
  float x[COUNT], y[COUNT];
  for (int i = 0; i < COUNT; i++) {
    x[i] = (float)i;
    y[i] = -1;
  }
  cl_int status;
  cl_command_queue queue = clCreateCommandQueue(context, device, 0, &status);
  if (status != CL_SUCCESS) return "clCreateCommandQueue";
  cl_program program = clCreateProgramWithSource(context, 1, (const char **)&source, NULL, &status);
  if (status != CL_SUCCESS) return "clCreateProgramWithSource";
  if (clBuildProgram(program, 1, &device, "", NULL, NULL) != CL_SUCCESS) return "clBuildProgram";
  cl_kernel kernel = clCreateKernel(program, "square", &status);
  if (status != CL_SUCCESS) return "clCreateKernel";
  cl_mem in = clCreateBuffer(
      context, CL_MEM_READ_ONLY | CL_MEM_COPY_HOST_PTR, sizeof x, x, &status);
  if (status != CL_SUCCESS) return "clCreateBuffer";
  cl_mem out = clCreateBuffer(
      context, CL_MEM_READ_WRITE | CL_MEM_COPY_HOST_PTR, sizeof y, y, &status);
  if (status != CL_SUCCESS) return "clCreateBuffer";
  if (clSetKernelArg(kernel, 0, sizeof in, &in) != CL_SUCCESS) return "clSetKernelArg";
  if (clSetKernelArg(kernel, 1, sizeof out, &out) != CL_SUCCESS) return "clSetKernelArg";
  const size_t global = COUNT, local = 16;
  if (clEnqueueNDRangeKernel(queue, kernel, 1, NULL, &global, &local, 0, NULL, NULL) != CL_SUCCESS)
    return "clEnqueueNDRangeKernel";
  if (clEnqueueReadBuffer(queue, out, CL_TRUE, 0, sizeof y, y, 0, NULL, NULL) != CL_SUCCESS)
    return "clEnqueueReadBuffer";
  clReleaseMemObject(in);
  clReleaseMemObject(out);
  clReleaseKernel(kernel);
  clReleaseProgram(program);
  clReleaseCommandQueue(queue);
  for (int i = 0; i < COUNT; i++)
    if (y[i] != (float)(i * i)) return "the result (it is wrong)";
  return NULL;
}

int main(int argc, char **argv) {
  const int runs = argc > 1 && strcmp(argv[1], "--run") == 0;
  int usable = 0, failed = 0;
  cl_platform_id platforms[MAX_PLATFORMS];
  cl_uint platformCount = 0;
  if (clGetPlatformIDs(MAX_PLATFORMS, platforms, &platformCount) != CL_SUCCESS) return 1;
  if (platformCount > MAX_PLATFORMS) platformCount = MAX_PLATFORMS;
  for (cl_uint p = 0; p < platformCount; p++) {
    cl_device_id devices[MAX_DEVICES];
    cl_uint deviceCount = 0;
    if (clGetDeviceIDs(platforms[p], CL_DEVICE_TYPE_ALL, MAX_DEVICES, devices, &deviceCount)
        != CL_SUCCESS)
      continue;
    if (deviceCount > MAX_DEVICES) deviceCount = MAX_DEVICES;
    char platform[TEXT] = "?";
    clGetPlatformInfo(platforms[p], CL_PLATFORM_NAME, TEXT, platform, NULL);
    for (cl_uint d = 0; d < deviceCount; d++) {
      char name[TEXT] = "?", driver[TEXT] = "?";
      cl_bool available = CL_FALSE, compiler = CL_FALSE;
      clGetDeviceInfo(devices[d], CL_DEVICE_NAME, TEXT, name, NULL);
      clGetDeviceInfo(devices[d], CL_DRIVER_VERSION, TEXT, driver, NULL);
      clGetDeviceInfo(devices[d], CL_DEVICE_AVAILABLE, sizeof available, &available, NULL);
      clGetDeviceInfo(devices[d], CL_DEVICE_COMPILER_AVAILABLE, sizeof compiler, &compiler, NULL);
      if (!available || !compiler) continue;
      cl_int status;
      cl_context context = clCreateContext(NULL, 1, &devices[d], NULL, NULL, &status);
      if (status != CL_SUCCESS) continue;
      usable++;
      const char *failure = runs ? run(context, devices[d]) : NULL;
      failed += failure != NULL;
      printf("%u:%u\t%s\t%s\t%s", p, d, platform, name, driver);
      if (failure) printf("\tfailed: %s", failure);
      printf("\n");
      clReleaseContext(context);
    }
  }
  return usable == 0 || failed > 0;
}
