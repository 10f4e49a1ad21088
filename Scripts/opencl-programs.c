// Before the loader (LD_PRELOAD), makes every device look like a GPU with local memory of its own,
// and keeps the text of each program that is built from source, its options in the first line:
//
//   OPENCL_PROGRAMS=FOLDER LD_PRELOAD=./opencl-programs.so sparrow check ...
//
// What a GPU would be given can so be had, and compiled for GPUs, without one.
//
// Build: cc -shared -fPIC -o opencl-programs.so opencl-programs.c -ldl
#define _GNU_SOURCE
#define CL_TARGET_OPENCL_VERSION 120
#include <CL/cl.h>
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MAX_PROGRAMS = 4096, PATH_SIZE = 4096 };

typedef cl_int DeviceInfo(cl_device_id, cl_device_info, size_t, void *, size_t *);
typedef cl_program CreateProgram(cl_context, cl_uint, const char **, const size_t *, cl_int *);
typedef cl_int BuildProgram(cl_program, cl_uint, const cl_device_id *, const char *,
                            void (*)(cl_program, void *), void *);

static struct {
  cl_program program;
  char *text;
} programs[MAX_PROGRAMS];
static int count;

static void *next(const char *name) {
  void *function = dlsym(RTLD_NEXT, name);
  if (!function) {
    fprintf(stderr, "opencl-programs: there is no %s\n", name);
    abort();
  }
  return function;
}

cl_int clGetDeviceInfo(cl_device_id device, cl_device_info name, size_t size, void *value,
                       size_t *needed) {
  const cl_int status =
      ((DeviceInfo *)next("clGetDeviceInfo"))(device, name, size, value, needed);
  if (status != CL_SUCCESS || !value) return status;
  // Those of a large GPU, for which large tiles are chosen, but with the least local memory.
  switch (name) {
    case CL_DEVICE_TYPE: *(cl_device_type *)value = CL_DEVICE_TYPE_GPU; break;
    case CL_DEVICE_LOCAL_MEM_TYPE: *(cl_device_local_mem_type *)value = CL_LOCAL; break;
    case CL_DEVICE_LOCAL_MEM_SIZE: *(cl_ulong *)value = 32 << 10; break;
    case CL_DEVICE_MAX_COMPUTE_UNITS: *(cl_uint *)value = 120; break;
  }
  return status;
}

// Sparrow passes one string that ends with a zero.
cl_program clCreateProgramWithSource(cl_context context, cl_uint strings, const char **texts,
                                     const size_t *lengths, cl_int *status) {
  const cl_program program = ((CreateProgram *)next("clCreateProgramWithSource"))(
      context, strings, texts, lengths, status);
  if (program && strings == 1 && count < MAX_PROGRAMS) {
    programs[count].program = program;
    programs[count++].text = strdup(texts[0]);
  }
  return program;
}

cl_int clBuildProgram(cl_program program, cl_uint deviceCount, const cl_device_id *devices,
                      const char *options, void (*notify)(cl_program, void *), void *data) {
  const char *folder = getenv("OPENCL_PROGRAMS");
  // The latest, since a handle may be used again.
  int i = count - 1;
  while (i >= 0 && programs[i].program != program) i--;
  if (folder && i >= 0 && programs[i].text) {
    char path[PATH_SIZE];
    snprintf(path, sizeof path, "%s/%d-%04d.cl", folder, (int)getpid(), i);
    FILE *file = fopen(path, "w");
    if (!file || fprintf(file, "// %s\n%s", options ? options : "", programs[i].text) < 0 ||
        fclose(file) != 0) {
      fprintf(stderr, "opencl-programs: cannot write %s\n", path);
      abort();
    }
    free(programs[i].text);
    programs[i].text = NULL;
  }
  return ((BuildProgram *)next("clBuildProgram"))(program, deviceCount, devices, options, notify,
                                                  data);
}
