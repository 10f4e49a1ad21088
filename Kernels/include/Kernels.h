// The OpenCL C sources, each a NUL-terminated string.
#ifndef SPARROW_KERNELS_H
#define SPARROW_KERNELS_H

extern const char *const sparrowKernelDeclarations;
extern const char *const sparrowKernelBodies;
extern const char *const sparrowKernelActivation;
extern const char *const sparrowKernelAdam;
extern const char *const sparrowKernelOptimizer;
extern const char *const sparrowKernelGather;
extern const char *const sparrowKernelLossRow;
extern const char *const sparrowKernelLoss;
extern const char *const sparrowKernelColumns;
extern const char *const sparrowKernelTickets;
extern const char *const sparrowKernelSelect;
extern const char *const sparrowKernelSparse;
extern const char *const sparrowKernelSparseLatents;
extern const char *const sparrowKernelSparseSums;
extern const char *const sparrowKernelMatmulBlock;
extern const char *const sparrowKernelMatmulCPU;
extern const char *const sparrowKernelDenseCPU;
extern const char *const sparrowKernelMatmulGPU;
extern const char *const sparrowKernelPeak;
extern const char *const sparrowKernelBalance;
extern const char *const sparrowKernelCodes;
extern const char *const sparrowKernelGates;
extern const char *const sparrowKernelConvolutionCPU;
extern const char *const sparrowKernelWinogradCPU;
extern const char *const sparrowKernelConvolutionGPU;
extern const char *const sparrowKernelConvolutionGradientGPU;
extern const char *const sparrowKernelConvolutionPartsGPU;
extern const char *const sparrowKernelTileGPU;
extern const char *const sparrowKernelLogarithm;
extern const char *const sparrowKernelStrips;
extern const char *const sparrowKernelNormalise;
extern const char *const sparrowKernelPool;
extern const char *const sparrowKernelSegmentation;

#endif
