#include "COpenCL.h"

_Thread_local int64_t sparrow_fault_countdown = 0;
_Thread_local int32_t sparrow_fault_code_value = 0;
