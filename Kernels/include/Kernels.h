// The OpenCL C sources, each a NUL-terminated string.
#ifndef SPARROW_KERNELS_H
#define SPARROW_KERNELS_H

extern const char sparrow_kernel_elementwise[];

#endif
