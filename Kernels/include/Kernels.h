// The OpenCL C sources, each a NUL-terminated string.
#ifndef SPARROW_KERNELS_H
#define SPARROW_KERNELS_H

extern const char sparrowKernelActivation[];
extern const char sparrowKernelElementwise[];
extern const char sparrowKernelGather[];
extern const char sparrowKernelLoss[];
extern const char sparrowKernelColumns[];
extern const char sparrowKernelMatmulCPU[];
extern const char sparrowKernelMatmulGPU[];
extern const char sparrowKernelPeak[];

#endif
