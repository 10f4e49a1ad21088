// The OpenCL 1.2 API as Sparrow uses it, from Khronos' headers or Apple's framework.
#ifndef SPARROW_COPENCL_H
#define SPARROW_COPENCL_H

#define CL_TARGET_OPENCL_VERSION 120
#define CL_USE_DEPRECATED_OPENCL_1_2_APIS

#ifdef __APPLE__
// Apple deprecates the whole framework; one warning per call would hide the others.
#define CL_SILENCE_DEPRECATION
#include <OpenCL/opencl.h>
#else
#include <CL/cl.h>
#include <CL/cl_ext.h>
#endif

#include <stdbool.h>
#include <stdint.h>

// Fault injection: how many checked calls of this thread remain until one is failed on purpose,
// that one included; 0 is off. Thread-local, so that a test which fails calls does not disturb
// those running beside it, and so that the common case costs one load and one branch.
extern _Thread_local int64_t sparrow_fault_countdown;

static inline int64_t sparrow_fault_remaining(void) { return sparrow_fault_countdown; }

static inline void sparrow_fault_arm(int64_t calls) { sparrow_fault_countdown = calls; }

// True exactly when the call about to be made has to fail.
static inline bool sparrow_fault_due(void) {
  if (__builtin_expect(sparrow_fault_countdown == 0, 1)) return false;
  sparrow_fault_countdown -= 1;
  return sparrow_fault_countdown == 0;
}

extern _Thread_local int32_t sparrow_fault_code_value;

static inline int32_t sparrow_fault_code(void) { return sparrow_fault_code_value; }

static inline void sparrow_fault_set_code(int32_t code) { sparrow_fault_code_value = code; }

#endif
