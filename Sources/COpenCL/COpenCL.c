#include "COpenCL.h"

_Thread_local struct sparrow_faults sparrow_faults;
