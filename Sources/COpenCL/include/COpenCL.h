// The OpenCL 1.2 API as Sparrow uses it, from Khronos' headers or Apple's framework.
#ifndef SPARROW_COPENCL_H
#define SPARROW_COPENCL_H

#define CL_TARGET_OPENCL_VERSION 120
#define CL_USE_DEPRECATED_OPENCL_1_2_APIS

#ifdef __APPLE__
#include <OpenCL/opencl.h>
#else
#include <CL/cl.h>
#include <CL/cl_ext.h>
#endif

#endif
