#include "Kernels.h"

const char sparrow_kernel_elementwise[] = {
#embed "elementwise.cl"
    , 0};
