#ifdef __linux__
// For the macros of sets of cores.
#define _GNU_SOURCE
#include <sched.h>
#endif

#include "COpenCL.h"

_Thread_local struct sparrow_faults sparrow_faults;

bool sparrow_host_has_512_bit_vectors(void) {
#if defined(__x86_64__)
  return __builtin_cpu_supports("avx512f");
#else
  return false;
#endif
}

int sparrow_may_use_core(int core) {
#ifdef __linux__
  cpu_set_t set;
  // A machine of more cores than the set holds is an error.
  if (core < 0 || core >= CPU_SETSIZE || sched_getaffinity(0, sizeof set, &set) != 0) return -1;
  return CPU_ISSET(core, &set) != 0;
#else
  (void)core;
  return -1;
#endif
}
