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

// Whether this machine's processor, which is also its OpenCL device of type CPU, has 32 registers
// of sixteen floats; OpenCL has no query that tells.
bool sparrow_host_has_512_bit_vectors(void);

// Whether this process may use core `core`, from 0; -1 where the system does not say.
int sparrow_may_use_core(int core);

// Fault injection, thread-local, so that a test which fails calls does not disturb those running
// beside it, and so that the common case costs one load and one branch.
struct sparrow_faults {
  // How many checked calls of this thread remain until one is failed on purpose, that one included;
  // 0 is off.
  int64_t calls;
  // The same for events that are asked how their command ended.
  int64_t events;
  // Whether every call from the chosen one on fails, as of a device that is lost.
  bool lasts;
  int32_t code;
  // What has been failed so far.
  int64_t injected;
};

extern _Thread_local struct sparrow_faults sparrow_faults;

static inline struct sparrow_faults sparrow_faults_get(void) { return sparrow_faults; }

// Keeps the count of what has been failed.
static inline void sparrow_faults_arm(int64_t calls, int64_t events, bool lasts, int32_t code) {
  sparrow_faults.calls = calls;
  sparrow_faults.events = events;
  sparrow_faults.lasts = lasts;
  sparrow_faults.code = code;
}

static inline int32_t sparrow_fault_code(void) { return sparrow_faults.code; }

// True exactly when the call about to be made has to fail.
static inline bool sparrow_fault_due(void) {
  if (__builtin_expect(sparrow_faults.calls == 0, 1)) return false;
  if (sparrow_faults.calls > 1) {
    sparrow_faults.calls -= 1;
    return false;
  }
  if (!sparrow_faults.lasts) sparrow_faults.calls = 0;
  sparrow_faults.injected += 1;
  return true;
}

// True exactly when the event in hand has to report a command that failed.
static inline bool sparrow_event_fault_due(void) {
  if (__builtin_expect(sparrow_faults.events == 0, 1)) return false;
  sparrow_faults.events -= 1;
  if (sparrow_faults.events > 0) return false;
  sparrow_faults.injected += 1;
  return true;
}

#endif
