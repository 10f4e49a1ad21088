#include "COpenCL.h"

_Thread_local struct sparrow_faults sparrow_faults;

bool sparrow_host_has_512_bit_vectors(void) {
#if defined(__x86_64__)
  return __builtin_cpu_supports("avx512f");
#else
  return false;
#endif
}
