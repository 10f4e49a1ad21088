// Embeds the .cl files of this folder, so that the tool is one file.
#include "Kernels.h"

#pragma clang diagnostic ignored "-Wc23-extensions"

const char sparrowKernelActivation[] = {
#embed "activation.cl"
    , 0};

const char sparrowKernelElementwise[] = {
#embed "elementwise.cl"
    , 0};

const char sparrowKernelGather[] = {
#embed "gather.cl"
    , 0};

const char sparrowKernelLoss[] = {
#embed "loss.cl"
    , 0};

const char sparrowKernelColumns[] = {
#embed "columns.cl"
    , 0};

const char sparrowKernelMatmulCPU[] = {
#embed "matmul_cpu.cl"
    , 0};

const char sparrowKernelMatmulGPU[] = {
#embed "matmul_gpu.cl"
    , 0};

const char sparrowKernelPeak[] = {
#embed "peak.cl"
    , 0};
